"""Datasets of HDF5 files; the axes come from ilastik's ``axistags``, or from dimension labels.

Only hard links are followed: soft and external links, data stored in other files and virtual datasets are refused,
because they may point anywhere.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt

from pipeline.axes import ORDER
from pipeline.errors import ReadError, VolumeError
from pipeline.formats.source import (
    HANDLES,
    ArraySource,
    check_sizes,
    fingerprint_of,
    native_dtype,
    one_line,
    slab_chunks,
    stamp,
)

LISTED = 50  # datasets that an error lists


@dataclass(frozen=True, kw_only=True, eq=False)
class Hdf5Source(ArraySource):
    """One dataset of an HDF5 file."""

    path: str
    dataset: str

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        _, dataset = HANDLES.get(("hdf5", self.path, self.dataset, self.stamp), self._open)
        data: npt.NDArray[Any] = dataset[box]
        return data

    def _open(self) -> tuple[h5py.File, h5py.Dataset]:
        file = _open_file(self.path)
        dataset = _find_dataset(file, self.path, self.dataset)
        if dataset.shape != self.shape or dataset.dtype.newbyteorder("=") != self.dtype:
            raise ReadError(f"{self.url}: is now {dataset.dtype} {dataset.shape}, was {self.dtype} {self.shape}")
        return file, dataset  # the file closes with its last reference, and the dataset with it


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
    with _open_file(path) as file:
        name = (dataset or "").strip("/") or _only_array(file, path)
        found = _find_dataset(file, path, name)
        return _describe(found, path, name, mark)


def _open_file(path: str) -> h5py.File:
    try:
        return h5py.File(path, "r", locking="best-effort")
    except OSError as error:
        raise VolumeError(f"{path}: not a readable HDF5 file: {one_line(error)}") from error


def _describe(found: h5py.Dataset, path: str, name: str, mark: tuple[int, int]) -> Hdf5Source:
    url = f"{path}/{name}"
    dtype = native_dtype(found.dtype, url)
    chunks = found.chunks or slab_chunks(found.shape, dtype.itemsize)
    check_sizes(url, found.shape, chunks, dtype)
    axes, spacing = _axistags(found)
    return Hdf5Source(
        url=url,
        shape=found.shape,
        dtype=dtype,
        chunks=chunks,
        unit=found.chunks if found.id.get_create_plist().get_nfilters() else None,
        fingerprint=fingerprint_of("hdf5", os.path.realpath(path), mark, name),
        axes=axes or _dimension_labels(found),
        spacing=spacing,
        value_range=_drange(found),
        stamped=path,
        stamp=mark,
        path=path,
        dataset=name,
    )


def _find_dataset(file: h5py.File, path: str, name: str) -> h5py.Dataset:
    node: h5py.Group = file
    parts = [part for part in name.split("/") if part]
    for depth, part in enumerate(parts):
        link = node.get(part, getlink=True) if isinstance(node, h5py.Group) else None
        if link is None:
            raise VolumeError(f"{path}: no dataset {name!r} inside; it holds {_listing(file)}")
        if not isinstance(link, h5py.HardLink):
            where = "/".join(parts[: depth + 1])
            raise VolumeError(f"{path}: {where!r} is a link to elsewhere; only data of the file itself is read")
        node = node[part]
    if not isinstance(node, h5py.Dataset):
        raise VolumeError(f"{path}: {name!r} is a group, not a dataset; the file holds {_listing(file)}")
    _check_storage(node, path)
    return node


def _check_storage(dataset: h5py.Dataset, path: str) -> None:
    """Refuse what cannot be read from this file alone, or not at all."""
    where = f"{path}{dataset.name}"
    if dataset.shape is None:
        raise VolumeError(f"{where}: the dataset is empty")
    if dataset.is_virtual or dataset.external:
        raise VolumeError(f"{where}: its data is stored in other files; only data of the file itself is read")
    create = dataset.id.get_create_plist()
    for number in range(create.get_nfilters()):
        code, _, _, label = create.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            known_as = label.decode(errors="replace")
            raise VolumeError(f"{where}: compressed by filter {code} ({known_as}), which is not installed")


def _arrays(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Name and dataset of every array of two or more dimensions; links are not followed.

    The library's own visitor adds up the size of each dataset's index, so it would read all of that.
    """
    found: dict[str, h5py.Dataset] = {}
    seen = {file.id}  # a group may be its own grandchild
    groups: list[tuple[str, h5py.Group]] = [("", file)]
    for prefix, group in groups:
        for name in group:
            if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                continue
            node = group[name]
            if isinstance(node, h5py.Dataset) and node.ndim >= 2:
                found[prefix + name] = node
            elif isinstance(node, h5py.Group) and node.id not in seen:
                seen.add(node.id)
                groups.append((f"{prefix}{name}/", node))
    return dict(sorted(found.items()))


def _only_array(file: h5py.File, path: str) -> str:
    names = list(_arrays(file))
    if not names:
        raise VolumeError(f"{path}: holds no dataset of two or more dimensions")
    if len(names) > 1:
        raise VolumeError(f"{path}: holds {_listing(file)}; choose one with dataset= or --dataset")
    return names[0]


def _listing(file: h5py.File) -> str:
    arrays = _arrays(file)
    texts = [f"{name} {node.dtype} {node.shape}" for name, node in list(arrays.items())[:LISTED]]
    more = [f"and {len(arrays) - LISTED} more"] if len(arrays) > LISTED else []
    return "; ".join(texts + more) or "no dataset of two or more dimensions"


def _axistags(dataset: h5py.Dataset) -> tuple[str | None, dict[str, float]]:
    """Axes and spacing from ilastik's attribute; unreadable ones count as absent, and the guess is then reported."""
    try:
        text = dataset.attrs.get("axistags")
        tags = json.loads(text if isinstance(text, str | bytes) else "")["axes"]
        axes = "".join(str(tag["key"]) for tag in tags)
        spacing = {str(tag["key"]): float(tag.get("resolution") or 0) for tag in tags}
    except (ValueError, TypeError, KeyError, AttributeError, OSError, OverflowError, RecursionError):
        return None, {}
    if not axes or set(axes) - set(ORDER):
        return None, {}
    return axes, {key: value for key, value in spacing.items() if value > 0 and np.isfinite(value)}


def _drange(dataset: h5py.Dataset) -> tuple[float, float] | None:
    """ilastik's attribute: what stands for the smallest and the largest value; None where it is unusable."""
    try:
        low, high = (float(value) for value in np.asarray(dataset.attrs["drange"]).ravel())
    except (KeyError, ValueError, TypeError, OSError):
        return None
    return (low, high) if np.isfinite([low, high]).all() and low < high else None


def _dimension_labels(dataset: h5py.Dataset) -> str | None:
    labels = [dimension.label for dimension in dataset.dims]
    named = all(len(label) == 1 and label in ORDER for label in labels) and len(set(labels)) == len(labels)
    return "".join(labels) if named else None
