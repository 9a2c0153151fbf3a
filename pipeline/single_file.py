"""Outputs in one file, made from the chunks of a finished level 0: HDF5 as ilastik exports it, and NPY.

One pass over the chunks, one chunk in memory at a time. The axes are in the order asked for; one that the image
lacks has length 1 (ilastik's segmentations have a channel axis).
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.durability import publish_file, write_file
from pipeline.errors import StoreError, WriteError
from pipeline.guarded_file import GuardedFile
from pipeline.images import OME_ORDER, ImageSpec
from pipeline.metadata import OWN_KEY, axistags
from pipeline.pyramid import chunk_boxes

DATASET = "exported_data"

Array = npt.NDArray[Any]


class Readable(Protocol):
    """Anything that gives a box of level 0, axes as in the specification."""

    def __getitem__(self, key: tuple[slice, ...], /) -> Any: ...


@dataclass(frozen=True)
class SingleFile:
    """How to write one format and how to read the record of a file of it."""

    write: Callable[[Readable, ImageSpec, str, Mapping[str, Any], Path, Path], None]
    read_record: Callable[[Path], Mapping[str, Any] | None]


def check_axes(spec: ImageSpec, order: str) -> None:
    """Refuse an order of axes that does not name each axis of the image once.

    Raises
    ------
    StoreError
        Naming both.
    """
    if len(set(order)) != len(order) or not set(spec.dims) <= set(order) <= set(OME_ORDER):
        raise StoreError(f"axes {order!r} do not name each axis of image {spec.name} ({spec.dims}) once")


def arranged(values: Sequence[int], dims: str, order: str, missing: int) -> tuple[int, ...]:
    """Values for axes `dims` in the order `order`, `missing` for axes that are not among them.

    Examples
    --------
    >>> arranged((5, 60, 70), "zyx", "xyzc", missing=1)
    (70, 60, 5, 1)
    """
    return tuple(values[dims.index(a)] if a in dims else missing for a in order)


def write_hdf5(
    array: Readable, spec: ImageSpec, order: str, record: Mapping[str, Any], temporary: Path, path: Path
) -> None:
    """Write ``exported_data`` with the attributes `axistags`, `drange` (if known) and `display_mode`.

    Parameters
    ----------
    array : Readable
        Level 0, axes `spec.dims`.
    spec : ImageSpec
        The image.
    order : str
        Axes of the dataset.
    record : mapping
        What is kept as the JSON attribute `voxelforest`.
    temporary, path : Path
        Where the file is made, and the name it gets once it is whole.

    Raises
    ------
    WriteError
        If the disk is full or fails; `path` is as it was.
    """
    try:
        _check_space(spec, path)
        with GuardedFile(temporary) as file:
            _fill_hdf5(file, array, spec, order, record)
            file.check()
        publish_file(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(f"cannot write {path}: {_reason(error)}; --resume tries again") from error


def _fill_hdf5(target: GuardedFile, array: Readable, spec: ImageSpec, order: str, record: Mapping[str, Any]) -> None:
    import h5py

    with h5py.File(target, "w") as file:
        data = file.create_dataset(
            DATASET,
            shape=arranged(spec.shape, spec.dims, order, 1),
            chunks=arranged(spec.chunks, spec.dims, order, 1),
            dtype=spec.dtype,
        )
        data.attrs["axistags"] = axistags(order, spec.spacing)
        data.attrs["display_mode"] = "default"
        if spec.value_range is not None:
            data.attrs["drange"] = np.array(spec.value_range, spec.dtype)
        data.attrs[OWN_KEY] = json.dumps(record)
        for where, block in _blocks(array, spec, order):
            data[where] = block
            if target.error is not None:
                return


def write_npy(
    array: Readable, spec: ImageSpec, order: str, record: Mapping[str, Any], temporary: Path, path: Path
) -> None:
    """Write an NPY file, and beside it ``<name>.npy.json`` with axes, names and record; see `write_hdf5`.

    The sidecar comes first: it names the size and time of the file it belongs to, so that one without the other,
    or beside a file that was changed since, is seen as such.
    """
    try:
        _check_space(spec, path)
        shape = arranged(spec.shape, spec.dims, order, 1)
        whole = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.dtype(spec.dtype), shape=shape)
        del whole
        _reserve(temporary)
        for where, block in _blocks(array, spec, order):
            # Mapped anew for each chunk: pages of a mapping count as this process's memory until it is gone.
            mapped = np.load(temporary, mmap_mode="r+")
            mapped[where] = block
            del mapped
        notes = {"axes": order, "class_names": list(spec.channel_names), "spacing": spec.spacing, "units": spec.units}
        document = {**notes, "file": _stamp(temporary), OWN_KEY: record}
        write_file(_sidecar(path), json.dumps(document, indent=2).encode())
        publish_file(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(f"cannot write {path}: {_reason(error)}; --resume tries again") from error


def read_hdf5_record(path: Path) -> Mapping[str, Any] | None:
    """The record in an HDF5 file of ours; None if it is not one."""
    import h5py

    try:
        with h5py.File(path, "r") as file:
            record = json.loads(file[DATASET].attrs[OWN_KEY])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if isinstance(record, dict) else None


def read_npy_record(path: Path) -> Mapping[str, Any] | None:
    """The record beside an NPY file of ours; None if there is none, or the file was changed since."""
    try:
        document = json.loads(_sidecar(path).read_text())
        record = document[OWN_KEY] if document["file"] == _stamp(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return record if isinstance(record, dict) else None


def _blocks(array: Readable, spec: ImageSpec, order: str) -> Iterator[tuple[tuple[slice, ...], Array]]:
    """Each chunk and its place, axes `order`."""
    axes = [spec.dims.index(a) for a in order if a in spec.dims]
    for start, stop in chunk_boxes(spec.shape, spec.chunks):
        block = np.asarray(array[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])
        low, high = arranged(start, spec.dims, order, 0), arranged(stop, spec.dims, order, 1)
        where = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        shape = tuple(b - a for a, b in zip(low, high, strict=True))
        yield where, block.transpose(axes).reshape(shape)


def _check_space(spec: ImageSpec, path: Path) -> None:
    needed, free = spec.size * spec.itemsize, shutil.disk_usage(path.parent).free
    if free < needed:
        raise WriteError(f"cannot write {path}: it takes {needed} bytes and {free} are free; --resume tries again")


def _reserve(path: Path) -> None:
    """Claim the space of a file: writing to a mapping of a file without space would kill the process."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _sidecar(path: Path) -> Path:
    return path.with_name(f"{path.name}.json")


def _stamp(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error).splitlines()[0]


SINGLE_FILES = {".h5": SingleFile(write_hdf5, read_hdf5_record), ".npy": SingleFile(write_npy, read_npy_record)}
