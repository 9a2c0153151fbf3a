"""An HDF5 file that nobody vouches for: its groups, datasets and attributes, looked at before the library reads them.

Only hard links are followed: soft and external links, data stored in other files and virtual datasets are refused,
because they may point anywhere.
"""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any

import h5py
import numpy as np

from pipeline.errors import VolumeError
from pipeline.formats.hdf5_chunks import check_filters
from pipeline.formats.source import one_line
from pipeline.hdf5_heap import global_heaps_are_sound
from pipeline.hdf5_objects import RawObjects, object_address
from pipeline.suggestion import did_you_mean

LISTED = 50  # datasets that an error lists
MOST_ATTRIBUTE_BYTES = 1 << 20


class Hdf5File:
    """An open file; as a context manager it is closed at the end.

    Parameters
    ----------
    path : str

    Raises
    ------
    VolumeError
        If it is no HDF5 file or damaged; all methods raise the same.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        try:
            self._raw = RawObjects(self._descriptor)
            self._raw.check_root()
            self.file = h5py.File(path, "r", locking="best-effort")
        except (OSError, ValueError) as error:
            self.release()
            raise VolumeError(f"{path}: not a readable HDF5 file: {one_line(error)}") from error

    def __enter__(self) -> Hdf5File:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.release()
        self.file.close()

    def release(self) -> None:
        """Look at nothing more; datasets that were found stay open."""
        os.close(self._descriptor)

    def find(self, name: str) -> h5py.Dataset:
        """A dataset by its name."""
        node: h5py.Group = self.file
        parts = [part for part in name.split("/") if part]
        for depth, part in enumerate(parts):
            link = self._checked(node).get(part, getlink=True) if isinstance(node, h5py.Group) else None
            if link is None:
                near = did_you_mean(name.strip("/"), self._arrays())
                raise VolumeError(f"{self.path}: no dataset {name!r} inside; it holds {self._listing()}{near}")
            if not isinstance(link, h5py.HardLink):
                where = f"{self.path}: {'/'.join(parts[: depth + 1])!r}"
                raise VolumeError(f"{where} is a link to elsewhere; only data of the file itself is read")
            node = node[part]
        if not isinstance(node, h5py.Dataset):
            raise VolumeError(f"{self.path}: {name!r} is a group, not a dataset; the file holds {self._listing()}")
        self._check_storage(self._checked(node))
        return node

    def only_array(self) -> str:
        """The name of the file's array, if it has but one."""
        names = list(self._arrays())
        if not names:
            raise VolumeError(f"{self.path}: holds no dataset of two or more dimensions")
        if len(names) > 1:
            raise VolumeError(f"{self.path}: holds {self._listing()}; choose one with dataset= or --dataset")
        return names[0]

    def attribute(self, dataset: h5py.Dataset, name: str) -> Any:
        """The numbers or texts of an attribute; None if it is not there, damaged, large or of another kind."""
        if not h5py.h5a.exists(dataset.id, name.encode()):
            return None
        found = h5py.h5a.open(dataset.id, name.encode())
        kind = found.get_type()
        if kind.get_class() == h5py.h5t.VLEN or (kind.get_class() == h5py.h5t.STRING and kind.is_variable_str()):
            sound = self._raw.texts_are_sound(object_address(dataset), name)
            if not (global_heaps_are_sound(self._descriptor) if sound is None else sound):
                return None
        elif kind.get_class() not in (h5py.h5t.INTEGER, h5py.h5t.FLOAT, h5py.h5t.STRING):
            return None
        if found.get_storage_size() > MOST_ATTRIBUTE_BYTES:
            return None
        try:
            return dataset.attrs[name]
        except (OSError, TypeError, ValueError, RuntimeError):
            return None

    def _checked(self, node: Any) -> Any:
        try:
            self._raw.check(object_address(node))
        except ValueError as error:
            raise VolumeError(f"{self.path}{node.name}: not a readable HDF5 file: {error}") from error
        return node

    def _check_storage(self, dataset: h5py.Dataset) -> None:
        """Refuse what cannot be read from this file alone, or not at all."""
        where = f"{self.path}{dataset.name}"
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
        try:
            check_filters(dataset)
        except ValueError as error:
            raise VolumeError(f"{where}: {error}") from error

    def _arrays(self) -> dict[str, h5py.Dataset]:
        """Name and dataset of every array of two or more dimensions; links are not followed.

        The library's own visitor adds up the size of each dataset's index, so it would read all of that.
        """
        found: dict[str, h5py.Dataset] = {}
        seen = {self.file.id}  # a group may be its own grandchild
        groups: list[tuple[str, h5py.Group]] = [("", self.file)]
        for prefix, group in groups:
            for name in self._checked(group):
                if not isinstance(group.get(name, getlink=True), h5py.HardLink):
                    continue
                node = group[name]
                if isinstance(node, h5py.Dataset) and node.ndim >= 2:
                    found[prefix + name] = node
                elif isinstance(node, h5py.Group) and node.id not in seen:
                    seen.add(node.id)
                    groups.append((f"{prefix}{name}/", node))
        return dict(sorted(found.items()))

    def _listing(self) -> str:
        arrays = self._arrays()
        texts = [f"{name} {node.dtype} {node.shape}" for name, node in list(arrays.items())[:LISTED]]
        more = [f"and {len(arrays) - LISTED} more"] if len(arrays) > LISTED else []
        return "; ".join(texts + more) or "no dataset of two or more dimensions"


def texts_of(value: Any) -> list[str]:
    """Texts of an attribute as a list; empty where it holds others."""
    values = np.asarray(value, dtype=object).ravel().tolist() if value is not None else []
    texts = [v.decode(errors="replace") if isinstance(v, bytes) else v for v in values]
    return texts if all(isinstance(text, str) for text in texts) else []
