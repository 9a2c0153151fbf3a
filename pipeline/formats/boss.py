"""Volumes of the archive, ``boss://collection/experiment``: blocks fetched through intern, and kept on disk.

Blocks lie on a grid that is anchored at voxel 0 of the coordinate frame, as the archive's own cuboids of 16 x 512 x 512
do, so that regions which overlap share them; at the edge of a region they are cut, so that no more than the region is
fetched.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.boss import disk_cache
from pipeline.boss.address import parse_address
from pipeline.boss.experiment import AXES, BossChannel, Experiment, Index
from pipeline.boss.session import session
from pipeline.boss.tokens import ENVIRONMENT
from pipeline.config import settings
from pipeline.errors import ArchiveError
from pipeline.formats.chunk_cache import CHUNKS, MOST_WASTE
from pipeline.formats.source import ArraySource, fingerprint_of

Array = npt.NDArray[Any]
CUBOID = (16, 512, 512)  # what the archive stores as a whole, (z, y, x)


@dataclass(frozen=True, kw_only=True, eq=False)
class BossSource(ArraySource):
    """A region of some channels of one type.

    Parameters
    ----------
    archive : str
        URL.
    credential : str
        Name of the token, see `pipeline.boss.tokens`; not the token.
    collection, experiment : str
    channels : tuple of BossChannel
    start_zyx : tuple of int
        First voxel of the region in the coordinate frame.
    block : tuple of int, (z, y, x)
        What one request asks for.
    version : str
    """

    archive: str
    credential: str
    collection: str
    experiment: str
    channels: tuple[BossChannel, ...]
    start_zyx: Index
    block: Index
    version: str

    def fetch(self, box: tuple[slice, ...]) -> Array:
        shape = tuple(s.stop - s.start for s in box)
        found = np.empty(shape, self.dtype)
        picked = range(box[0].start, box[0].stop) if len(box) == 4 else (0,)
        planes = found if len(box) == 4 else found[np.newaxis]
        start = [s.start + o for s, o in zip(box[-3:], self.start_zyx, strict=True)]
        stop = [s.stop + o for s, o in zip(box[-3:], self.start_zyx, strict=True)]
        for number, plane in zip(picked, planes, strict=True):
            for cell in itertools.product(*disk_cache.grid(self.block, start, stop)):
                self._copy(number, cell, start, stop, plane)
        return found

    def _copy(self, channel: int, cell: Sequence[int], start: Sequence[int], stop: Sequence[int], out: Array) -> None:
        """Put what a block and a box have in common into the box."""
        block = self._block(channel, cell)
        fetch = functools.cache(lambda: self._fetch_block(channel, block))
        full: list[disk_cache.Part] = []
        others: list[disk_cache.Part] = []
        for part in block.parts:
            common = _common(part, start, stop)
            if common is not None:  # what is used as a whole is not kept: it would only push out what is not
                (full if _size(part) <= MOST_WASTE * _size(common) else others).append(part)
        keys: list[tuple[int, ...]] = [(channel, *low, *high) for low, high in others]
        by_key = dict(zip(keys, others, strict=True))
        kept = CHUNKS.get(
            self.fingerprint, keys, lambda wanted: disk_cache.read(block, [by_key[key] for key in wanted], fetch)
        )
        for part, data in zip((*full, *others), (*disk_cache.read(block, full, fetch), *kept), strict=True):
            first, last = _common(part, start, stop) or part
            there = tuple(slice(a - o, b - o) for a, b, o in zip(first, last, start, strict=True))
            out[there] = data[tuple(slice(a - o, b - o) for a, b, o in zip(first, last, part[0], strict=True))]

    def _block(self, channel: int, cell: Sequence[int]) -> disk_cache.Block:
        """A block of the grid, cut to the region."""
        ends = [a + n for a, n in zip(self.start_zyx, self.shape[-3:], strict=True)]
        low = [max(i * n, a) for i, n, a in zip(cell, self.block, self.start_zyx, strict=True)]
        high = [min(i * n + n, b) for i, n, b in zip(cell, self.block, ends, strict=True)]
        key = key_of(self.archive, self.collection, self.experiment, self.channels[channel])
        box = (low[0], low[1], low[2]), (high[0], high[1], high[2])
        return disk_cache.Block(key, *box, str(self.dtype), self.version)

    def _fetch_block(self, channel: int, block: disk_cache.Block) -> Array:
        asked = session(self.archive, self.credential)
        return asked.read(self.collection, self.experiment, self.channels[channel], block.start, block.stop)


def _common(part: disk_cache.Part, start: Sequence[int], stop: Sequence[int]) -> disk_cache.Part | None:
    """What a part and a box have in common; None if that is nothing."""
    (z0, y0, x0), (z1, y1, x1) = (
        (max(a, b) for a, b in zip(part[0], start, strict=True)),
        (min(a, b) for a, b in zip(part[1], stop, strict=True)),
    )
    return ((z0, y0, x0), (z1, y1, x1)) if z0 < z1 and y0 < y1 and x0 < x1 else None


def _size(part: disk_cache.Part) -> int:
    return math.prod(b - a for a, b in zip(*part, strict=True))


def open_source(path: str) -> BossSource:
    """Describe ``boss://collection/experiment?z=0:64&y=0:512&x=0:512&channel=NAME&version=WORD``.

    Without channels these are all images; annotations, where there is nothing else. They have to be of one type.

    Raises
    ------
    ArchiveError
        If the URL is not understood, or the archive does not have this.
    """
    from pipeline.boss.archive import BossArchive

    address = parse_address(path)
    found = BossArchive().experiment(address.collection, address.experiment)
    channels = found.select(address.channels or None)
    if not address.channels:
        channels = tuple(channel for channel in channels if channel.kind == "image") or channels
    if not channels:
        raise ArchiveError(f"{path}: the experiment has no channels", code="channel")
    if len({channel.dtype for channel in channels}) > 1:
        said = ", ".join(f"{channel.name} ({channel.dtype})" for channel in channels[:20])
        raise ArchiveError(f"{path}: channels of several types: {said}; choose some with ?channel=NAME", code="channel")
    region = found.region(*(address.ranges.get(axis) for axis in AXES))
    return make_source(found, channels, region, ENVIRONMENT, address.version)


def make_source(
    found: Experiment, channels: tuple[BossChannel, ...], region: tuple[Index, Index], credential: str, version: str
) -> BossSource:
    """The source over a region of channels of one type; one channel makes no axis."""
    start, stop = region
    shape = tuple(b - a for a, b in zip(start, stop, strict=True))
    dtype = channels[0].dtype
    block = block_shape(dtype.itemsize)
    several = (len(channels),) if len(channels) > 1 else ()
    names = ",".join(channel.name for channel in channels)
    ranges = "&".join(f"{axis}={a}:{b}" for axis, a, b in zip(AXES, start, stop, strict=True))
    return BossSource(
        url=f"boss://{found.collection}/{found.name}?{ranges}&channel={names}",
        shape=several + shape,
        dtype=dtype,
        chunks=(1,) * len(several) + tuple(min(n, m) for n, m in zip(block, shape, strict=True)),
        fingerprint=fingerprint_of(
            "boss", *(key_of(found.url, found.collection, found.name, c) for c in channels), start, stop, version
        ),
        axes="czyx" if several else "zyx",
        spacing=found.spacing,
        units=dict.fromkeys(found.spacing, found.unit),
        channel_names=tuple(channel.name for channel in channels),
        archive=found.url,
        credential=credential,
        collection=found.collection,
        experiment=found.name,
        channels=channels,
        start_zyx=start,
        block=block,
        version=version,
    )


def key_of(archive: str, collection: str, experiment: str, channel: BossChannel) -> str:
    """What tells a channel's data apart from all other."""
    return disk_cache.channel_key(archive, collection, experiment, channel.name, str(channel.dtype))


def block_shape(itemsize: int) -> Index:
    """Voxels of a block, (z, y, x): whole cuboids while they fit, then parts of one."""
    room = settings().boss_block_bytes // itemsize
    z, y, x = CUBOID
    while z * y * x > room and x > 1:
        y, x = (y, x // 2) if x >= y else (y // 2, x)
    return z * max(room // (z * y * x), 1), y, x
