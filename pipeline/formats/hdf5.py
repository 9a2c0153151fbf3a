"""Datasets of HDF5 files; the axes come from ilastik's ``axistags``, or from dimension labels.

Voxel sizes come from Fiji's ``element_size_um`` or, without a unit, from the axistags.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any, cast

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.axes import ORDER
from pipeline.errors import ReadError
from pipeline.formats.handles import HANDLES
from pipeline.formats.hdf5_chunks import Hdf5Chunks, chunk_reader
from pipeline.formats.hdf5_file import Hdf5File, texts_of
from pipeline.formats.source import ArraySource, check_sizes, fingerprint_of, native_dtype, slab_chunks, stamp

SIZE_ATTRIBUTE = "element_size_um"  # of Fiji's and ilastik's HDF5 plug-ins: z, y, x
LABELS_ATTRIBUTE = "DIMENSION_LABELS"


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5Source(ArraySource):
    """One dataset of an HDF5 file."""

    path: str
    dataset: str

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        dataset, reader = HANDLES.get(("hdf5", self.path, self.dataset, self.stamp), self._open)
        if reader is not None:
            return cast(Hdf5Chunks, reader).read(box)
        data: npt.NDArray[Any] = dataset[box]
        return data

    def _open(self) -> tuple[h5py.Dataset, Hdf5Chunks | None]:
        opened = Hdf5File(self.path)
        try:
            dataset = opened.find(self.dataset)
        finally:
            opened.release()
        if dataset.shape != self.shape or dataset.dtype.newbyteorder("=") != self.dtype:
            raise ReadError(f"{self.url}: is now {dataset.dtype} {dataset.shape}, was {self.dtype} {self.shape}")
        return dataset, chunk_reader(dataset)  # the file closes with the last reference into it


def open_source(path: str, dataset: str | None = None) -> Hdf5Source:
    """Describe a dataset of an HDF5 file, without reading its data.

    Parameters
    ----------
    path : str
        The file.
    dataset : str, optional
        Its name inside; needed if the file holds several arrays of two or more dimensions.

    Raises
    ------
    VolumeError
        If the file is damaged, the dataset is not there (the message lists those that are), of another kind, or
        reached through a link out of the file.
    """
    mark = stamp(path)
    # An old state that is still open would be handed out again: the library keeps one state for each file.
    HANDLES.forget(lambda key: key[:2] == ("hdf5", path) and key[3] != mark)
    with Hdf5File(path) as file:
        name = (dataset or "").strip("/") or file.only_array()
        return _describe(file, file.find(name), name, mark)


def _describe(file: Hdf5File, found: h5py.Dataset, name: str, mark: tuple[int, int]) -> Hdf5Source:
    url = f"{file.path}/{name}"
    dtype = native_dtype(found.dtype, url)
    chunks = found.chunks or slab_chunks(found.shape, dtype.itemsize)
    check_sizes(url, found.shape, chunks, dtype)
    axes, spacing = _axistags(file.attribute(found, "axistags"))
    axes = axes or _dimension_labels(file.attribute(found, LABELS_ATTRIBUTE), found.ndim)
    sizes = _sizes(file.attribute(found, SIZE_ATTRIBUTE), axes, found.ndim)
    return Hdf5Source(
        url=url,
        shape=found.shape,
        dtype=dtype,
        chunks=chunks,
        unit=found.chunks if found.id.get_create_plist().get_nfilters() else None,
        fingerprint=fingerprint_of("hdf5", os.path.realpath(file.path), mark, name),
        axes=axes,
        spacing={**spacing, **sizes},
        units=dict.fromkeys(sizes, "micrometer"),
        value_range=_drange(file.attribute(found, "drange")),
        stamped=file.path,
        stamp=mark,
        path=file.path,
        dataset=name,
    )


def _axistags(text: Any) -> tuple[str | None, dict[str, float]]:
    """Axes and spacing from ilastik's attribute; unreadable ones count as absent, and the guess is then reported."""
    try:
        tags = json.loads(text if isinstance(text, str | bytes) else "")["axes"]
        axes = "".join(str(tag["key"]) for tag in tags)
        spacing = {str(tag["key"]): float(tag.get("resolution") or 0) for tag in tags}
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None, {}
    if not axes or set(axes) - set(ORDER):
        return None, {}
    return axes, {key: value for key, value in spacing.items() if value > 0 and np.isfinite(value)}


def _sizes(value: Any, axes: str | None, ndim: int) -> dict[str, float]:
    """Micrometres by axis: of z, y, x, or of those that there are; empty where it is unusable."""
    numbers = _numbers(value)
    letters = [a for a in "zyx" if a in (axes or "zyx"[-ndim:])]
    letters = list("zyx") if len(numbers) == 3 else letters
    usable = len(numbers) == len(letters) and all(np.isfinite(number) and number > 0 for number in numbers)
    return dict(zip(letters, numbers, strict=True)) if usable else {}


def _drange(value: Any) -> tuple[float, float] | None:
    """ilastik's attribute: what stands for the smallest and the largest value; None where it is unusable."""
    numbers = _numbers(value)
    if len(numbers) != 2 or not np.isfinite(numbers).all() or numbers[0] >= numbers[1]:
        return None
    return numbers[0], numbers[1]


def _numbers(value: Any) -> list[float]:
    try:
        return [float(number) for number in np.asarray(value if value is not None else []).ravel()[:4]]
    except (ValueError, TypeError):
        return []


def _dimension_labels(value: Any, ndim: int) -> str | None:
    labels = texts_of(value)
    named = all(len(label) == 1 and label in ORDER for label in labels) and len(set(labels)) == len(labels) == ndim
    return "".join(labels) if named else None
