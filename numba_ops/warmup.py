"""Compiling every kernel before it is needed, so that no timed task, request or worker waits for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numba.core import event

from numba_ops.features import slabs
from numba_ops.forest import pack, predict_rows
from numba_ops.stack import FEATURES, build

KERNELS = 43  # that are compiled in all, for saying how far it is


class _Compilations(event.Listener):
    """Counts kernels as they begin to be compiled; what came from the cache on disk is not compiled."""

    def __init__(self, report: Callable[[str, int, int], None] | None) -> None:
        self.names: list[str] = []
        self._report = report

    def on_start(self, happened: event.Event) -> None:
        name = happened.data["dispatcher"].py_func
        if name.__module__.startswith("numba_ops."):
            self.names.append(name.__name__)
            if self._report:
                self._report(name.__name__.strip("_"), min(len(self.names), KERNELS), KERNELS)

    def on_end(self, happened: event.Event) -> None:
        """Nothing to do: the next one's start says that this one ended."""


def warm_up(report: Callable[[str, int, int], None] | None = None) -> bool:
    """Compile all kernels for all types that predictions use, or load them from the cache on disk.

    Parameters
    ----------
    report : callable, optional
        Called as ``report(name, i, n)`` before the i-th of about n kernels is compiled; never if all are on disk.

    Returns
    -------
    bool
        Whether anything had to be compiled, which takes some 20 s once per machine and version.
    """
    listener = _Compilations(report)
    event.register("numba:compile", listener)
    try:
        _run_all()
    finally:
        event.unregister("numba:compile", listener)
    return bool(listener.names)


def _run_all() -> None:
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
