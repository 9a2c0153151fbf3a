"""Compiling every kernel before it is needed, so that no timed task, request or worker waits for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.core import event

from numba_ops import boxes, census, components, projection, smoothing
from numba_ops._jit import freeze
from numba_ops.features import slabs
from numba_ops.forest import pack, predict_rows
from numba_ops.stack import FEATURES, build

# Sets of kernels: who needs one waits for no other.
PREDICTION, LABELS, MEASURES, BOXES = "prediction", "labels", "measures", "boxes"


class _Compilations(event.Listener):
    """Counts kernels as they begin to be compiled; what came from the cache on disk is not compiled."""

    def __init__(self, report: Callable[[str, int, int], None] | None, kernels: int) -> None:
        self.names: list[str] = []
        self._kernels = kernels
        self._report = report

    def on_start(self, happened: event.Event) -> None:
        name = happened.data["dispatcher"].py_func
        if name.__module__.startswith("numba_ops."):
            self.names.append(name.__name__)
            if self._report:
                self._report(name.__name__.strip("_"), min(len(self.names), self._kernels), self._kernels)

    def on_end(self, happened: event.Event) -> None:
        """Nothing to do: the next one's start says that this one ended."""


def warm_up(report: Callable[[str, int, int], None] | None = None, kernels: str = PREDICTION) -> bool:
    """Compile a set of kernels for all types that runs use, or load them from the cache on disk.

    Parameters
    ----------
    report : callable, optional
        Called as ``report(name, i, n)`` before the i-th of about n kernels is compiled; never if all are on disk.
    kernels : str
        A key of `KERNELS`.

    Returns
    -------
    bool
        Whether anything had to be compiled, once per machine and version: some 20 s for predictions, 6 for the rest.
    """
    count, run = KERNELS[kernels]
    listener = _Compilations(report, count)
    event.register("numba:compile", listener)
    try:
        run()
    finally:
        event.unregister("numba:compile", listener)
    return bool(listener.names)


def _predict() -> None:
    """One small prediction: code is the same in 2-D and 3-D, for all scales, features and forests."""
    stack = build(FEATURES, [0.7], [[True]] * len(FEATURES), [False], 1)
    for _ in slabs(np.zeros((1, 4, 4, 4), np.uint8), (0, 0, 0), (4, 4, 4), [(0, 4)] * 3, stack):
        pass
    stump = pack(
        column=np.array([0, -1, -1], np.int32),
        threshold=np.zeros(3),
        left=np.array([1, -1, -1], np.int32),
        probability=np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
        roots=np.zeros(1, np.int32),
        group=np.zeros(1, np.int32),
        columns=1,
    )
    predict_rows(stump, np.zeros((1, 1), np.float32))


def _label() -> None:
    """Smoothing of a block, its components, their joining and renaming."""
    image, taps = np.zeros((1, 4, 4), np.float32), np.ones(3)
    smoothing.smooth_columns(freeze(image[0]), 0, 4, taps, 0, np.empty((4, 4), np.float32))
    smoothing.smooth_rows(freeze(image), 0, 4, taps, 0, np.empty_like(image))
    labels = np.ones((1, 2, 2), np.uint32)
    components.measure_components(labels, 0, 2, 4, np.zeros(1, np.int64), np.zeros(1, np.int64))
    components.pair_labels(freeze(labels[0]), freeze(labels[0]), 1, np.empty(36, np.int64))
    one = np.zeros(1, np.int64)
    components.join_pairs(one, freeze(one), freeze(one))
    components.number_trees(one, np.empty(1, np.int64))
    components.replace_labels(freeze(labels.reshape(-1)), np.arange(2, dtype=np.uint64), np.empty(4, np.uint64))


def _measure() -> None:
    """Sums over one cell with one object, and their merging."""
    numbers, values = np.empty((1, 2, 2), np.int32), np.ones((1, 2, 2))
    census.number_labels(np.ones((1, 2, 2), np.uint64), numbers, np.empty(4, np.uint64))
    counts, corners, products = np.zeros(1, np.int64), np.zeros((3, 1, 3), np.int64), np.zeros((1, 6), np.int64)
    census.add_positions(numbers, counts, corners[0], corners[1], corners[2], products)
    census.add_values(numbers, values, np.zeros(1), np.zeros(1), np.zeros(1))
    census.add_deviations(numbers, values, np.ones(1), np.zeros(1))
    starts, sums = np.array([0, 1]), np.ones((1, 1))
    census.merge_moments(starts, counts, sums, sums, np.zeros((1, 2), np.int64), np.empty((1, 1)))
    census.merge_sums(starts, sums, np.empty((1, 1)))


def _box() -> None:
    """Statistics, detection, measurement and classification of a few voxels, of all types that they take."""
    block, out = freeze(np.zeros((3, 3, 3), np.uint8)), np.empty((1, 1, 1), np.int32)
    boxes.box_covariances(block, block, out)
    two = freeze(np.ones(2))
    boxes.original_map(block, block, two, two, np.empty((1, 1, 1)))
    boxes.count_between(freeze(np.zeros(1)), freeze(np.arange(3.0)), np.zeros(2, np.int64))
    boxes.count_bins(freeze(out.reshape(-1)), 0, 1, np.zeros(2, np.int64))
    corner, scale, wide = np.zeros((1, 3), np.int64), freeze(np.zeros(3)), np.zeros((3, boxes.PLANE_SUMS), np.uint64)
    boxes.cut_boxes(block, corner, np.empty((1, 1, 1, 1), np.uint8))
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        values = freeze(np.zeros((3, 3, 3), dtype))
        (boxes.sum_planes if values.itemsize <= 2 else boxes.sum_wide_planes)(values, wide)
        boxes.sum_boxes(values, corner, 1, 1, np.empty((1, 1, 2), np.uint64))
        boxes.wrap_scores(values, scale, scale, np.empty((3, 3, 3), dtype))
        if values.itemsize > 1:
            boxes.scale_to_bytes(values.reshape(-1), 1.0, np.empty(27, np.uint8))
    projection.project_rows(np.zeros((1, 1), np.uint8), np.zeros((1, 1)), np.empty((1, 1)))
    leaf, child = np.full(1, -1, np.int32), np.full((1, 2), -1, np.int32)
    row, root = np.zeros((1, 1), np.float32), np.zeros(1, np.int32)
    projection.find_leaves(row, leaf, np.zeros(1), child, root, np.empty((1, 1), np.int32))


KERNELS: dict[str, tuple[int, Callable[[], None]]] = {  # how many are compiled, and a small run of them
    PREDICTION: (44, _predict),
    LABELS: (11, _label),
    MEASURES: (8, _measure),
    BOXES: (23, _box),
}
