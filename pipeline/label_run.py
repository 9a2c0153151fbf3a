"""The steps of labelling a large map, in order, through a Dask client with a bounded number of tasks in flight."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from itertools import compress
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from distributed import Client

from pipeline import label_steps
from pipeline.blocks import Box
from pipeline.cluster import expected_threads
from pipeline.config import settings
from pipeline.label_steps import Place, Source, Work
from pipeline.progress import Progress
from pipeline.window import run_windowed

Item = TypeVar("Item")


@dataclass(frozen=True, eq=False)
class StepRunner:
    """Runs what is missing of each step, one step after the other.

    Parameters
    ----------
    client : Client
    work : Work
    key : str
        Names the tasks.
    progress : Progress
    cancelled : callable, optional
        As in `pipeline.window.run_windowed`.
    """

    client: Client
    work: Work
    key: str
    progress: Progress
    cancelled: Callable[[], bool] | None = None

    def run_all(
        self,
        source: Source,
        write: Callable[[Box, npt.NDArray[np.uint64]], None],
        is_written: Callable[[Box], bool] | None,
    ) -> None:
        """Label, merge, sort and relabel; the parameters are those of `pipeline.labelling.label_volume`."""
        work = self.work

        def has_file(place: Place) -> bool:
            return work.path(place).is_file()

        def has_ids(place: Place) -> bool:
            return is_written is not None and is_written(work.box(place))

        self._run("label", label_steps.label, partial(work.places, 0), has_file, (work, source), self._voxels)
        for level in range(1, work.tree.top + 1):
            self._run(f"merge-{level}", label_steps.merge, partial(work.places, level), has_file, (work,))
        parts = work.parts()
        self._run("sort", label_steps.sort, lambda: parts, lambda part: work.part_path(part).is_file(), (work,))
        shared = (work, parts, write)
        self._run("relabel", label_steps.relabel, partial(work.places, 0), has_ids, shared, self._voxels)

    def _voxels(self, place: Place) -> int:
        return self.work.box(place).size

    def _run(
        self,
        name: str,
        task: Callable[..., None],
        items: Callable[[], Iterable[Item]],
        is_done: Callable[[Item], bool],
        shared: tuple[Any, ...],
        voxels: Callable[[Item], int] = lambda _: 0,
    ) -> None:
        todo = bytearray(not is_done(item) for item in items())  # a byte for each: there may be millions
        size = sum(map(voxels, compress(items(), todo)))
        with self.progress.stage(name, blocks=sum(todo), voxels=size) as stage:
            run_windowed(
                self.client,
                task,
                compress(items(), todo),
                window=settings().window_per_thread * expected_threads(self.client),
                key_prefix=f"{name}-{self.key}",
                shared=shared,
                on_done=lambda item, _: stage.advance(voxels(item)),
                cancelled=self.cancelled,
            )
