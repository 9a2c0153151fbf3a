"""The engine: answers with any region of a layer, computing what nobody has computed yet.

A read looks whether all blocks are there (no Dask call at all where they lie in this process); else it is admitted or
refused, submits what is missing in one call for each kind of task, waits, and puts together. Blocks that somebody else
has asked for are waited for, not computed again: in this process by the cache, across processes by Dask, to which equal
keys are one task.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy.typing as npt
from distributed import Client

from numba_ops.warmup import LABELS, PREDICTION, warm_up
from pipeline.blocks import Box
from pipeline.cluster import LOCAL_NAMES, check_scheduler
from pipeline.config import settings
from pipeline.serving.admission import Admission
from pipeline.serving.block_cache import BlockCache
from pipeline.serving.block_maker import BlockMaker
from pipeline.serving.catalogue import Catalogue
from pipeline.serving.label_frames import FOLDER, LabelFrames
from pipeline.serving.label_layers import FrameRecipe
from pipeline.serving.layer import Layer
from pipeline.serving.publisher import Publisher
from pipeline.serving.reading import Abandoned, Reading
from pipeline.serving.recipe import assemble
from pipeline.serving.request_shape import cover
from pipeline.serving.session import Session

Array = npt.NDArray[Any]


class Engine:
    """Reads of all layers of a catalogue; one for a process, safe to use from many threads.

    Parameters
    ----------
    catalogue : Catalogue
    scheduler : str
        Where blocks are computed, as `pipeline.cluster.connect` names it.
    workers : int, optional
        Threads or processes of an embedded one.
    cache_bytes : int, optional
        Bytes of blocks that are kept; the setting `cache_bytes` by default.
    """

    def __init__(
        self,
        catalogue: Catalogue,
        *,
        scheduler: str = "threads",
        workers: int | None = None,
        cache_bytes: int | None = None,
    ) -> None:
        self.catalogue = catalogue
        self.scheduler = check_scheduler(scheduler)
        self._publisher = Publisher(self.statistics)
        self._session = Session(scheduler, workers, self._publish)
        self._cache = BlockCache(settings().cache_bytes if cache_bytes is None else cache_bytes)
        self._admission = Admission(settings())
        self._maker = BlockMaker(self._session, self._cache, self._admission)
        folder, limit = settings().data_dir / FOLDER, settings().label_cache
        self._frames = LabelFrames(folder, self.read, self._session.client, limit)

    def prepare(self) -> None:
        """Connect and, where blocks are computed on this machine, compile kernels; else the first reader waits for it.

        Raises
        ------
        ClusterError
            If the scheduler cannot be used.
        """
        self._session.client()
        if self.scheduler in LOCAL_NAMES:
            for kernels in (PREDICTION, LABELS):
                warm_up(kernels=kernels)

    def ready(self) -> bool:
        """Whether there is a connection to where blocks are computed."""
        return self._session.alive

    def read(
        self,
        layer: Layer,
        level: int,
        start: Sequence[int],
        stop: Sequence[int],
        *,
        bulk: bool = False,
        abandoned: Abandoned = None,
    ) -> Array:
        """Read a region.

        Parameters
        ----------
        layer : Layer
        level : int
        start, stop : sequence of int
            In the order of the layer's dims.
        bulk : bool
            Whether to stand back behind those who are looking; requests that need many blocks do so in any case.
        abandoned : callable, optional
            Asked about five times a second; true gives up, and releases what nobody else waits for.

        Returns
        -------
        ndarray
            Over the layer's dims, exactly the region. Not to be written to: it may be the cache's own memory.

        Raises
        ------
        UnknownError, RegionError, TooLargeError
            If there is no such level, the region does not lie in it, or is too large for one request.
        BusyError
            If too much is being done, or it takes longer than `request_seconds`.
        AbandonedError
            If `abandoned` said so.
        ReadError
            If the raw data turned out damaged or changed.
        ClusterError
            If the scheduler or its workers are gone.
        """
        low, high = tuple(int(n) for n in start), tuple(int(n) for n in stop)
        layer.check_region(level, low, high)
        box = Box(layer.spatial(low, 0), layer.spatial(high, 1))
        self._admission.check_size(layer, box)
        if isinstance(layer.recipe, FrameRecipe):
            with self._admission.answer(layer.n_bytes(box), self._cache.flying_bytes, False, self._maker.retry_after()):
                return self._frames.read(layer, level, low, high, abandoned or (lambda: False))
        pieces = cover(layer, level, box, self._cache.holds)
        found = self._cache.find(pieces)
        values = [value for entry in found or () if (value := entry.peek()) is not None]
        if len(values) == len(pieces):
            return assemble(low, high, [piece.start for piece in pieces], values)
        bulk = bulk or self._admission.is_bulk(sum(not self._cache.holds(piece) for piece in pieces))
        claimed = layer.n_bytes(box), self._cache.flying_bytes, bulk, self._maker.retry_after()
        with self._admission.answer(*claimed):
            reading = Reading(self._maker, self._admission, self._session, bulk, abandoned)
            return reading.run(pieces, low, high)

    def cached_boxes(self, layer: Layer, level: int) -> list[Box]:
        """The chunks of a level that are held, over (t, z, y, x)."""
        held = (piece for piece in self._cache.pieces() if piece.layer.digest == layer.digest)
        return sorted(piece.box for piece in held if piece.level == level and piece.is_chunk)

    def statistics(self) -> dict[str, Any]:
        """Numbers for people and dashboards; bytes, blocks and requests as the names say."""
        return {
            **self._cache.statistics(),
            **self._admission.statistics(),
            "threads": self._session.threads,
            "scheduler": self.scheduler,
            "connected": self._session.alive,
        }

    def close(self) -> None:
        """Give up the cache and the connection; the engine may be used again, with a new one."""
        self._publisher.stop()
        self._cache.clear()
        self._session.close()

    def _publish(self, client: Client) -> None:
        if self.scheduler != "threads" or settings().dashboard_port is not None:  # else nobody could see it
            self._publisher.start(client)
