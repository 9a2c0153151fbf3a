"""Regions as people write them: ``z=0:64,y=0:512,x=0:512``."""

from __future__ import annotations

import re

from pipeline.blocks import AXES, Box
from pipeline.errors import PlanError

_PART = re.compile(r"([tzyx])=([0-9]{1,18}):([0-9]{1,18})", re.ASCII)


def parse_region(text: str, whole: Box, dims: str) -> Box:
    """The box that a text means.

    Parameters
    ----------
    text : str
        ``axis=start:stop`` for any of the volume's axes but c, joined by commas; an axis that is missing is whole.
    whole : Box
        The volume.
    dims : str
        Axes that the volume has.

    Raises
    ------
    PlanError
        With the code ``region``, if the text is malformed, or the region is empty or reaches out of the volume.

    Examples
    --------
    >>> str(parse_region("y=0:512,z=3:4", Box.whole((1, 64, 1024, 1024)), "zyx"))
    't=0:1,z=3:4,y=0:512,x=0:1024'
    """
    start, stop = dict(zip(AXES, whole.start, strict=True)), dict(zip(AXES, whole.stop, strict=True))
    seen: set[str] = set()
    for part in text.replace(" ", "").split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise PlanError(f"region part {part!r}; write it as z=0:64,y=0:512,x=0:512", code="region")
        axis, first, last = match[1], int(match[2]), int(match[3])
        if axis in seen or axis not in dims:
            said = "is given twice" if axis in seen else f"is not one of the volume's axes {dims.replace('c', '')}"
            raise PlanError(f"region {text!r}: {axis} {said}", code="region")
        if not first < last <= stop[axis]:
            raise PlanError(
                f"region {part!r} is empty or reaches out of the volume, whose {axis} is 0:{stop[axis]}", code="region"
            )
        seen.add(axis)
        start[axis], stop[axis] = first, last
    a, b = ([ends[axis] for axis in AXES] for ends in (start, stop))
    return Box((a[0], a[1], a[2], a[3]), (b[0], b[1], b[2], b[3]))
