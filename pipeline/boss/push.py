"""Results written to the archive as channels of uint8, 255 where there is something and 0 elsewhere.

Blocks go to the same absolute coordinates that the source has. A block of zeros is written too, as black: a channel may
hold an older result. Writing a block twice changes nothing, and where the channel was there before, each block is
looked at first and sent only if it differs; so a push that was interrupted goes on, whoever began it, and no record of
it is kept anywhere but in the archive itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass

import numpy as np

from pipeline.blocks import Box
from pipeline.boss import disk_cache
from pipeline.boss.experiment import AXES, BossChannel, Experiment, Index
from pipeline.boss.session import Session
from pipeline.config import settings
from pipeline.errors import ArchiveError, CancelledError
from pipeline.formats.boss import block_shape, key_of
from pipeline.formats.chunk_cache import CHUNKS
from pipeline.progress import Progress
from pipeline.volume import Volume

CHANNEL_DTYPE = np.dtype("uint8")
PRESENT = 255


@dataclass(frozen=True)
class _Push:
    """One result on its way to one channel."""

    session: Session
    collection: str
    experiment: str
    channel: BossChannel
    volume: Volume
    start_zyx: Index
    compare: bool

    def send(self, start: Index, stop: Index) -> int:
        """Send one block, given in the result's own voxels; how many voxels it has."""
        data = np.where(self.volume.read(Box((0, *start), (1, *stop)))[0, 0] != 0, PRESENT, 0).astype(CHANNEL_DTYPE)
        low, high = _moved(start, self.start_zyx), _moved(stop, self.start_zyx)
        if not (self.compare and self._holds(data, low, high)):
            self.session.write(self.collection, self.experiment, self.channel, low, data)
        return data.size

    def _holds(self, data: np.ndarray, low: Index, high: Index) -> bool:
        there = self.session.read(self.collection, self.experiment, self.channel, low, high)
        return np.array_equal(there, data)


def push(
    session: Session,
    target: Experiment,
    name: str,
    volume: Volume,
    start_zyx: Index,
    progress: Progress,
    *,
    resume: bool,
    cancelled: Callable[[], bool] | None = None,
) -> str:
    """Write a result as a channel of an experiment; see `pipeline.boss.BossArchive.push`.

    Raises
    ------
    ArchiveError
        With the code ``shape`` if the result is no (z, y, x); ``range`` if it reaches out of the coordinate frame.
    CancelledError
        If `cancelled` said so.
    """
    if set(volume.dims) != set(AXES):
        raise ArchiveError(f"{volume.url} has the axes {volume.dims}; what is pushed has zyx", code="shape")
    ends = [a + n for a, n in zip(start_zyx, volume.shape, strict=True)]
    target.region(*zip(start_zyx, ends, strict=True))
    made = session.make_channel(target.collection, target.name, name)
    channel = BossChannel(name, CHANNEL_DTYPE)
    task = _Push(session, target.collection, target.name, channel, volume, start_zyx, resume and not made)
    blocks = list(_blocks(start_zyx, volume.shape))
    try:
        with progress.stage(f"push {name}", blocks=len(blocks), voxels=int(np.prod(volume.shape))) as stage:
            for voxels in _send_all(task, blocks):
                stage.advance(voxels)
                if cancelled is not None and cancelled():
                    raise CancelledError(f"The push of {name} was cancelled; the same push goes on where it ended.")
    finally:  # what was kept of this channel may be what it held before
        disk_cache.forget_channel(key_of(session.url, target.collection, target.name, channel))
        CHUNKS.forget()
    return f"{session.url}/v1/collection/{target.collection}/experiment/{target.name}/channel/{name}"


def check_writing(session: Session, target: Experiment, name: str, at: Index) -> None:
    """Whether a channel can be pushed to: it is made if it is missing, and one voxel is written as it is.

    Raises
    ------
    ArchiveError
    """
    session.make_channel(target.collection, target.name, name)
    channel = BossChannel(name, CHANNEL_DTYPE)
    there = session.read(target.collection, target.name, channel, at, _moved(at, (1, 1, 1)))
    session.write(target.collection, target.name, channel, at, there)


def _send_all(task: _Push, blocks: Sequence[tuple[Index, Index]]) -> Iterator[int]:
    """Send blocks, some at a time; the voxels of each as it is done. The first error ends it."""
    rest = iter(blocks)
    flying: set[Future[int]] = set()
    with ThreadPoolExecutor(settings().boss_push_requests, thread_name_prefix="push") as pool:
        try:
            while True:
                room = 2 * settings().boss_push_requests - len(flying)
                flying |= {pool.submit(task.send, *block) for block in itertools.islice(rest, room)}
                if not flying:
                    return
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    yield future.result()
        finally:  # not those that wait their turn
            pool.shutdown(wait=False, cancel_futures=True)


def _blocks(start_zyx: Index, shape: Sequence[int]) -> Iterator[tuple[Index, Index]]:
    """Start and stop of each block in the result's own voxels, on the archive's grid."""
    sizes = block_shape(CHANNEL_DTYPE.itemsize)
    ends = [a + n for a, n in zip(start_zyx, shape, strict=True)]
    cuts = [
        [(max(i * n, a) - a, min(i * n + n, b) - a) for i in cells]
        for cells, n, a, b in zip(disk_cache.grid(sizes, start_zyx, ends), sizes, start_zyx, ends, strict=True)
    ]
    for (z0, z1), (y0, y1), (x0, x1) in itertools.product(*cuts):
        yield (z0, y0, x0), (z1, y1, x1)


def _moved(place: Index, by: Index) -> Index:
    return place[0] + by[0], place[1] + by[1], place[2] + by[2]
