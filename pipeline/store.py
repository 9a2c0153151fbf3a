"""Outputs: created whole, written chunk by chunk from any process, finished by a rename.

A chunk is written durably and counts as done when its file exists, so a run may be killed at any time, go on later,
and end with the same bytes. Until `Store.finish` has the last word there is only ``OUT.partial.zarr``, whose root
says that it is incomplete and which is no image yet.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from pipeline.chunks import ensure_array, is_aligned, missing_chunks, open_array
from pipeline.durability import DurableStore, lock, remove, sweep, sync_folder, unlock, write_errors
from pipeline.errors import StoreError, WriteError
from pipeline.images import ImageSpec
from pipeline.metadata import OWN_KEY, ZARR_FORMATS, OmeVersion, image_attributes
from pipeline.output import Mode, Output, State, admit, exists, locate, make_record, read_record
from pipeline.pyramid import Level, LevelBlock, coarsen, estimate_bytes, levels, slices, source_box
from pipeline.writers import WRITERS, Picture

__all__ = ["ImageSpec", "LevelBlock", "Store", "create", "estimate_bytes"]

_DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@dataclass(frozen=True)
class Store:
    """An output that is being made; small to pickle, opens its arrays once in each process.

    Made by `create`. `write`, `is_written` and `build_level_block` may run anywhere, at once and again: the same
    call leaves the same bytes. `finish` and `abandon` belong to the process that made it.

    Parameters
    ----------
    output : Output
        Its paths.
    images : tuple of ImageSpec
        Its images.
    version : {"0.5", "0.4"}
        OME-Zarr version of the zarr folder.
    record : dict
        What the root says about it; `replaces` if an output that exists is to be replaced at the end.
    finished : bool
        Whether the output was there already: nothing is left to do.
    token : str
        Tells this output from an earlier one at the same place, for the arrays kept open.
    """

    output: Output
    images: tuple[ImageSpec, ...]
    version: OmeVersion
    record: dict[str, Any]
    finished: bool
    token: str

    @property
    def path(self) -> Path:
        """Where the finished output lies."""
        return self.output.target

    def image(self, name: str) -> ImageSpec:
        """The specification of an image."""
        for spec in self.images:
            if spec.name == name:
                return spec
        raise KeyError(f"{self.path.name} has no image {name!r}, only {[spec.name for spec in self.images]}")

    def levels(self, image: str) -> tuple[Level, ...]:
        """Levels that are kept: all in zarr, level 0 alone on the way to a single file."""
        return self._levels[image]

    def array(self, image: str, level: int = 0) -> zarr.Array[Any]:
        """One level as a zarr array, axes as in the specification; not after `finish`."""
        return open_array(self.output.partial, self.array_path(image, level), ZARR_FORMATS[self.version], self.token)

    def write(self, image: str, start: Sequence[int], values: npt.NDArray[Any]) -> None:
        """Write whole chunks of level 0, or whole shards where there are such.

        Parameters
        ----------
        image : str
            Name of the image.
        start : sequence of int
            First voxel, on a chunk's border along each axis.
        values : ndarray
            Values of the image's type and axes; ends at a chunk's border or the image's end along each axis.

        Raises
        ------
        ValueError
            If the type differs or a chunk would be written in part.
        WriteError
            If the disk is full or fails.
        """
        spec = self.image(image)
        stop = tuple(a + n for a, n in zip(start, values.shape, strict=True))
        if values.dtype != np.dtype(spec.dtype):
            raise ValueError(f"image {image} holds {spec.dtype}, not {values.dtype}")
        if not is_aligned(spec, start, stop):
            raise ValueError(f"{tuple(start)} to {stop} cuts files {spec.unit} of image {image} {spec.shape}")
        self._put(image, 0, start, stop, values)

    def is_written(self, image: str, start: Sequence[int], stop: Sequence[int], level: int = 0) -> bool:
        """Whether all chunks of a level that the box ``start .. stop`` touches have their files."""
        return next(missing_chunks(self.array(image, level), start, stop), None) is None

    def level_blocks(self, image: str) -> list[list[LevelBlock]]:
        """What to build after level 0: a list for each coarser level, to be done one level after the other."""
        kept = enumerate(self.levels(image))
        return [[LevelBlock(k, *box) for box in level.boxes()] for k, level in kept if k]

    def build_level_block(self, image: str, level: int, start: Sequence[int], stop: Sequence[int]) -> None:
        """Make one file of a coarser level from the level before it, unless it is there.

        Raises
        ------
        WriteError
            If the disk is full or fails, or the level before lacks chunks.
        """
        if self.is_written(image, start, stop, level):
            return
        spec = self.image(image)
        before, after = self.levels(image)[level - 1 : level + 1]
        low, high = source_box(before, after, start, stop)
        if not self.is_written(image, low, high, level - 1):
            raise WriteError(f"level {level} of image {image} cannot be built before level {level - 1} is complete")
        self._put(image, level, start, stop, coarsen(self.array(image, level - 1), spec, before, after, start, stop))

    def finish(self) -> Path:
        """Write the documents, make the output visible under its name, and return that.

        Raises
        ------
        WriteError
            If chunks are missing, or the disk is full or fails; what exists stays as it was.
        StoreError
            If something else has taken the name meanwhile.
        """
        if self.finished:
            return self.path
        self._check_complete()
        if not self.record.get("replaces") and exists(self.path):
            raise StoreError(f"{self.path} has appeared meanwhile; move it away, then --resume")
        if self.output.single:
            self._finish_file()
        else:
            self._finish_folder()
        return self.path

    def abandon(self) -> None:
        """Give up: remove the partial output. An output that was to be replaced stays."""
        if not self.finished and self.output.partial.is_dir():
            remove(self.output.partial)
        self.close()

    def close(self) -> None:
        """Leave the partial output to a later run."""
        unlock(self.output.partial)

    @cached_property
    def _levels(self) -> dict[str, tuple[Level, ...]]:
        kept = 1 if self.output.single else None
        return {spec.name: levels(spec)[:kept] for spec in self.images}

    def array_path(self, image: str, level: int) -> str:
        """Name of the array of one level inside the zarr folder."""
        return str(level) if len(self.images) == 1 else f"{image}/{level}"

    def _put(self, image: str, level: int, start: Sequence[int], stop: Sequence[int], values: npt.NDArray[Any]) -> None:
        with write_errors(self.output.partial):
            self.array(image, level)[slices(start, stop)] = values

    def _check_complete(self) -> None:
        for spec in self.images:
            for k, level in enumerate(self.levels(spec.name)):
                chunks = missing_chunks(self.array(spec.name, k), (0,) * len(level.shape), level.shape)
                missing = sum(1 for _ in chunks)
                if missing:
                    raise WriteError(f"level {k} of image {spec.name} lacks {missing} chunks; --resume goes on")

    def _finish_file(self) -> None:
        record, array = {**self.record, "complete": True}, self.array(self.images[0].name)
        picture = Picture(self.images[0], record["final_axes"], record, record["compress"])
        WRITERS[self.path.suffix].write(array, picture, self.output.temporary, self.path)
        with write_errors(self.output.partial):
            remove(self.output.partial)
        self.close()

    def _finish_folder(self) -> None:
        with write_errors(self.path):
            root = zarr.open_group(DurableStore(self.output.partial), mode="r+", zarr_format=ZARR_FORMATS[self.version])
            record = {**self.record, "complete": True}
            if len(self.images) == 1:
                root.attrs.update(image_attributes(self.images[0], self.version, record))
            else:
                own = {key: record[key] for key in ("digest", "provenance", "complete")}
                for spec in self.images:
                    root.require_group(spec.name).attrs.update(image_attributes(spec, self.version, own))
                root.attrs.update({OWN_KEY: record})
            self._swap()

    def _swap(self) -> None:
        if exists(self.path):
            self.path.rename(self.output.replaced)
        self.output.partial.rename(self.path)
        sync_folder(self.path.parent)
        self.close()
        if exists(self.output.replaced):
            remove(self.output.replaced)


def create(
    path: str | os.PathLike[str],
    images: Sequence[ImageSpec],
    *,
    version: OmeVersion = "0.5",
    provenance: Mapping[str, Any],
    digest: str,
    mode: Mode = "new",
    final_axes: str,
    compress: bool = False,
) -> Store:
    """Create an output with all its levels, or go on with one.

    Parameters
    ----------
    path : path
        Where the finished output is to lie: a local ``.zarr``, or a file of `pipeline.writers`, which holds one image.
    images : sequence of ImageSpec
        One image becomes the root group of a zarr, several a group each.
    version : {"0.5", "0.4"}
        OME-Zarr version: 0.5 in zarr v3, 0.4 in zarr v2.
    provenance : mapping
        JSON values that say where the result comes from.
    digest : str
        Names data, project and settings; equal digests mean equal results.
    mode : {"new", "overwrite", "resume"}
        What may exist already; see `pipeline.output.admit`.
    final_axes : str
        Order of the axes in ``.h5`` and ``.npy``.
    compress : bool
        Whether an HDF5 file is compressed; zarr always is.

    Returns
    -------
    Store
        With `finished` set if the output exists and nothing is left to do.

    Raises
    ------
    StoreError
        If the output cannot be created as asked; nothing was changed then.
    WriteError
        If the disk is full.
    """
    output = locate(path)
    record = make_record(output, images, version, provenance, digest, final_axes, compress)
    try:
        state = admit(output, record, mode)
        if mode == "overwrite" and exists(output.target):
            record["replaces"] = True
        if state is State.CONTINUE:
            record = {**(read_record(output.partial) or record), **({"compress": compress} if output.single else {})}
        store = Store(output, tuple(images), version, record, state is State.FINISHED, uuid.uuid4().hex)
        if state is not State.FINISHED:
            _prepare(store, state)
    except OSError as error:
        kind = WriteError if error.errno in _DISK_ERRORS else StoreError
        raise kind(f"cannot create {output.partial}: {error.strerror or error}") from error
    return store


def _prepare(store: Store, state: State) -> None:
    """Make the folder, its documents and arrays, as far as they are not there."""
    folder = store.output.partial
    if state is State.BEGIN:
        folder.mkdir()
    lock(folder)
    sweep(folder)
    zarr_format = ZARR_FORMATS[store.version]
    if read_record(folder) is None:
        zarr.create_group(DurableStore(folder), zarr_format=zarr_format, attributes={OWN_KEY: store.record})
        sync_folder(folder.parent)
    for spec in store.images:
        for k, level in enumerate(store.levels(spec.name)):
            ensure_array(folder, store.array_path(spec.name, k), spec, level, zarr_format)
