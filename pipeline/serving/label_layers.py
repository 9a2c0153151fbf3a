"""The labels layer: objects that a run has found, or that are found frame by frame when somebody asks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from pipeline import pyramid
from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.errors import CatalogueError, ConflictError, PlanError, ProjectError, VolumeError
from pipeline.formats.source import fingerprint_of
from pipeline.images import ImageSpec
from pipeline.labelling import LabelPlan, choose_block, plan_labels
from pipeline.output import read_record
from pipeline.project import Project
from pipeline.serving.layer import Layer, LayerLevel
from pipeline.serving.recipe import RawRecipe
from pipeline.thresholding import Thresholding, project_thresholding
from pipeline.volume import Volume, open_raw

DATASET = "labels/objects"
MOST_LEVELS = 64


@dataclass(frozen=True, eq=False)
class FoundLabels:
    """Objects of a volume that `voxelforest segment` has written.

    Parameters
    ----------
    path : str
    project_digest : str
        Of the project that they were found with.
    volumes : tuple of Volume
        The levels.
    """

    path: str
    project_digest: str
    volumes: tuple[Volume, ...]


@dataclass(frozen=True, eq=False)
class FrameRecipe:
    """Objects of one frame at a time, found by the engine itself (`pipeline.serving.label_frames`).

    Parameters
    ----------
    plan : LabelPlan
        Of one frame, over the channels that are needed.
    channels : tuple of int
        These channels of the probabilities.
    """

    plan: LabelPlan
    channels: tuple[int, ...]
    makes_levels = True

    def compute(self, level: int, box: Box) -> np.ndarray:
        """Never asked for: a box of labels needs the whole frame."""
        raise TypeError("labels are not computed box by box")


def find_labels(path: str, volume: Volume) -> FoundLabels:
    """Open what a run has written.

    Raises
    ------
    CatalogueError
        If it is no finished segmentation of this volume.
    """
    record = read_record(path)
    if record is None or not record.get("complete"):
        raise CatalogueError(f"{path} is no finished output of voxelforest segment")
    made = record.get("provenance", {})
    if made.get("volume_digest") != volume.digest:
        raise CatalogueError(f"{path} holds objects of another volume than {volume.url}, or of an earlier state of it")
    levels: list[Volume] = []
    try:
        for level in range(MOST_LEVELS):
            levels.append(open_raw(path, dataset=DATASET, level=level))
    except VolumeError as error:
        if not levels:
            raise CatalogueError(f"{path}: {error.message}") from error
    return FoundLabels(path, str(made.get("project_digest")), tuple(levels))


def labels_layer(probabilities: Layer, found: Sequence[FoundLabels]) -> Layer:
    """The labels of a volume and a project.

    Raises
    ------
    ConflictError
        If a run of `voxelforest segment` is needed first.
    """
    project = probabilities.project
    assert project is not None
    mine = next((each for each in found if each.project_digest == project.digest), None)
    return _from_run(_base(probabilities), mine) if mine is not None else _by_frame(probabilities, project)


def frame_layer(probabilities: Layer, thresholding: Thresholding, dtype: npt.DTypeLike = np.uint64) -> Layer:
    """Labels that the engine finds frame by frame, with any settings; those who read it get ids of this type.

    Raises
    ------
    PlanError
        If the settings do not fit the probabilities.
    """
    whole = probabilities.whole(0)
    frame = Box((0, 0, 0, 0), (1, *whole.stop[1:]))
    thresholding.check(probabilities.n_channels, frame.shape[1:])
    picked, n = thresholding.pick(thresholding.channels), len(thresholding.channels)
    block = choose_block(frame, probabilities.chunk(0), picked, voxel_bytes=4 * n)
    plan = plan_labels(frame, block, picked, n_channels=n)
    at = [i for i, axis in enumerate(probabilities.dims) if axis != "c"]
    first, base = probabilities.levels[0], _base(probabilities)
    return replace(
        base,
        dtype=np.dtype(dtype),
        levels=_levels(base.dims, tuple(first.shape[i] for i in at), tuple(first.chunk[i] for i in at)),
        digest=fingerprint_of("labels by frame", probabilities.digest, plan.digest)[:32],
        recipe=FrameRecipe(plan, thresholding.channels),
        parent=probabilities,
    )


def _base(probabilities: Layer) -> Layer:
    """What all labels of a volume and a project have in common."""
    return replace(
        probabilities,
        name="labels",
        dims=probabilities.dims.replace("c", ""),
        dtype=np.dtype(np.uint64),
        channel_names=(),
        channel_colors=(),
        value_range=None,
        reduce="stride",
        parent=None,
    )


def _from_run(base: Layer, found: FoundLabels) -> Layer:
    first = found.volumes[0]
    volume = base.volume.volume
    if first.dims != base.dims or first.whole != volume.whole:
        raise ConflictError(f"{found.path} holds {first.whole}, not all of the volume, {volume.whole}", "labels")
    levels = _levels(base.dims, first.shape, first.chunks)
    fitting = [pair for pair in zip(levels, found.volumes, strict=False) if pair[0].shape == pair[1].shape]
    volumes = tuple(volume for _, volume in fitting)
    digest = fingerprint_of("labels of a run", [volume.digest for volume in volumes])[:32]
    recipe = RawRecipe(volumes, base.dims, "uint64")
    return replace(base, levels=tuple(level for level, _ in fitting), digest=digest, recipe=recipe)


def _by_frame(probabilities: Layer, project: Project) -> Layer:
    whole, limit = probabilities.whole(0), settings().label_frame_voxels
    voxels = whole.size // whole.shape[0]
    run = "run voxelforest segment PROJECT RAW OUT.zarr, with OUT.zarr beside the volume or in a folder for results"
    if voxels > limit:
        raise ConflictError(f"a frame of {voxels:,} voxels, up to {limit:,} are labelled on request: {run}", "labels")
    try:
        return frame_layer(probabilities, project_thresholding(project) or Thresholding())
    except (PlanError, ProjectError) as error:
        raise ConflictError(
            f"not labelled on request, {error.message}: {run}, with other settings", "labels"
        ) from error


def _levels(dims: str, shape: Sequence[int], chunks: Sequence[int]) -> tuple[LayerLevel, ...]:
    spec = ImageSpec("labels", dims, tuple(shape), tuple(chunks), "uint64", reduce="stride")
    return tuple(LayerLevel.of(index, level, exact=True) for index, level in enumerate(pyramid.levels(spec)))
