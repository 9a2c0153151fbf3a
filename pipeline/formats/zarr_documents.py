"""The JSON documents of a Zarr hierarchy, versions 2 and 3: nodes, OME-Zarr multiscales, axes and spacing.

Only documents are read here, no chunk, and nothing is opened that lies outside the store's folder.
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from pipeline.axes import ORDER
from pipeline.errors import VolumeError
from pipeline.formats.source import one_line
from pipeline.formats.zarr_folder import Folder
from pipeline.metadata import OWN_KEY

DEEPEST = 6  # levels of groups that are searched for arrays
MOST_NODES = 1000  # nodes that one search opens
LETTER_OF_TYPE = {"channel": "c", "time": "t"}

# What decodes plain numbers. Others are refused: numcodecs has one that unpickles, and plug-ins may do anything.
CODECS = frozenset(
    [
        *("blosc", "zlib", "gzip", "zstd", "lz4", "lzma", "bz2", "delta", "shuffle", "fixedscaleoffset", "packbits"),
        *("bitround", "quantize", "crc32", "crc32c", "adler32", "fletcher32", "jenkins_lookup3", "astype"),
        *("bytes", "endian", "transpose", "sharding_indexed"),
    ]
)


TYPES_OF_FILTERS = ("dtype", "astype", "encode_dtype", "decode_dtype")


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
    text, refusal = _read_or_refusal(folder, join(path, "zarr.json"))
    if text is not None:
        document = _parse(folder, path, text)
        attributes = document.get("attributes")
        attributes = attributes if isinstance(attributes, dict) else {}
        return Node(path, document.get("node_type") == "array", attributes, document, text)
    for name in (".zarray", ".zgroup"):
        text, denied = _read_or_refusal(folder, join(path, name))
        refusal = refusal or denied
        if text is not None:
            more = _read_or_refusal(folder, join(path, ".zattrs"))[0] or b"{}"
            document = _parse(folder, path, text)
            return Node(path, name == ".zarray", _parse(folder, path, more), document, text + more)
    if refusal is not None:
        raise refusal
    return None


def _read_or_refusal(folder: Folder, key: str) -> tuple[bytes | None, VolumeError | None]:
    """A document, or why it is denied: buckets that may not be listed deny what is not there."""
    try:
        return folder.read(key), None
    except VolumeError as error:
        if error.code != "denied":
            raise
        return None, error


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
        for name in _series(folder, node) or folder.children(path):
            yield from _walk(folder, join(path, name), depth - 1, budget)


def _series(folder: Folder, node: Node) -> list[str]:
    """Names of the images that a group says to hold, in its order: what bioformats2raw writes; empty if it is none.

    A web server lists nothing, so the group's word is needed there.
    """
    ome = node.attributes.get("ome")
    if "bioformats2raw.layout" not in {**node.attributes, **(ome if isinstance(ome, dict) else {})}:
        return []
    about = read_node(folder, join(node.path, "OME"))
    attributes = about.attributes if about is not None else {}
    ome = attributes.get("ome")
    listed = (ome if isinstance(ome, dict) else attributes).get("series")
    if isinstance(listed, list):
        return [str(name) for name in listed[:MOST_NODES]]
    numbers = itertools.takewhile(lambda n: read_node(folder, join(node.path, n)), map(str, range(MOST_NODES)))
    return list(numbers)


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
        _check_types({**options, **(inner if isinstance(inner, dict) else {})}, name, url)
        if isinstance(inner, dict):
            nested = [*(inner.get("codecs") or []), *(inner.get("index_codecs") or [])]
            check_codecs({"codecs": nested}, url)


def _check_types(options: Mapping[str, Any], name: str, url: str) -> None:
    """Refuse filters that turn numbers into something larger: a byte into text of a megabyte, for instance."""
    for key in TYPES_OF_FILTERS:
        try:
            dtype = np.dtype(options[key]) if options.get(key) is not None else np.dtype("u1")
        except TypeError as error:
            raise VolumeError(f"{url}: {name!r} has {key} {str(options[key])[:80]!r}, which is no type") from error
        if dtype.kind not in "biuf" or dtype.itemsize > 8:
            allowed = "allowed are bool, integers and real floats"
            raise VolumeError(f"{url}: {name!r} has {key} {str(dtype)[:80]}; {allowed}")


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


def channel_names(image: Node | None) -> tuple[str, ...]:
    """Labels of an image's channels, as `omero` has them; empty where one is missing."""
    labels = [channel.get("label") for channel in _channels(image)]
    return tuple(map(str, labels)) if all(isinstance(label, str) for label in labels) else ()


def value_range(image: Node | None) -> tuple[float, float] | None:
    """What values an image of ours can have. Of other images the windows are how they are shown, and say nothing."""
    if image is None or OWN_KEY not in image.attributes:
        return None
    windows = [channel.get("window") for channel in _channels(image)]
    try:
        ranges = {(float(window["min"]), float(window["max"])) for window in windows if window is not None}
    except (TypeError, KeyError, ValueError, OverflowError):
        return None
    low, high = ranges.pop() if len(ranges) == 1 else (0.0, 0.0)
    return (low, high) if -math.inf < low < high < math.inf else None


def _channels(image: Node | None) -> list[dict[str, Any]]:
    attributes = image.attributes if image is not None else {}
    ome = attributes.get("ome")
    omero = {**attributes, **(ome if isinstance(ome, dict) else {})}.get("omero")
    listed = omero.get("channels") if isinstance(omero, dict) else None
    found = listed if isinstance(listed, list) else []
    return found if all(isinstance(channel, dict) for channel in found) else []


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
