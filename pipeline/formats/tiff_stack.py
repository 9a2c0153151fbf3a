"""Which pages of a TIFF make up a volume, in which order, and what its axes and distances are.

Four ways of saying so are known: OME-XML, ImageJ's lines, tifffile's JSON, and nothing at all: then pages alike are
planes of one volume, with no names.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import VolumeError
from pipeline.formats.tiff_directory import (
    LENGTH,
    RESOLUTION_UNIT,
    SAMPLES,
    SUB_DIRECTORIES,
    SUBFILE,
    WIDTH,
    X_RESOLUTION,
    Y_RESOLUTION,
    Directory,
    TiffDirectories,
)
from pipeline.formats.tiff_ome import Image, is_ome, read_images

REDUCED = 1  # bit of the tag SUBFILE: a smaller copy of another page
RESOLUTION_UNITS = {2: "inch", 3: "centimeter"}
IMAGEJ_ORDERS = {"czt": "tzc", "ctz": "ztc", "zct": "tcz", "ztc": "ctz", "tcz": "zct", "tzc": "czt"}
UNIT_NAMES = {"micron": "micrometer", "microns": "micrometer", "um": "micrometer", "µm": "micrometer"}
UNIT_NAMES |= {"μm": "micrometer", "\\u00b5m": "micrometer", "nm": "nanometer", "mm": "millimeter"}
UNIT_NAMES |= {"cm": "centimeter", "m": "meter", "pm": "picometer", "s": "second", "sec": "second", "ms": "millisecond"}
UNIT_NAMES |= {"Å": "angstrom", "min": "minute", "h": "hour", "in": "inch"}


@dataclass(frozen=True)
class Stack:
    """Planes of one volume.

    Parameters
    ----------
    offsets : ndarray of int64, (pages,)
        Where the directory of each plane lies, in the order of `lead`.
    lead : tuple of int
        Lengths of the axes that lie across pages, slowest first.
    axes : str or None
        Their names; None if the file does not say.
    virtual : bool
        There is but one page, and the other planes' data follow its own.
    spacing, units : dict by axis
    levels : tuple of Stack
        The same at lower resolution, as far as the main chain holds it.
    """

    offsets: npt.NDArray[np.int64]
    lead: tuple[int, ...] = ()
    axes: str | None = ""
    name: str = ""
    virtual: bool = False
    spacing: dict[str, float] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    levels: tuple[Stack, ...] = ()


def read_stacks(tiff: TiffDirectories) -> list[Stack]:
    """The volumes of a file, in its order; at least one.

    Raises
    ------
    VolumeError
        If a page is damaged, or the file's words contradict its pages.
    """
    pages = [(page.offset, page.signature, _is_reduced(tiff, page)) for page in tiff.walk()]
    if not pages:
        raise VolumeError(f"{tiff.path}: holds no page")
    first = tiff.directory(pages[0][0])
    text = tiff.text(first)
    offsets = np.array([offset for offset, _, _ in pages], np.int64)
    if is_ome(text):
        return [_of_ome(tiff, image, offsets) for image in read_images(text, len(offsets), tiff.path)]
    if text.startswith("ImageJ="):
        return [_of_imagej(tiff, first, text, offsets)]
    if text.startswith('{"shape":'):
        return list(_of_shapes(tiff, offsets))
    groups: dict[Any, list[int]] = {}
    for offset, signature, reduced in pages:
        groups.setdefault((reduced, signature), []).append(offset)
    plain = [_unnamed(tiff, np.array(found, np.int64)) for (reduced, _), found in groups.items() if not reduced]
    copies = [_unnamed(tiff, np.array(found, np.int64)) for (reduced, _), found in groups.items() if reduced]
    if not plain:
        return copies
    copies = [copy for copy in copies if len(copy.offsets) == len(plain[0].offsets)]
    return [replace(plain[0], levels=tuple(copies)), *plain[1:]]


def at_level(tiff: TiffDirectories, stack: Stack, level: int) -> Stack:
    """A stack at another level of its pyramid, 0 the finest.

    Raises
    ------
    VolumeError
        If there is no such level.
    """
    if not level:
        return stack
    if stack.levels and not 0 < level <= len(stack.levels):
        raise VolumeError(f"{tiff.path}: no level {level}; there are 0 to {len(stack.levels)}")
    found = stack.levels[level - 1].offsets if stack.levels else sub_directories(tiff, stack.offsets, level)
    spacing = coarser(tiff, stack.spacing, int(stack.offsets[0]), int(found[0]))
    return replace(stack, offsets=found, spacing=spacing, virtual=False)


def sub_directories(tiff: TiffDirectories, offsets: npt.NDArray[np.int64], level: int) -> npt.NDArray[np.int64]:
    """Where the directories of a level lie that hang on those of the finest.

    Raises
    ------
    VolumeError
        If there is no such level.
    """
    below = tiff.numbers(tiff.directory(int(offsets[0])), SUB_DIRECTORIES).size
    if not 0 < level <= below:
        raise VolumeError(f"{tiff.path}: no level {level}; there are 0 to {below}")
    subs = [tiff.numbers(tiff.directory(int(offset)), SUB_DIRECTORIES) for offset in offsets]
    if min(sub.size for sub in subs) < level:
        raise VolumeError(f"{tiff.path}: level {level} is missing for some of the planes")
    return np.array([sub[level - 1] for sub in subs], np.int64)


def coarser(tiff: TiffDirectories, spacing: Mapping[str, float], fine: int, coarse: int) -> dict[str, float]:
    """The distances of a level, by the sizes of a plane of the finest and of its own."""
    pages = tiff.directory(fine), tiff.directory(coarse)
    ratios = {a: _ratio(tiff, *pages, tag) for a, tag in (("x", WIDTH), ("y", LENGTH))}
    return {axis: value * ratios.get(axis, 1.0) for axis, value in spacing.items()}


def _ratio(tiff: TiffDirectories, fine: Directory, coarse: Directory, tag: int) -> float:
    ratio = tiff.number(fine, tag, 1) / max(tiff.number(coarse, tag, 1), 1)
    return float(round(ratio)) or 1.0  # sizes are rounded, factors are whole


def _is_reduced(tiff: TiffDirectories, page: Directory) -> bool:
    return bool(tiff.number(page, SUBFILE, 0) & REDUCED)


def _unnamed(tiff: TiffDirectories, offsets: npt.NDArray[np.int64]) -> Stack:
    spacing, units = _resolution(tiff, tiff.directory(int(offsets[0])), None)
    several = len(offsets) > 1
    lead = (len(offsets),) if several else ()
    return Stack(offsets, lead, None if several else "", spacing=spacing, units=units)


def _of_ome(tiff: TiffDirectories, image: Image, offsets: npt.NDArray[np.int64]) -> Stack:
    lengths = [(axis, n) for axis, n in image.lead if n > 1]
    return Stack(
        offsets[image.pages],
        tuple(n for _, n in lengths),
        "".join(axis for axis, _ in lengths),
        name=image.name,
        spacing=image.spacing,
        units={axis: unit_name(unit) for axis, unit in image.units.items()},
    )


def _of_imagej(tiff: TiffDirectories, page: Directory, text: str, offsets: npt.NDArray[np.int64]) -> Stack:
    words = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    sizes = {axis: _count(words.get(key)) for axis, key in (("t", "frames"), ("z", "slices"), ("c", "channels"))}
    order = IMAGEJ_ORDERS.get(words.get("order", "czt").lower(), "tzc")
    planes = math.prod(sizes.values())
    if planes != len(offsets) and sizes["c"] == tiff.number(page, SAMPLES, 1):
        planes, sizes["c"] = planes // sizes["c"], 1  # colours of one page, said to be channels
    spacing, units = _resolution(tiff, page, unit_name(words.get("unit", "")))
    depth = _positive(words.get("spacing"))
    if sizes["z"] > 1 and depth:
        spacing["z"] = depth
        units |= {"z": units["x"]} if "x" in units else {}
    interval = _positive(words.get("finterval"))
    if sizes["t"] > 1 and interval:
        spacing["t"], units["t"] = interval, unit_name(words.get("tunit", "sec"))
    lead = [(axis, sizes[axis]) for axis in order if sizes[axis] > 1]
    stack = Stack(offsets, tuple(n for _, n in lead), "".join(axis for axis, _ in lead), spacing=spacing, units=units)
    if planes == len(offsets):
        return stack
    if len(offsets) == 1:
        return replace(stack, virtual=True)
    return replace(stack, lead=(len(offsets),), axes=None)


def _of_shapes(tiff: TiffDirectories, offsets: npt.NDArray[np.int64]) -> Iterator[Stack]:
    """Stacks that tifffile wrote: the first page of each holds its shape."""
    at = 0
    while at < len(offsets):
        page = tiff.directory(int(offsets[at]))
        words = _json(tiff.text(page))
        shape = words.get("shape")
        if not isinstance(shape, list) or not all(isinstance(n, int) and n > 0 for n in shape):
            yield _unnamed(tiff, offsets[at:])
            return
        plane = math.prod(tiff.number(page, tag, 1) for tag in (WIDTH, LENGTH, SAMPLES, 32997))
        total = math.prod(shape)
        planes = total // max(plane, 1)
        if planes < 1 or planes * plane != total:
            raise VolumeError(f"{tiff.path}: says to have shape {shape}, which is no number of its pages")
        virtual = planes > 1 and len(offsets) == 1
        count = 1 if virtual else planes
        if at + count > len(offsets):
            raise VolumeError(f"{tiff.path}: {planes} planes are announced, {len(offsets) - at} pages are there")
        yield _shaped(tiff, page, words, planes, replace(Stack(offsets[at : at + count]), virtual=virtual))
        at += count


def _shaped(tiff: TiffDirectories, page: Directory, words: dict[str, Any], planes: int, stack: Stack) -> Stack:
    shape = words["shape"]
    lead, rest = [], planes
    for n in shape:  # the axes across pages are the first ones, up to the number of planes
        if rest == 1:
            break
        if n > 1:
            lead.append(n)
            rest //= n
    names = str(words.get("axes", "")).lower()
    named = len(names) == len(shape)
    axes = "".join(a for a, n in zip(names, shape, strict=True) if n > 1)[: len(lead)] if named else ""
    if math.prod(lead) != planes or len(axes) != len(lead) or set(axes) - set("tzc"):
        axes, lead = "", lead if math.prod(lead) == planes else [planes]
    spacing, units = _resolution(tiff, page, unit_name(str(words.get("unit", ""))))
    depth = _positive(words.get("spacing"))
    if "z" in axes and depth:
        spacing["z"] = depth
        units |= {"z": units["x"]} if "x" in units else {}
    known = axes if axes or not lead else None
    return replace(stack, lead=tuple(lead), axes=known, spacing=spacing, units=units, name=str(words.get("name", "")))


def _resolution(tiff: TiffDirectories, page: Directory, unit: str | None) -> tuple[dict[str, float], dict[str, str]]:
    """Distances along y and x from the resolution tags, in `unit`, or in the unit of the tags."""
    unit = unit or RESOLUTION_UNITS.get(tiff.number(page, RESOLUTION_UNIT, 2))
    tags = {"y": Y_RESOLUTION, "x": X_RESOLUTION}
    found = {axis: tiff.numbers(page, tag) for axis, tag in tags.items()}
    spacing = {axis: 1 / float(v[0]) for axis, v in found.items() if v.size and np.isfinite(v[0]) and v[0] > 0}
    if unit is None or unit == "pixel":
        return {}, {}  # relative to nothing
    return spacing, dict.fromkeys(spacing, unit)


def unit_name(unit: str) -> str:
    """The name that OME-Zarr has for a unit, where it is known."""
    return UNIT_NAMES.get(unit.strip(), unit.strip())


def _count(word: str | None) -> int:
    return int(word) if word is not None and word.strip().isdecimal() and len(word) < 10 and int(word) else 1


def _positive(word: Any) -> float | None:
    try:
        number = float(word)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) and number > 0 else None


def _json(text: str) -> dict[str, Any]:
    try:
        words = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return words if isinstance(words, dict) else {}
