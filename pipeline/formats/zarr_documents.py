"""The JSON documents of a Zarr hierarchy, versions 2 and 3: nodes, OME-Zarr multiscales, axes and spacing.

Only documents are read here, no chunk, and nothing is opened that lies outside the store's folder.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import fsspec

from pipeline.axes import ORDER
from pipeline.errors import VolumeError
from pipeline.formats.source import one_line

DEEPEST = 6  # levels of groups that are searched for arrays
MOST_NODES = 1000  # nodes that one search opens
ABSENT = (FileNotFoundError, NotADirectoryError, IsADirectoryError, NotImplementedError)
LETTER_OF_TYPE = {"channel": "c", "time": "t"}

# What decodes plain numbers. Others are refused: numcodecs has one that unpickles, and plug-ins may do anything.
CODECS = frozenset(
    [
        *("blosc", "zlib", "gzip", "zstd", "lz4", "lzma", "bz2", "delta", "shuffle", "fixedscaleoffset", "packbits"),
        *("bitround", "quantize", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "astype"),
        *("bytes", "endian", "transpose", "sharding_indexed"),
    ]
)


@dataclass(frozen=True)
class Node:
    """A group or an array, as its documents describe it."""

    path: str
    is_array: bool
    attributes: dict[str, Any]
    document: dict[str, Any]
    text: bytes

    @property
    def multiscale(self) -> dict[str, Any] | None:
        """The first OME-Zarr image of the group, if it is one."""
        ome = self.attributes.get("ome")
        scales = (ome if isinstance(ome, dict) else self.attributes).get("multiscales")
        return scales[0] if isinstance(scales, list) and scales and isinstance(scales[0], dict) else None

    @property
    def datasets(self) -> list[dict[str, Any]]:
        """The entries of the multiscale's datasets, finest first."""
        entries = (self.multiscale or {}).get("datasets")
        return [e for e in entries if isinstance(e, dict) and "path" in e] if isinstance(entries, list) else []

    @property
    def levels(self) -> list[str]:
        """Their paths from the root of the store."""
        return [join(self.path, str(entry["path"])) for entry in self.datasets]

    def __str__(self) -> str:
        if not self.is_array:
            return f"{self.path or '/'} ({len(self.levels)} levels)"
        kind = self.document.get("data_type", self.document.get("dtype"))
        return f"{self.path} {kind} {tuple(self.document.get('shape', ()))}"


@dataclass(frozen=True)
class Folder:
    """Where a hierarchy lies: a local folder, or a prefix of an object store or web server.

    Parameters
    ----------
    url : str
        Local path, or a URL that fsspec knows.
    """

    url: str
    local: bool
    system: Any = field(repr=False)
    root: str = field(repr=False)

    @classmethod
    def at(cls, url: str) -> Folder:
        """The folder at a path or URL; ImportError if its scheme needs a library that is missing."""
        if "://" not in url:
            return cls(url, True, fsspec.filesystem("file"), url)
        system, root = fsspec.core.url_to_fs(url)
        return cls(url, False, system, root)

    def read(self, key: str) -> bytes | None:
        """The bytes of a document, None if there is none."""
        check_contained(self.root, key, self.local)
        try:
            data: bytes = self.system.cat_file(f"{self.root}/{key}")
        except ABSENT:
            return None
        return data

    def children(self, path: str) -> list[str]:
        """Names below `path`, sorted; empty where the store cannot list them."""
        try:
            entries = self.system.ls(f"{self.root}/{path}".rstrip("/"), detail=False)
        except ABSENT:
            return []
        return sorted({str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries})


def check_contained(root: str, key: str, local: bool) -> None:
    """Refuse a key that leads out of `root`, through ``..`` or, in a local folder, through a link.

    Raises
    ------
    VolumeError
        With code ``unsafe_link``.
    """
    outside = ".." in key.split("/") or "\0" in key
    if local and not outside:
        base = os.path.realpath(root).rstrip(os.sep) + os.sep
        outside = not os.path.realpath(os.path.join(root, key)).startswith(base)
    if outside:
        raise VolumeError(f"{root}: {key!r} leads out of the folder; links are not followed there", code="unsafe_link")


def join(*parts: str) -> str:
    """Parts of a path inside a store, without empty ones."""
    return "/".join(part.strip("/") for part in parts if part.strip("/") not in ("", "."))


def read_node(folder: Folder, path: str) -> Node | None:
    """The group or array at `path`, None if there is neither.

    Raises
    ------
    VolumeError
        If a document is not JSON, or leads out of the folder.
    """
    text = folder.read(join(path, "zarr.json"))
    if text is not None:
        document = _parse(folder, path, text)
        attributes = document.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        return Node(path, document.get("node_type") == "array", attributes, document, text)
    for name in (".zarray", ".zgroup"):
        text = folder.read(join(path, name))
        if text is not None:
            more = folder.read(join(path, ".zattrs")) or b"{}"
            document = _parse(folder, path, text)
            return Node(path, name == ".zarray", _parse(folder, path, more), document, text + more)
    return None


def images(folder: Folder, path: str) -> Iterator[Node]:
    """Arrays of two or more dimensions and multiscale groups at `path` and below; levels of these are not listed."""
    budget = [MOST_NODES]
    yield from _walk(folder, path, DEEPEST, budget)


def _walk(folder: Folder, path: str, depth: int, budget: list[int]) -> Iterator[Node]:
    budget[0] -= 1
    node = read_node(folder, path) if budget[0] >= 0 else None
    if node is None:
        return
    if node.is_array:
        shape = node.document.get("shape")
        if isinstance(shape, list) and len(shape) >= 2:
            yield node
    elif node.levels:
        yield node
    elif depth:
        for name in folder.children(path):
            yield from _walk(folder, join(path, name), depth - 1, budget)


def check_codecs(document: dict[str, Any], url: str) -> None:
    """Refuse an array that asks for a codec which is not known to be harmless.

    Raises
    ------
    VolumeError
        The message names the codec.
    """
    entries = [document.get("compressor"), *(document.get("filters") or []), *(document.get("codecs") or [])]
    for entry in entries:
        if entry is None:
            continue
        options = entry if isinstance(entry, dict) else {"id": entry}
        name = str(options.get("id", options.get("name"))).removeprefix("numcodecs.")
        if name not in CODECS:
            raise VolumeError(f"{url}: encoded with {name!r}, which is not read; known are {', '.join(sorted(CODECS))}")
        inner = options.get("configuration")
        if isinstance(inner, dict):
            nested = [*(inner.get("codecs") or []), *(inner.get("index_codecs") or [])]
            check_codecs({"codecs": nested}, url)


def describe_axes(array: Node, image: Node | None) -> tuple[str | None, dict[str, float], dict[str, str]]:
    """Axes in the file's order, spacing and units by axis: of the image it is a level of, else of the array itself.

    Axes come as None where the documents name none, or not all of them by a letter of ``tczyx``.
    """
    scales = image.multiscale if image is not None else None
    if image is None or scales is None:
        names = array.document.get("dimension_names") or array.attributes.get("_ARRAY_DIMENSIONS")
        return _letters(names if isinstance(names, list) else []), {}, {}
    entries = scales.get("axes")
    if entries is None and len(array.document.get("shape", ())) == len(ORDER):
        entries = list(ORDER)  # OME-Zarr 0.1 and 0.2: always all five
    entries = [e if isinstance(e, dict) else {"name": e} for e in (entries if isinstance(entries, list) else [])]
    axes = _letters([_letter(entry) for entry in entries])
    if axes is None:
        return None, {}, {}
    level = image.datasets[image.levels.index(array.path)]
    spacing = {
        a: s * t
        for a, s, t in zip(axes, _scale(level, len(axes)), _scale(scales, len(axes)), strict=True)
        if 0 < s * t < math.inf
    }
    units = {a: str(e["unit"]) for a, e in zip(axes, entries, strict=True) if e.get("unit")}
    return axes, spacing, units


def _letter(entry: Mapping[str, Any]) -> str:
    name = str(entry.get("name")).lower()
    return name if name in ORDER else LETTER_OF_TYPE.get(str(entry.get("type")), "?")


def _letters(names: list[Any]) -> str | None:
    letters = [str(name).lower() for name in names]
    named = letters and all(len(letter) == 1 and letter in ORDER for letter in letters)
    return "".join(letters) if named else None


def _scale(owner: Mapping[str, Any], n: int) -> list[float]:
    """Product of the scale transforms of `owner`; 0 for an axis that has no usable one in a list that is there."""
    factors = [1.0] * n
    entries = owner.get("coordinateTransformations")
    for entry in entries if isinstance(entries, list) else []:
        if isinstance(entry, dict) and entry.get("type") == "scale":
            values = entry.get("scale")
            if not isinstance(values, list) or len(values) != n:
                values = [0] * n
            factors = [f * _positive(v) for f, v in zip(factors, values, strict=True)]
    return factors


def _positive(value: Any) -> float:
    try:
        number = float(value) if isinstance(value, int | float) else 0.0
    except OverflowError:
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


def _parse(folder: Folder, path: str, text: bytes) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise VolumeError(f"{folder.url}: the document of {path or '/'!r} is not JSON: {one_line(error)}") from error
    if not isinstance(document, dict):
        raise VolumeError(f"{folder.url}: the document of {path or '/'!r} is not a JSON object")
    return document
