"""The stages of a synapse analysis: each a run of tasks that leave whole files, so that a killed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from distributed import Client

from pipeline.analyses import boxes, classification, detection, statistics
from pipeline.analyses.analysis import AnalysisRequest
from pipeline.analyses.folder import ResultFolder
from pipeline.analyses.intensity import to_bytes
from pipeline.analyses.original import OriginalMap
from pipeline.analyses.result import OBJECTS
from pipeline.analyses.statistics import Pair, Statistics
from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.label_summary import LabelSummary
from pipeline.labelling import LabelPlan, choose_block, label_volume, plan_labels
from pipeline.measurement import blocks, measure_block
from pipeline.object_rows import read_windows, rows_path, write_rows
from pipeline.object_table import Columns, make_table
from pipeline.plan import choose_chunk
from pipeline.run_steps import run_tasks
from pipeline.segmentation_images import read_image
from pipeline.store import Store

if TYPE_CHECKING:
    import pandas

READ_BYTES = 24  # of a voxel in a task, labels apart: two channels of 64 bits, their bytes and the codes
NO_VALUES: tuple[npt.NDArray[Any], ...] = ()


@dataclass(frozen=True, eq=False)
class Stages:
    """An analysis under way.

    Parameters
    ----------
    request : AnalysisRequest
    folder : ResultFolder
    client : Client
    pair : Pair
    store : Store
        Of the detections.
    """

    request: AnalysisRequest
    folder: ResultFolder
    client: Client
    pair: Pair
    store: Store

    @cached_property
    def plan(self) -> LabelPlan:
        """How objects are labelled, and so what one task takes."""
        return make_plan(self.request)

    @property
    def _numbered(self) -> list[tuple[int, Box]]:
        return list(enumerate(self.plan.blocks()))

    @property
    def _scratch(self) -> Path:
        """Another folder where limits cut other blocks."""
        return self.folder.scratch / "x".join(map(str, self.plan.block))

    def run(
        self,
        name: str,
        task: Callable[..., None],
        items: Sequence[Any],
        shared: Sequence[Any],
        voxels: Callable[[Any], int],
    ) -> None:
        """Run a task for each item."""
        with self.request.progress.stage(name, blocks=len(items), voxels=sum(map(voxels, items))) as stage:
            key = f"{name}-{self.request.digest[:16]}-{self.store.token[:16]}"
            run_tasks(
                self.client,
                task,
                items,
                key,
                shared,
                lambda item: stage.advance(voxels(item)),
                self.request.cancelled,
            )

    def count(self) -> Statistics:
        """The first pass: sums of all channels."""
        folder = self._scratch / "statistics"
        todo = [item for item in self._numbered if not statistics.statistics_path(folder, item[0]).is_file()]
        self.run("statistics", statistics.count_block, todo, (self.pair, folder), _size)
        found = statistics.join_statistics(self.pair, folder, self._numbered)
        statistics.check_contrast(self.pair, found)
        return found

    def make_map(self, found: Statistics) -> detection.Map:
        """What is thresholded."""
        made = OriginalMap if self.request.parameters["legacy"] else detection.CovarianceMap
        return made(self.pair, found.pair)

    def threshold(self, work: detection.Map, found: Statistics) -> detection.Threshold:
        """The second pass: the histogram; floats need another one before it, for their range."""
        low, high = self._ends(work, found)
        if low == high:
            return work.find_threshold(low, high, ())
        folder = self._scratch / "histogram"
        todo = [item for item in self._numbered if not detection.histogram_path(folder, item[0]).is_file()]
        self.run("histogram", detection.bin_block, todo, (work, folder, low, high), _size)
        return work.find_threshold(low, high, detection.join_histograms(folder, range(self.plan.n_blocks)))

    def _ends(self, work: detection.Map, found: Statistics) -> tuple[float, float]:
        if isinstance(work, detection.CovarianceMap):
            return found.lowest, found.highest
        folder = self._scratch / "range"
        todo = [item for item in self._numbered if not detection.range_path(folder, item[0]).is_file()]
        self.run("range", detection.range_block, todo, (work, folder), _size)
        return detection.join_ranges(folder, range(self.plan.n_blocks))

    def label(self, work: detection.Map, threshold: detection.Threshold) -> LabelSummary:
        """Objects and the mask that they make."""
        writer = detection.DetectionWriter(self.store, self.plan.image)
        return label_volume(
            self.client,
            detection.Foreground(work, threshold.above),
            self.plan,
            self._scratch / "labels",
            writer,
            key=f"{self.request.digest[:16]}-{self.store.token[:16]}",
            progress=self.request.progress,
            is_written=writer.is_written if self.folder.resumed else None,
            cancelled=self.request.cancelled,
        )

    def measure_objects(self) -> pandas.DataFrame:
        """Size, place and shape of every detection, by id."""
        import pandas

        image = self.plan.image
        folder = self.folder.scratch / f"rows-{settings().block_voxels}"
        numbered = list(enumerate(blocks(image.shape)))
        todo = [item for item in numbered if not rows_path(folder, item[0]).is_file()]
        self.run("measure", _measure_rows, todo, (self.store, image, folder), _size)
        channels = self.request.channels
        origin = dict(zip("zyx", map(float, channels.origin_zyx), strict=True))
        columns = Columns("zyx", image.shape, channels.spacing, channels.units, (), origin=origin)
        paths = [rows_path(folder, number) for number, _ in numbered]
        return pandas.concat([make_table(rows, columns) for rows in read_windows(paths, 0)], ignore_index=True)

    def measure_boxes(
        self, places: npt.NDArray[np.int64], work: boxes.BoxWork
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
        """Summed scores of every channel, and classes."""
        groups = list(boxes.group_places(places, self.plan.image, self.plan.block))
        todo = [group for group in groups if not work.path(group.number).is_file()]
        self.run("boxes", boxes.measure_boxes, todo, (work,), lambda item: 0)
        return boxes.join_boxes(work, groups, len(places))

    def box_folder(self) -> Path:
        """For records of boxes."""
        return self._scratch / "boxes"

    def keep_data(self, store: Store) -> None:
        """The channels of the detection as 8 bits."""
        image = self.plan.image
        todo = [box for box in self.plan.blocks() if not _has_data(store, box)]
        self.run("data", _write_data, todo, (self.pair, store, image), lambda box: box.size)

    def paint(self, painter: classification.ClassPainter) -> None:
        """The volumes of classes."""
        todo = [box for box in self.plan.blocks() if not painter.is_painted(box)]
        self.run("classes", classification.paint_block, todo, (painter,), lambda box: box.size)


def make_plan(request: AnalysisRequest) -> LabelPlan:
    """Blocks of whole chunks; what is connected at faces, edges or corners is one object."""
    image = request.channels.whole
    thresholding = detection.keep_from(request.parameters["min_size"])
    chunk = choose_chunk(image.shape, settings().chunk_voxels)
    block = choose_block(image, chunk, thresholding, voxel_bytes=READ_BYTES)
    return plan_labels(image, block, thresholding, connectivity="full")


def _size(item: tuple[int, Box]) -> int:
    return item[1].size


def _measure_rows(store: Store, image: Box, folder: Path, item: tuple[int, Box]) -> None:
    number, box = item
    labels = read_image(store, OBJECTS, box, image)[:, 0]
    write_rows(rows_path(folder, number), measure_block(labels, NO_VALUES, box, image.shape))


def _data_corners(box: Box) -> tuple[tuple[int, ...], tuple[int, ...]]:
    return (0, *box.start[1:]), (2, *box.stop[1:])


def _has_data(store: Store, box: Box) -> bool:
    return store.is_written("data", *_data_corners(box))


def _write_data(work: Pair, store: Store, image: Box, box: Box) -> None:
    both = np.stack([to_bytes(work.channels.read(name, box)) for name in work.names])
    store.write("data", _data_corners(box)[0], both)
