"""What all single files share: the image and its order of axes, its blocks in that order, a file whole or absent."""

from __future__ import annotations

import os
import shutil
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from pipeline.durability import publish_file
from pipeline.errors import StoreError, WriteError
from pipeline.images import OME_ORDER, ImageSpec
from pipeline.pyramid import chunk_boxes, slices

MICROMETRES = {"angstrom": 1e-4, "nanometer": 1e-3, "micrometer": 1.0, "millimeter": 1e3, "centimeter": 1e4,
               "meter": 1e6, "nm": 1e-3, "um": 1.0, "µm": 1.0, "μm": 1.0, "micron": 1.0, "mm": 1e3, "cm": 1e4,
               "m": 1e6}  # fmt: skip

Array = npt.NDArray[Any]
Where = tuple[slice, ...]


class Readable(Protocol):
    """Anything that gives a box of level 0, axes as in the specification."""

    def __getitem__(self, key: tuple[slice, ...], /) -> Any: ...


@dataclass(frozen=True)
class Picture:
    """What a single file holds.

    Parameters
    ----------
    spec : ImageSpec
        The image.
    order : str
        Axes of the file; one that the image lacks has length 1 (ilastik's segmentations have a channel axis).
    record : mapping
        JSON values that the file keeps: how it was made.
    compress : bool
        Whether values are compressed, where the format leaves the choice.
    """

    spec: ImageSpec
    order: str
    record: Mapping[str, Any]
    compress: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels in the order of the file."""
        return arranged(self.spec.shape, self.spec.dims, self.order, 1)

    @property
    def chunks(self) -> tuple[int, ...]:
        """Voxels of a chunk in the order of the file."""
        return arranged(self.spec.chunks, self.spec.dims, self.order, 1)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of a value."""
        return np.dtype(self.spec.dtype)

    def length(self, axis: str) -> int:
        """Voxels along an axis, 1 if the image lacks it."""
        return self.spec.shape[self.spec.dims.index(axis)] if axis in self.spec.dims else 1

    def blocks(self, array: Readable) -> Iterator[tuple[Where, Array]]:
        """Each chunk and its place, in the order of the file."""
        for start, stop in chunk_boxes(self.spec.shape, self.spec.chunks):
            low = arranged(start, self.spec.dims, self.order, 0)
            high = arranged(stop, self.spec.dims, self.order, 1)
            yield slices(low, high), self.read(array, start, stop)

    def read(self, array: Readable, start: Sequence[int], stop: Sequence[int]) -> Array:
        """A box of level 0, given along the image's axes, in the order of the file."""
        axes = [self.spec.dims.index(a) for a in self.order if a in self.spec.dims]
        lengths = [b - a for a, b in zip(start, stop, strict=True)]
        block = np.asarray(array[slices(start, stop)]).transpose(axes)
        return block.reshape(arranged(lengths, self.spec.dims, self.order, 1))


def check_axes(spec: ImageSpec, order: str) -> None:
    """Refuse an order of axes that does not name each axis of the image once.

    Raises
    ------
    StoreError
        Naming both.
    """
    if len(set(order)) != len(order) or not set(spec.dims) <= set(order) <= set(OME_ORDER):
        raise StoreError(f"axes {order!r} do not name each axis of image {spec.name} ({spec.dims}) once")


def micrometres(spec: ImageSpec) -> dict[str, float]:
    """Voxel sizes of z, y, x where they are given; empty unless all of these have a unit of length.

    Parameters
    ----------
    spec : ImageSpec
    """
    given = {a: spec.units.get(a, "") for a in "zyx" if a in spec.spacing}
    known = all(unit in MICROMETRES for unit in given.values())
    return {a: spec.spacing[a] * MICROMETRES[unit] for a, unit in given.items()} if known else {}


def arranged(values: Sequence[int], dims: str, order: str, missing: int) -> tuple[int, ...]:
    """Values for axes `dims` in the order `order`, `missing` for axes that are not among them.

    Examples
    --------
    >>> arranged((5, 60, 70), "zyx", "xyzc", missing=1)
    (70, 60, 5, 1)
    """
    return tuple(values[dims.index(a)] if a in dims else missing for a in order)


@contextmanager
def whole_file(picture: Picture, temporary: Path, path: Path) -> Iterator[None]:
    """A context that makes `temporary`: flushed and renamed to `path` at its end, removed if it fails.

    Raises
    ------
    WriteError
        If the disk is full or fails, naming `path` and the reason.
    """
    try:
        _check_space(picture.spec, path)
        yield
        publish_file(temporary, path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise WriteError(f"cannot write {path}: {_reason(error)}; --resume tries again") from error


def fill_mapped(picture: Picture, array: Readable, path: Path, offset: int) -> None:
    """Write all blocks into the values that lie one after the other in a file, from `offset` on."""
    _reserve(path)
    for where, block in picture.blocks(array):
        # Mapped anew for each chunk: pages of a mapping count as this process's memory until it is gone.
        mapped = np.memmap(path, picture.dtype, "r+", offset, picture.shape)
        mapped[where] = block
        del mapped


def read_quietly(read: Callable[[], Any]) -> Any:
    """What `read` returns; None where it meets a file that is not what it expects."""
    try:
        return read()
    except (OSError, ValueError, LookupError, TypeError, AttributeError, struct.error):
        return None


def _check_space(spec: ImageSpec, path: Path) -> None:
    needed, free = spec.size * spec.itemsize, shutil.disk_usage(path.parent).free
    if free < needed:
        raise WriteError(f"cannot write {path}: it takes {needed} bytes and {free} are free; --resume tries again")


def _reserve(path: Path) -> None:
    """Claim the space of a file: writing to a mapping of a file without space would kill the process."""
    with path.open("r+b") as file:
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return os.strerror(number) if number else str(error).splitlines()[0]
