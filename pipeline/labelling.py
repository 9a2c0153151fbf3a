"""Objects in a probability map of any size: each connected object gets one id, whatever blocks it lies in.

1. *label*: each block is thresholded and its components are found (`pipeline.components`); sizes, first voxels and
   the six faces go into a record, with the block's own numbers, compressed.
2. *merge*: groups of up to 32 neighbours are merged, then groups of groups (`pipeline.label_tree`). Only objects that
   reach across a group's border are carried on; all others are decided, counted and written down.
3. *sort*: the first voxels of the objects that get a number are sorted, in parts (`pipeline.label_numbers`). An
   object's id is its place in that list: ids follow the first voxel in C order of (z, y, x), per time step.
4. *relabel*: each block's own numbers are replaced by ids, once.

Every step is an idempotent task that writes one file, so a run may be killed anywhere and goes on.

`label_volume` does this through a Dask client, `label_frame` with an array in memory, and `pipeline.segment` lazily.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from distributed import Client

from pipeline.blocks import Box, Index, grid
from pipeline.components import NEIGHBOURS, Rules, label_block, number, rename
from pipeline.config import Settings, settings
from pipeline.errors import PlanError
from pipeline.label_run import StepRunner
from pipeline.label_steps import Source, Work
from pipeline.label_summary import LabelSummary, summarise
from pipeline.label_tree import Tree
from pipeline.plan import SHARES
from pipeline.progress import Progress
from pipeline.smoother import Smoother, make_smoother
from pipeline.suggestion import did_you_mean
from pipeline.thresholding import Thresholding

__all__ = ["LabelPlan", "LabelSummary", "choose_block", "label_frame", "label_volume", "plan_labels"]

RULES = 1  # raised whenever any id changes: part of the digest
VOXEL_BYTES = 40  # of a task, the probabilities apart: copies while smoothing, masks, labels of blocks and of cc3d, ids


@dataclass(frozen=True, eq=False)
class LabelPlan:
    """Everything that is decided before objects are labelled; made by `plan_labels`.

    Parameters
    ----------
    image : Box
        The whole map; begins at 0.
    block : tuple of int, (t, z, y, x)
        What one task labels, of one time step.
    rules : Rules
    smoother : Smoother
    tree : Tree
        Of the blocks of one time step.
    """

    image: Box
    block: Index
    rules: Rules
    smoother: Smoother
    tree: Tree

    @property
    def halo_zyx(self) -> tuple[int, int, int]:
        """Voxels that are read around a block."""
        return self.rules.thresholding.halo_zyx(self.image.shape[1:])

    @property
    def n_blocks(self) -> int:
        """Number of blocks."""
        return self.image.shape[0] * self.tree.n_nodes(0)

    @property
    def n_tasks(self) -> int:
        """Number of tasks: two for each block and those that merge and sort; many more objects need more to sort."""
        return 2 * self.n_blocks + self.image.shape[0] * (self.tree.n_merges + 1)

    @property
    def digest(self) -> str:
        """Hexadecimal SHA-256 of all that decides ids, the probabilities apart."""
        said = [RULES, self.image.shape, asdict(self.rules)]
        return hashlib.sha256(json.dumps(said).encode()).hexdigest()

    def blocks(self) -> Iterator[Box]:
        """The blocks, in C order."""
        return grid(self.image, self.block)


def plan_labels(
    image: Box,
    block: Sequence[int],
    thresholding: Thresholding,
    *,
    n_channels: int = 1,
    connectivity: str = "face",
    renumber: bool = True,
) -> LabelPlan:
    """Plan the labelling of a probability map.

    Parameters
    ----------
    image : Box
        All of it.
    block : sequence of int, (t, z, y, x)
        What one task labels; t counts as 1. For what is written in chunks, whole ones: see `choose_block`.
    thresholding : Thresholding
        Its channels are those of the map.
    n_channels : int
        Channels of the map.
    connectivity : {"face", "full"}
        Whether voxels are connected with those that share a face, or an edge or a corner, too.
    renumber : bool
        Whether ids are 1, 2, ... without gaps; else they are ilastik's, in which removed objects leave gaps.

    Raises
    ------
    PlanError
        If the settings do not fit the map.
    """
    _check_connectivity(connectivity)
    if any(image.start) or image.size == 0:
        raise PlanError(f"the map {image} does not begin at 0, or is empty", code="region")
    rules = Rules(thresholding, connectivity, renumber)
    z, y, x = (min(int(n), end) for n, end in zip(block[1:], image.shape[1:], strict=True))
    smoother = make_smoother(thresholding, n_channels, image.shape[1:])
    _, depth, height, width = image.shape
    return LabelPlan(image, (1, z, y, x), rules, smoother, Tree((depth, height, width), (z, y, x)))


def choose_block(
    image: Box, chunk: Sequence[int], thresholding: Thresholding, *, voxel_bytes: int, limits: Settings | None = None
) -> Index:
    """Whole chunks that one task labels: as many as limits allow, and so that even a small map has several blocks.

    Parameters
    ----------
    image : Box
    chunk : sequence of int, (t, z, y, x)
    thresholding : Thresholding
    voxel_bytes : int
        Of a voxel of the map, in all channels that are read.
    limits : Settings, optional
    """
    limits = limits or settings()
    halo = thresholding.halo_zyx(image.shape[1:])
    most = min(limits.block_voxels, image.size // SHARES)

    def fits(block: Sequence[int]) -> bool:
        read = math.prod(n + 2 * h for n, h in zip(block, halo, strict=True))
        return math.prod(block) <= most and read * (voxel_bytes + VOXEL_BYTES) <= limits.task_memory

    size = [min(n, end) for n, end in zip(chunk[1:], image.shape[1:], strict=True)]
    while True:
        growing = sorted((axis for axis in range(3) if size[axis] < image.shape[axis + 1]), key=lambda a: (size[a], -a))
        larger = [[min(2 * n, image.shape[i + 1]) if i == axis else n for i, n in enumerate(size)] for axis in growing]
        fitting = next(filter(fits, larger), None)
        if fitting is None:
            return 1, size[0], size[1], size[2]
        size = fitting


def label_frame(
    prob: npt.NDArray[Any],
    thresholding: Thresholding,
    *,
    connectivity: str = "face",
    renumber: bool = True,
    dtype: npt.DTypeLike = "uint64",
) -> tuple[npt.NDArray[Any], LabelSummary]:
    """Label one time step that is in memory.

    Parameters
    ----------
    prob : ndarray, (c, z, y, x)
        Any type of numbers.
    thresholding : Thresholding
    connectivity, renumber
        As in `plan_labels`.
    dtype : dtype-like
        Unsigned type of the ids. With ``uint32`` and `Thresholding.old_service` this is what the service returned that
        came before: its numbers follow the first voxel with x fastest, too.

    Returns
    -------
    tuple of ndarray, (z, y, x), and LabelSummary

    Raises
    ------
    PlanError
        If the settings do not fit the array, or the ids not the type.
    """
    whole = Box.whole((1, *prob.shape[1:]))
    plan = plan_labels(
        whole, whole.shape, thresholding, n_channels=len(prob), connectivity=connectivity, renumber=renumber
    )
    mask, cores = plan.smoother.masks(prob, whole.start[1:], whole.stop[1:])
    found = label_block(mask, cores, plan.tree, 0, plan.rules)
    ids = number(found.piece.fate, found.piece.listed)
    if len(ids) and ids.max() > np.iinfo(dtype).max:
        raise PlanError(f"there are {ids.max()} objects, more than {np.dtype(dtype)} can number", code="dtype")
    labels = rename(found.labels, ids.astype(dtype))
    return labels, summarise([found.piece.counts], plan.rules)


def label_volume(
    client: Client,
    source: Source,
    plan: LabelPlan,
    scratch: Path,
    write: Callable[[Box, npt.NDArray[np.uint64]], None],
    *,
    key: str,
    progress: Progress,
    is_written: Callable[[Box], bool] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> LabelSummary:
    """Label a map of any size; a run that was interrupted goes on where it is called again with the same.

    Parameters
    ----------
    client : Client
    source : Source
        Gives the map's voxels to the workers: a `Volume`, or anything picklable that reads.
    plan : LabelPlan
    scratch : Path
        A folder for what is kept between the steps, seen by all workers; the caller removes it when all is done.
    write : callable
        Picklable; called in a worker as ``write(box, labels)``, labels (t, z, y, x), for each block; after an
        interruption perhaps again, with the same.
    key : str
        Names the tasks: holds the digest of map and settings, and something that tells runs apart.
    progress : Progress
        Told of the steps *label*, *merge*, *sort* and *relabel*.
    is_written : callable, optional
        Asked here for each block whether `write` has done it already.
    cancelled : callable, optional
        As in `pipeline.window.run_windowed`.

    Raises
    ------
    ReadError, WriteError, ClusterError, CancelledError
        What is finished stays in `scratch`.
    """
    work = Work(plan.image, plan.tree, plan.rules, plan.smoother, scratch)
    StepRunner(client, work, key, progress, cancelled).run_all(source, write, is_written)
    return summarise(work.counts(), plan.rules)


def _check_connectivity(connectivity: str) -> None:
    if connectivity not in NEIGHBOURS:
        known = f"{' and '.join(NEIGHBOURS)}{did_you_mean(connectivity, NEIGHBOURS)}"
        raise PlanError(f"connectivity {connectivity!r}; allowed are {known}", code="connectivity")
