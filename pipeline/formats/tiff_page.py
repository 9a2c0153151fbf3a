"""Axes and geometry of one page of a TIFF, as tifffile describes it."""

from __future__ import annotations

import tifffile

from pipeline.formats.source import SLAB_BYTES, slab_chunks
from pipeline.formats.tiff_planes import is_plain, segment_shape


def page_axes(page: tifffile.TiffPage) -> tuple[str, tuple[int, ...]]:
    """Names and lengths of the axes inside a page: samples are channels; length and width are always there."""
    found = [(a, n) for a, n in zip("czyxc", page.shaped, strict=True) if n > 1 or a in "yx"]
    return "".join(a for a, _ in found), tuple(n for _, n in found)


def page_box(page: tifffile.TiffPage, box: tuple[slice, ...]) -> list[slice]:
    """A box over the axes inside a page, over all five that it may have."""
    given = iter(box)
    return [next(given) if n > 1 or a in "yx" else slice(0, 1) for a, n in zip("czyxc", page.shaped, strict=True)]


def page_chunks(page: tifffile.TiffPage, itemsize: int) -> tuple[int, ...]:
    """What of a page is read best: tiles, or some strips."""
    _, depth, length, width, samples = page.shaped
    if page.is_tiled:
        cut = [min(c, n) for c, n in zip(segment_shape(page), (depth, length, width), strict=True)]
    elif is_plain(page):
        cut = [1, *slab_chunks((length, width, samples), itemsize)[:2]]
    else:
        rows = segment_shape(page)[1]
        strips = max(SLAB_BYTES // max(rows * width * samples * itemsize, 1), 1)
        cut = [1, min(rows * strips, length), width]
    sizes = zip("czyxc", page.shaped, (1, *cut, samples), strict=True)
    return tuple(c for a, n, c in sizes if n > 1 or a in "yx")


def page_unit(page: tifffile.TiffPage) -> tuple[int, ...]:
    """What of a page is decoded as a whole: a strip or a tile."""
    cut = [min(c, n) for c, n in zip(segment_shape(page), page.shaped[1:4], strict=True)]
    sizes = zip("czyxc", page.shaped, (1, *cut, page.shaped[4]), strict=True)
    return tuple(c for a, n, c in sizes if n > 1 or a in "yx")
