"""Outputs: created whole, written chunk by chunk from any process, finished at once.

A chunk is written durably and counts as done when its file exists, so a run may be killed at any time, go on later,
and end with the same bytes. Until `Store.finish` has the last word there is only ``OUT.partial.zarr``, whose root
says that it is incomplete and which is no image yet.
"""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt
import zarr

from pipeline.chunks import ensure_array, is_aligned, missing_boxes, missing_chunks, open_array
from pipeline.durability import put_files, remove, write_errors
from pipeline.encoding import encode_files
from pipeline.errors import StoreError, WriteError
from pipeline.hierarchy import SCRATCH, group_of, write_attributes
from pipeline.images import ImageSpec, final_image
from pipeline.local_output import LocalOutput
from pipeline.metadata import OWN_KEY, ZARR_FORMATS, OmeVersion
from pipeline.output import Mode, Output, State, admit, locate, make_record
from pipeline.pyramid import Level, LevelBlock, Part, cascade, coarsen, estimate_bytes, levels, source_box
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
        Where it lies.
    images : tuple of ImageSpec
        Its images.
    version : {"0.5", "0.4"}
        OME-Zarr version of the zarr folder.
    record : dict
        What the root says about it; `replaces` if an output that exists is to be replaced at the end.
    finished : bool
        Whether the output was there already: nothing is left to do.
    resumed : bool
        Whether a run before this one had begun it.
    token : str
        Tells this output from an earlier one at the same place, for the arrays kept open.
    """

    output: Output
    images: tuple[ImageSpec, ...]
    version: OmeVersion
    record: dict[str, Any]
    finished: bool
    resumed: bool
    token: str

    @property
    def path(self) -> str:
        """Where the finished output lies: a path, or a URL."""
        return str(self.output.target)

    def image(self, name: str) -> ImageSpec:
        """The specification of an image."""
        for spec in self.images:
            if spec.name == name:
                return spec
        raise KeyError(f"{self.output.name} has no image {name!r}, only {[spec.name for spec in self.images]}")

    def levels(self, image: str) -> tuple[Level, ...]:
        """Levels that are kept: all in zarr, level 0 alone of scratch and on the way to a single file."""
        return self._levels[image]

    def array(self, image: str, level: int = 0) -> zarr.Array[Any]:
        """One level as a zarr array, axes as in the specification; not after `finish`."""
        return open_array(self.output, self.array_path(image, level), ZARR_FORMATS[self.version], self.token)

    def write(self, image: str, start: Sequence[int], values: npt.NDArray[Any]) -> None:
        """Write whole files (chunks or shards) of level 0, and those of the coarser levels that they make up.

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
        self._put(image, chain([(0, tuple(start), values)], cascade(spec, self.levels(image), start, values)))

    def is_written(self, image: str, start: Sequence[int], stop: Sequence[int], level: int = 0) -> bool:
        """Whether all chunks of a level that the box ``start .. stop`` touches have their files."""
        return next(missing_chunks(self.output, self.array(image, level), start, stop), None) is None

    def level_blocks(self, image: str) -> list[list[LevelBlock]]:
        """What is left to build after level 0: a list for each coarser level, to be done one level after the other."""
        coarser = range(1, len(self.levels(image)))
        found = [[LevelBlock(k, *b) for b in missing_boxes(self.output, self.array(image, k))] for k in coarser]
        return [blocks for blocks in found if blocks]

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
        made = coarsen(self.array(image, level - 1), spec, before, after, start, stop)
        self._put(image, [(level, tuple(start), made)])

    def finish(self) -> str:
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
        if not self.record.get("replaces") and self.output.exists():
            raise StoreError(f"{self.path} has appeared meanwhile; move it away, then --resume")
        if isinstance(self.output, LocalOutput) and self.output.single:
            self._finish_file(self.output)
        else:
            self._finish_zarr()
        return self.path

    def abandon(self) -> None:
        """Give up: remove the partial output. An output that was to be replaced stays."""
        if not self.finished:
            with write_errors(self.output.partial):
                self.output.discard()
        self.close()

    def close(self) -> None:
        """Leave the partial output to a later run."""
        self.output.release()

    @cached_property
    def _levels(self) -> dict[str, tuple[Level, ...]]:
        single = self.output.single
        return {spec.name: levels(spec)[: 1 if single or spec.role == "scratch" else None] for spec in self.images}

    def array_path(self, image: str, level: int) -> str:
        """Name of the array of one level inside the zarr folder."""
        return f"{group_of(self.image(image), self.images)}/{level}".strip("/")

    def _put(self, image: str, parts: Iterable[Part]) -> None:
        with write_errors(self.output.partial):
            put_files(self.array(image).store, self._files(image, parts))

    def _files(self, image: str, parts: Iterable[Part]) -> Iterator[tuple[str, bytes]]:
        for level, start, values in parts:
            array = self.array(image, level)
            for index, contents in encode_files(self.levels(image)[level], start, values):
                yield f"{array.path}/{array.metadata.encode_chunk_key(index)}", contents

    def _check_complete(self) -> None:
        for spec in self.images:
            for k in range(len(self.levels(spec.name))):
                missing = len(list(missing_boxes(self.output, self.array(spec.name, k))))
                if missing:
                    raise WriteError(f"level {k} of image {spec.name} lacks {missing} chunks; --resume goes on")

    def _finish_file(self, output: LocalOutput) -> None:
        spec, record = final_image(self.images, output.name), {**self.record, "complete": True}
        array, picture = self.array(spec.name), Picture(spec, record["final_axes"], record, record["compress"])
        WRITERS[output.target.suffix].write(array, picture, output.temporary, output.target)
        with write_errors(output.partial):
            remove(output.partial)
        self.close()

    def _finish_zarr(self) -> None:
        with write_errors(self.output.partial):
            store = self.output.zarr_store()
            root = zarr.open_group(store, mode="r+", zarr_format=ZARR_FORMATS[self.version])
            write_attributes(root, self.images, self.version, {**self.record, "complete": True})
            self.output.remove_folder(SCRATCH)
            self.output.publish()


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
        Where the finished output is to lie: a ``.zarr``, local or ``s3://``, or a file of `pipeline.writers`, which
        holds one image.
    images : sequence of ImageSpec
        One image becomes the root group of a zarr, several a group each, labels one in the group ``labels``.
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
        if mode == "overwrite" and output.exists():
            record["replaces"] = True
        if state is State.CONTINUE:
            record = {**(output.partial_record() or record), **({"compress": compress} if output.single else {})}
        done, resumed = state is State.FINISHED, state is State.CONTINUE
        store = Store(output.made_by(record), tuple(images), version, record, done, resumed, uuid.uuid4().hex)
        if resumed and record["complete"]:  # killed between the last document and the final name
            store.output.claim()
            store.output.remove_folder(SCRATCH)
            store.output.publish()
            return replace(store, finished=True)
        if not done:
            _prepare(store)
    except OSError as error:
        kind = WriteError if error.errno in _DISK_ERRORS else StoreError
        raise kind(f"cannot create {output.partial}: {error.strerror or error}") from error
    return store


def _prepare(store: Store) -> None:
    """Claim the partial output, and make its documents and arrays, as far as they are not there."""
    output, zarr_format = store.output, ZARR_FORMATS[store.version]
    output.claim()
    if output.partial_record() is None:
        zarr.create_group(output.zarr_store(), zarr_format=zarr_format, attributes={OWN_KEY: store.record})
    for spec in store.images:
        for k, level in enumerate(store.levels(spec.name)):
            ensure_array(output, store.array_path(spec.name, k), spec, level, zarr_format)
