"""The stage of a segmentation that measures its objects: rows block by block, then the table window by window."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from distributed import Client

from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.measurement import blocks, measure_block
from pipeline.object_files import write_table
from pipeline.object_rows import read_windows, rows_path, write_rows
from pipeline.object_table import Channel, Columns, make_table
from pipeline.probability_map import ProbabilityMap, normalise
from pipeline.progress import Progress
from pipeline.run_steps import run_key, run_tasks
from pipeline.segmentation_images import OBJECTS, Channels, StoredChannels, read_image
from pipeline.store import Store
from pipeline.volume import Volume

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True, eq=False)
class Measuring:
    """What the tasks share; picklable.

    Parameters
    ----------
    store : Store
    source : ProbabilityMap
        Read where not all of its channels are in the store.
    channels : Channels
    raw : Volume, optional
    folder : Path
        Scratch of the run.
    """

    store: Store
    source: ProbabilityMap
    channels: Channels
    raw: Volume | None
    folder: Path

    @property
    def columns(self) -> Columns:
        """What the table's columns follow from."""
        raw, source = self.raw, self.source
        measured = []
        if raw is not None:
            names = raw.channel_names or tuple(map(str, range(raw.n_channels)))
            measured += [Channel("raw", name if "c" in raw.dims else None, str(raw.dtype)) for name in names]
        numbers: tuple[str | None, ...] = tuple(map(str, range(source.n_channels)))
        unnamed = numbers if source.n_channels > 1 else (None,)
        measured += [Channel("probability", name, "float32") for name in source.channel_names or unnamed]
        return Columns(
            source.dims, source.image.shape, source.spacing, source.units, tuple(measured), origin=source.origin
        )

    @cached_property
    def rows(self) -> Path:
        """Folder of the rows; another one where other channels are measured, or blocks are cut differently."""
        raw = self.raw.digest if self.raw is not None else ""
        said = repr((raw, self.columns, settings().block_voxels))
        return self.folder / f"rows-{hashlib.sha256(said.encode()).hexdigest()[:16]}"

    def path(self, number: int) -> Path:
        """The rows of a block."""
        return rows_path(self.rows, number)

    def measure(self, item: tuple[int, Box]) -> None:
        """The task: measure a block and write down its rows."""
        number, box = item
        image = self.source.image
        labels = read_image(self.store, OBJECTS, box, image)[:, 0]
        values = []
        if labels.any():
            values = [self._read_probabilities(box)]
            if self.raw is not None:
                values.insert(0, self.raw.read(box.shift(self.source.region.start)))
        else:  # nothing is read where there is nothing to measure
            values = [np.empty((box.shape[0], len(self.columns.channels), *box.shape[1:]), np.uint8)]
        write_rows(self.path(number), measure_block(labels, values, box, image.shape))

    def _read_probabilities(self, box: Box) -> npt.NDArray[Any]:
        source, everything = self.source, range(self.source.n_channels)
        if set(everything) <= set(self.channels.stored):
            places = tuple(self.channels.place(channel) for channel in everything)
            return normalise(StoredChannels(self.store, source.image, places).read(box), source.value_range)
        return normalise(source.read(box, everything), source.value_range)


def measure_objects(
    client: Client, work: Measuring, table: Path, progress: Progress, cancelled: Callable[[], bool] | None = None
) -> int:
    """Measure all objects and write their table; returns how many they are.

    Raises
    ------
    ReadError, WriteError
        What is measured stays in the work's folder.
    """
    numbered = list(enumerate(blocks(work.source.image.shape)))
    todo = [item for item in numbered if not work.path(item[0]).is_file()]
    with progress.stage("measure", blocks=len(todo), voxels=sum(box.size for _, box in todo)) as stage:
        run_tasks(
            client,
            _measure,
            todo,
            f"measure-{run_key(work.store)}",
            (work,),
            lambda item: stage.advance(item[1].size),
            cancelled,
        )
    progress.note(f"writing {table}")
    columns = work.columns
    about = {"unit": columns.unit, "spacing": dict(columns.spacing), **work.store.record["provenance"]}
    return write_table(table, _frames(work, len(numbered)), about)


def _measure(work: Measuring, item: tuple[int, Box]) -> None:
    work.measure(item)


def _frames(work: Measuring, n_blocks: int) -> Iterator[pandas.DataFrame]:
    columns = work.columns
    for rows in read_windows([work.path(number) for number in range(n_blocks)], len(columns.channels)):
        yield make_table(rows, columns)
