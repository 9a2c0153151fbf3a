"""Reading an HDF5 file that nobody vouches for.

Only hard links are followed and nothing is read from outside the file; sizes are checked before memory is taken, by
what a dataset declares and by what the file really stores for it; and whatever exception damaged bytes provoke in
h5py comes out as a `ProjectError` with the code ``not_hdf5``. Pickles are bytes like any others: nothing is unpickled.
"""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import h5py
import numpy as np
from numpy.typing import NDArray

from pipeline.config import settings
from pipeline.errors import ProjectError
from pipeline.hdf5_heap import global_heaps_are_sound, strings_are_sound
from pipeline.hdf5_objects import RawObjects, object_address

_MAX_STRINGS = 10_000
_SMALL_BYTES = 1 << 20
_LARGEST_COMPRESSION = 1100
"""Deflate cannot shrink more than 1032-fold: what declares more than that is made up of fill values."""


class IlpFile:
    """An open project file; use it as a context manager.

    Parameters
    ----------
    path : path-like
        A regular file.

    Raises
    ------
    ProjectError
        Code ``not_hdf5`` if it is missing, no regular file or not readable as HDF5. All methods raise the same for
        damaged content, ``unsafe_link`` where a soft or external link, external storage or a virtual dataset is met,
        and ``too_large`` for absurd sizes.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._left = settings().ilp_elements
        self._descriptor = self._open_regular()
        self._raw = RawObjects(self._descriptor)
        try:
            self._file = self._open_hdf5()
        except ProjectError:
            os.close(self._descriptor)
            raise
        self._found: dict[str, h5py.HLObject | None] = {"": self._file}

    def __enter__(self) -> IlpFile:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def error(self, code: str, what: str) -> ProjectError:
        """The refusal of this file: `what` continues a sentence that begins with its path."""
        return ProjectError(f"{self.path} {what}", code)

    def spend(self, elements: int, name: str) -> None:
        """Take `elements` numbers from the file's allowance before allocating them."""
        if elements > self._left:
            allowed = f"a project may hold {settings().ilp_elements} in all (VOXELFOREST_ILP_ELEMENTS)"
            raise self.error("too_large", f"declares {elements} numbers at {name!r}; {allowed}")
        self._left -= elements

    def has_group(self, path: str) -> bool:
        """Whether there is a group at `path`."""
        return isinstance(self._find(path), h5py.Group)

    def has(self, path: str) -> bool:
        """Whether there is anything at `path`."""
        return self._find(path) is not None

    def names(self, path: str) -> list[str]:
        """Names in a group, sorted; empty if there is no such group."""
        group = self._find(path)
        if not isinstance(group, h5py.Group):
            return []
        with self._guard(path):
            return sorted(group)

    def array(self, path: str) -> NDArray[np.generic] | None:
        """The content of a dataset, None if there is none at `path` or it is empty by nature."""
        dataset = self._find(path)
        if not isinstance(dataset, h5py.Dataset):
            return None
        with self._guard(path):
            if dataset.external or dataset.is_virtual:
                raise self.error("unsafe_link", f"keeps the data of {path!r} in other files; only its own are read")
            if dataset.shape is None:
                return None
            self._check_declared(dataset, path)
            if dataset.dtype.hasobject and dataset.size and not self._has_sound_strings(dataset):
                raise self.error("not_hdf5", f"is damaged at {path!r}, or stores it as ilastik never does")
            return np.asarray(dataset[()])

    def text(self, path: str) -> str | None:
        """The text of a dataset with one string; None if it is missing, something else or not UTF-8."""
        strings = self.strings(path)
        return strings[0] if strings is not None and len(strings) == 1 else None

    def strings(self, path: str) -> list[str] | None:
        """The strings of a dataset, flat; None if it is missing, holds something else or is not UTF-8."""
        values = self.array(path)
        if values is None or values.dtype.kind not in "SO":
            return None
        raw = [value.encode() if isinstance(value, str) else value for value in values.ravel().tolist()]
        try:
            return [value.decode("utf-8") for value in raw]
        except (AttributeError, UnicodeDecodeError):  # numbers in an object array, or other bytes
            return None

    def is_marked_empty(self, path: str) -> bool:
        """Whether ilastik marked a dataset as a placeholder (attribute isEmpty)."""
        dataset = self._find(path)
        if not isinstance(dataset, h5py.Dataset):
            return False
        with self._guard(path):
            if not h5py.h5a.exists(dataset.id, b"isEmpty"):
                return False
            attribute = h5py.h5a.open(dataset.id, b"isEmpty")
            plain = attribute.shape == () and attribute.dtype.kind in "biu"
            return plain and bool(dataset.attrs["isEmpty"])

    def attribute(self, path: str, name: str) -> str | None:
        """The text of a dataset's attribute; None if it is missing, something else or not UTF-8."""
        dataset = self._find(path)
        if not isinstance(dataset, h5py.Dataset):
            return None
        with self._guard(path):
            if not h5py.h5a.exists(dataset.id, name.encode()):
                return None
            if not self._has_sound_texts(dataset, name):
                raise self.error("not_hdf5", "is damaged where it keeps the texts of its attributes")
            value = dataset.attrs[name]
        text = value.decode("utf-8", "replace") if isinstance(value, bytes) else value
        return text if isinstance(text, str) else None

    def _has_sound_texts(self, dataset: h5py.Dataset, attribute: str) -> bool:
        sound = self._raw.texts_are_sound(object_address(dataset), attribute)
        return global_heaps_are_sound(self._descriptor) if sound is None else sound

    def _find(self, path: str) -> h5py.HLObject | None:
        if path not in self._found:
            above, _, name = path.rpartition("/")
            self._found[path] = self._step(self._find(above), name, path)
        return self._found[path]

    def _step(self, group: h5py.HLObject | None, name: str, path: str) -> h5py.HLObject | None:
        if not isinstance(group, h5py.Group) or name in ("", "."):
            return None
        with self._guard(path):
            link = group.get(name, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                kind = "an external" if isinstance(link, h5py.ExternalLink) else "a soft"
                raise self.error("unsafe_link", f"has {kind} link at {path!r}; only data inside the file is read")
            found = group[name]
            self._raw.check(object_address(found))
            return found

    def _check_declared(self, dataset: h5py.Dataset, path: str) -> None:
        self.spend(math.prod(dataset.shape), path)
        chunk = math.prod(dataset.chunks) if dataset.chunks else 0
        declared = max(math.prod(dataset.shape), chunk) * dataset.dtype.itemsize
        stored = min(dataset.id.get_storage_size(), os.fstat(self._descriptor).st_size)
        allowed = max(_SMALL_BYTES, stored * (_LARGEST_COMPRESSION if chunk else 1))
        if declared > allowed or (dataset.dtype.hasobject and dataset.size > _MAX_STRINGS):
            raise self.error("too_large", f"declares {declared} bytes at {path!r} but stores only {stored}")

    def _open_hdf5(self) -> h5py.File:
        what = "is not a readable HDF5 file, so it is no ilastik project, or it was cut off"
        try:
            self._raw.check_root()
            return h5py.File(self.path, "r", locking="best-effort")
        except BlockingIOError as error:
            raise self.error("not_hdf5", "is locked by another program; close it in ilastik first") from error
        except Exception as error:  # h5py answers damage with exceptions of any kind
            raise self.error("not_hdf5", what) from error

    def _has_sound_strings(self, dataset: h5py.Dataset) -> bool:
        text = h5py.check_string_dtype(dataset.dtype) is not None
        return text and strings_are_sound(self._file, dataset, self._descriptor)

    def _open_regular(self) -> int:
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe must not make us wait for its writer
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise ProjectError(f"cannot open the ilastik project {self.path}: {reason}", "not_hdf5") from error
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            os.close(descriptor)
            kind = "a folder" if stat.S_ISDIR(mode) else "no regular file"
            raise self.error("not_hdf5", f"is {kind}; an ilastik project (.ilp) is one HDF5 file")
        return descriptor

    def close(self) -> None:
        """Let go of the file."""
        self._found.clear()
        os.close(self._descriptor)
        with self._guard("the end"):
            self._file.close()

    @contextmanager
    def _guard(self, path: str) -> Iterator[None]:
        try:
            yield
        except ProjectError:
            raise
        except Exception as error:  # h5py answers damage with exceptions of any kind
            raise self.error("not_hdf5", f"is damaged or cut off at {path!r} and cannot be read as HDF5") from error
