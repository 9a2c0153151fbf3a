"""Objects of whole frames, found when somebody asks for them and kept in files, beside the server's other data.

The probabilities come through the block cache, into a file; `pipeline.labelling` finds the objects block by block, and
the ids go into a file that every front end of this data folder reads. So memory stays small, a restart loses nothing,
and a frame is labelled once, whoever asks. The files are a cache: up to `label_cache` bytes are kept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from distributed import Client

from pipeline.blocks import Box, grid
from pipeline.config import settings
from pipeline.durability import publish_file
from pipeline.errors import AbandonedError, BusyError, CancelledError, WriteError
from pipeline.labelling import label_volume
from pipeline.progress import Progress
from pipeline.serving.admission import POLL_SECONDS
from pipeline.serving.label_layers import FrameRecipe
from pipeline.serving.layer import Layer
from pipeline.volume import open_raw

Array = npt.NDArray[Any]
FOLDER = "labels"
WORK = ".work"  # ending of folders in which frames are being made
LOCKS = 64
PART_BYTES = 64 << 20  # of probabilities that are read at once


@dataclass(frozen=True)
class FrameWriter:
    """Puts the ids of a block into the file of a frame; picklable."""

    path: Path

    def __call__(self, box: Box, labels: npt.NDArray[np.uint64]) -> None:
        np.load(self.path, mmap_mode="r+")[box.slices()[1:]] = labels[0]


class LabelFrames:
    """The frames that have been labelled, as files in a folder; safe to use from several threads and processes.

    Parameters
    ----------
    folder : Path
    read : callable
        `Engine.read`.
    client : callable
        Gives the Dask client.
    limit : int
        Bytes of all frames that are kept; those that nobody has asked for the longest go first.
    """

    def __init__(self, folder: Path, read: Callable[..., Array], client: Callable[[], Client], limit: int) -> None:
        self._folder = folder
        self._read = read
        self._client = client
        self._limit = limit

    def read(
        self, layer: Layer, level: int, start: tuple[int, ...], stop: tuple[int, ...], abandoned: Callable[[], bool]
    ) -> Array:
        """A region of a level of a labels layer, over its dims."""
        first, last = layer.spatial(start, 0), layer.spatial(stop, 1)
        steps = layer.spatial(layer.level(level).factors)
        inside = tuple(slice(a * f, (b - 1) * f + 1, f) for a, b, f in zip(first, last, steps, strict=True))
        made = [np.asarray(self.frame(layer, t, abandoned)[inside[1:]]) for t in range(first[0], last[0])]
        shape = [b - a for a, b in zip(start, stop, strict=True)]
        region = np.ascontiguousarray(np.stack(made).reshape(shape), layer.dtype)
        region.flags.writeable = False
        return region

    def frame(self, layer: Layer, t: int, abandoned: Callable[[], bool]) -> npt.NDArray[np.uint64]:
        """The ids of a frame, (z, y, x), mapped from its file, which is made if it is not there.

        Raises
        ------
        AbandonedError
            If `abandoned` said so.
        BusyError
            If it takes others longer than `request_seconds` to make it.
        WriteError
            If the disk is full.
        """
        path = self._folder / f"{layer.digest}-{t}.npy"
        while True:
            with contextlib.suppress(FileNotFoundError):  # it is not there yet, or it was swept just now
                os.utime(path)
                frame: npt.NDArray[np.uint64] = np.load(path, mmap_mode="r")
                return frame
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                with _alone(_lock_of(path), abandoned):
                    if not path.exists():
                        self._make(layer, t, path, abandoned)
                        self.sweep(path)
            except OSError as error:
                raise WriteError(f"{path}: labels cannot be kept: {error.strerror or error}") from error

    def sweep(self, kept: Path) -> None:
        """Remove the frames that were asked for the longest time ago until the rest fits, and what dead processes left.

        Whoever has a frame open keeps what is in it.

        Parameters
        ----------
        kept : Path
            A frame that stays in any case.
        """
        found = [(path.stat(), path) for path in self._folder.glob("*.npy")]
        total = sum(stat.st_size for stat, _ in found)
        for stat, path in sorted(found, key=lambda pair: pair[0].st_mtime_ns):
            if total > self._limit and path != kept:
                path.unlink(missing_ok=True)
                total -= stat.st_size
        for work in self._folder.glob(f"*{WORK}"):
            with _lock_of(work).open("w") as file, contextlib.suppress(BlockingIOError):  # somebody is at it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(work, ignore_errors=True)

    def _make(self, layer: Layer, t: int, path: Path, abandoned: Callable[[], bool]) -> None:
        recipe = layer.recipe
        assert isinstance(recipe, FrameRecipe)
        work = path.with_suffix(WORK)
        shutil.rmtree(work, ignore_errors=True)  # what a process left that was killed
        work.mkdir()
        try:
            self._store_probabilities(layer, t, work / "probabilities.npy", abandoned)
            source = open_raw(work / "probabilities.npy", axes="czyx")
            _allocate(work / "ids.npy", np.uint64, recipe.plan.image.shape[1:])
            label_volume(
                self._client(),
                source,
                recipe.plan,
                work / "scratch",
                FrameWriter(work / "ids.npy"),
                key=f"{layer.digest}-{t}-{time.time_ns():x}",
                progress=Progress(),
                cancelled=abandoned,
            )
            publish_file(work / "ids.npy", path)
        except CancelledError as error:
            raise AbandonedError("nobody waits for these labels any more") from error
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def _store_probabilities(self, layer: Layer, t: int, path: Path, abandoned: Callable[[], bool]) -> None:
        recipe, source = layer.recipe, layer.parent
        assert isinstance(recipe, FrameRecipe)
        assert source is not None
        image = recipe.plan.image
        channels = len(recipe.channels)
        stored = _allocate(path, np.float32, (channels, *image.shape[1:]))
        _, z, y, x = source.chunk(0)
        room = min(PART_BYTES, int(settings().request_bytes)) // source.voxel_bytes
        rows = max(room // (z * image.shape[3]) // y, 1) * y if z * y * image.shape[3] <= room else y
        part = 1, z, rows, image.shape[3] if rows * z * image.shape[3] <= room else x
        for box in grid(image, part):
            here = box.shift((t, 0, 0, 0))
            low, high = source.along(here.start, 0), source.along(here.stop, source.n_channels)
            values = self._read(source, 0, low, high, bulk=True, abandoned=abandoned)
            by_channel = values.reshape(source.n_channels, *box.shape[1:]) if "c" in source.dims else values
            stored[(slice(None), *box.slices()[1:])] = by_channel[list(recipe.channels)]
        stored.flush()


def _allocate(path: Path, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.memmap[Any, Any]:
    """A file of an array with all of its room on the disk: running out of it later would kill who writes the map."""
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _lock_of(path: Path) -> Path:
    """The lock of a frame; a few are shared by all, so that they do not pile up."""
    return path.with_name(f"{zlib.crc32(path.stem.encode()) % LOCKS:02d}.lock")


@contextlib.contextmanager
def _alone(path: Path, abandoned: Callable[[], bool]) -> Iterator[None]:
    """Hold a lock that other threads and processes respect; it goes with the process that dies."""
    seconds = settings().request_seconds
    until = time.monotonic() + seconds
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if abandoned():
                    raise AbandonedError("nobody waits for these labels any more") from None
                if time.monotonic() > until:
                    raise BusyError(f"these labels were not made within {seconds:g} s", "busy", seconds) from None
                time.sleep(POLL_SECONDS)
        yield
