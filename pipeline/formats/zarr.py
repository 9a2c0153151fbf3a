"""Zarr arrays, versions 2 and 3, plain or as a level of an OME-Zarr image, in a folder or behind a URL."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import zarr

from pipeline.errors import MissingExtraError, PipelineError, ReadError, VolumeError
from pipeline.formats.handles import HANDLES
from pipeline.formats.source import NO_ZARR, ArraySource, check_sizes, fingerprint_of, native_dtype, one_line, stamp
from pipeline.formats.zarr_chunks import ChunkReader, chunk_reader
from pipeline.formats.zarr_documents import (
    Node,
    channel_names,
    check_codecs,
    describe_axes,
    images,
    join,
    read_node,
    value_range,
)
from pipeline.formats.zarr_folder import Folder
from pipeline.formats.zarr_store import guarded_store, settle
from pipeline.suggestion import did_you_mean

LISTED = 50  # images that an error lists


@dataclass(frozen=True, kw_only=True, eq=False)
class ZarrSource(ArraySource):
    """One array of a Zarr hierarchy; chunks that are missing hold the fill value.

    Parameters
    ----------
    root, path : str
        Of the hierarchy, and of the array inside.
    opened : str
        Another one for each time that a volume behind a URL is opened: names the chunks that are kept on disk.
    """

    root: str
    path: str
    opened: str = ""

    def fetch(self, box: tuple[slice, ...]) -> npt.NDArray[Any]:
        array, reader = self._handle()
        if reader is not None:
            return reader.read(box)
        try:
            data: npt.NDArray[Any] = np.asarray(array[box])
        except Exception:
            settle()
            raise
        if self.stamp is None and data.min() == data.max() and read_node(Folder.at(self.root), self.path) is None:
            raise ReadError(f"{self.url}: is gone")  # a store that vanished would read as missing chunks
        return data

    def fetch_units(self, boxes: list[tuple[slice, ...]]) -> Iterator[npt.NDArray[Any]]:
        _, reader = self._handle()
        return super().fetch_units(boxes) if reader is None else reader.read_each(boxes)

    def _handle(self) -> tuple[zarr.Array[Any], ChunkReader | None]:
        place = ("zarr", self.root, self.path, self.fingerprint, self.opened)
        return cast("tuple[zarr.Array[Any], ChunkReader | None]", HANDLES.get(place, self._open))

    def _open(self) -> tuple[zarr.Array[Any], ChunkReader | None]:
        node = read_node(Folder.at(self.root), self.path)
        if node is None:
            raise ReadError(f"{self.url}: is gone")
        check_codecs(node.document, self.url)
        array = _open_array(self.root, node, self.opened)
        if array.shape != self.shape or native_dtype(array.dtype, self.url) != self.dtype:
            raise ReadError(f"{self.url}: is now {array.dtype} {array.shape}, was {self.dtype} {self.shape}")
        return array, None if "://" in self.root else chunk_reader(self.root, array)


def open_source(path: str, dataset: str = "", level: int = 0) -> ZarrSource:
    """Describe an array from the documents of its hierarchy.

    Parameters
    ----------
    path : str
        A folder, or a URL that fsspec knows; a URL may go on inside the store.
    dataset : str, optional
        Group or array inside; needed if there are several images.
    level : int
        Which level of a multiscale image, 0 the finest.

    Raises
    ------
    VolumeError
        If there is no such array, or it cannot be read; the message lists what there is.
    MissingExtraError
        If the library behind a URL's scheme is not installed.
    """
    root, inner = _split(path)
    try:
        folder = Folder.at(root)
    except ImportError as error:
        text = f"{path}: needs a library: pip install 'voxelforest[cloud]' ({one_line(error)})"
        raise MissingExtraError(text) from error
    array, image = _find(folder, join(inner, dataset), level)
    return _describe(folder, array, image)


def _split(path: str) -> tuple[str, str]:
    """The store and the path inside it; a local path names the store alone."""
    found = re.match(r"(\w+://.*?\.zarr)(?:/(.*))?$", path)
    return (found[1], found[2] or "") if found else (path.rstrip("/") or path, "")


def _find(folder: Folder, path: str, level: int) -> tuple[Node, Node | None]:
    """The array that is meant, and the multiscale group that it is a level of."""
    node = read_node(folder, path)
    if node is None:
        folder.check_bucket()
        found = list(images(folder, ""))
        near = did_you_mean(path, (one.path for one in found))
        text = f"{folder.url}: no Zarr array or group at {path or '/'!r}; it holds {_listing(found)}{near}"
        raise VolumeError(text, code=NO_ZARR)
    if not node.is_array and not node.levels:
        found = list(images(folder, path))
        if not found:
            raise VolumeError(f"{folder.url}: no array of two or more dimensions below {path or '/'!r}")
        if len(found) > 1:
            text = f"{folder.url}: holds {_listing(found)}; choose one with dataset= or --dataset"
            raise VolumeError(text)
        node = found[0]
    if not node.is_array:
        return _level(folder, node, level), node
    if level:
        raise VolumeError(f"{folder.url}: level {level} of {node.path or '/'!r}, which is one array without levels")
    return node, _image_of(folder, node)


def _level(folder: Folder, image: Node, level: int) -> Node:
    if not 0 <= level < len(image.levels):
        raise VolumeError(f"{folder.url}: no level {level}; there are 0 to {len(image.levels) - 1}")
    path = image.levels[level]
    node = read_node(folder, path)
    if node is None or not node.is_array:
        raise VolumeError(f"{folder.url}: level {level} should be the array {path!r}, which is not there")
    return node


def _image_of(folder: Folder, array: Node) -> Node | None:
    """The multiscale group above an array that lists it as a level."""
    parts = array.path.split("/") if array.path else []
    for depth in range(len(parts) - 1, -1, -1):
        above = read_node(folder, join(*parts[:depth]))
        if above is not None and array.path in above.levels:
            return above
    return None


def _listing(found: Sequence[Node]) -> str:
    more = [f"and {len(found) - LISTED} more"] if len(found) > LISTED else []
    return "; ".join([str(node) for node in found[:LISTED]] + more) or "no array of two or more dimensions"


def _describe(folder: Folder, node: Node, image: Node | None) -> ZarrSource:
    url = f"{folder.url}/{node.path}".rstrip("/")
    try:
        check_codecs(node.document, url)
        array = _open_array(folder.url, node)
    except (PipelineError, MemoryError):
        raise
    except Exception as error:  # whatever a document made of wrong values runs into
        raise VolumeError(f"{url}: not a readable Zarr array: {one_line(error)}") from error
    dtype = native_dtype(array.dtype, url)
    check_sizes(url, array.shape, array.chunks, dtype)
    axes, spacing, units = describe_axes(node, image)
    stamped, mark, place = None, None, folder.url
    if folder.local:
        name = "zarr.json" if node.document.get("zarr_format") == 3 else ".zarray"
        stamped = os.path.join(folder.root, node.path, name)
        mark, place = stamp(stamped), os.path.realpath(folder.root)
    return ZarrSource(
        url=url,
        shape=array.shape,
        dtype=dtype,
        chunks=array.chunks,
        unit=array.chunks,
        fingerprint=fingerprint_of("zarr", place, node.path, mark, node.text, image.text if image else b""),
        axes=axes,
        spacing=spacing,
        units=units,
        channel_names=channel_names(image),
        value_range=value_range(image),
        stamped=stamped,
        stamp=mark,
        root=folder.url,
        path=node.path,
        opened="" if folder.local or folder.url.startswith("memory://") else uuid.uuid4().hex,
    )


def _open_array(root: str, node: Node, opened: str = "") -> zarr.Array[Any]:
    array = zarr.open_array(store=guarded_store(root, node.document, opened), path=node.path, mode="r")
    assert isinstance(array, zarr.Array)
    return array
