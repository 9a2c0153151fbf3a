"""Boxes as the clients of ilastik-backend write them: ``extents_min=t_x_y_z_c&extents_max=t_x_y_z_c``.

Also three numbers, x_y_z, or two, x_y; then t = 0, z = 0 where it is not given, and all channels. The minimum belongs
to the box, the maximum does not; a negative maximum counts from the end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from web.errors import HttpError

ORDER = "txyzc"
FORMS = {5: "txyzc", 3: "xyz", 2: "xy"}
MOST_DIGITS = 12  # an axis of 10^12 voxels is beyond any volume
_NUMBER = re.compile(rf"-?[0-9]{{1,{MOST_DIGITS}}}", re.ASCII)
ALLOWED = "5 integers t_x_y_z_c, 3 as x_y_z or 2 as x_y, the same number in both"


@dataclass(frozen=True)
class OldBox:
    """A box over t, x, y, z, c; inside the shape it was made for.

    Parameters
    ----------
    start, stop : tuple of int, (t, x, y, z, c)
    """

    start: tuple[int, int, int, int, int]
    stop: tuple[int, int, int, int, int]

    def along(self, dims: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Start and stop in the order of some dims."""
        places = [ORDER.index(axis) for axis in dims]
        return tuple(self.start[i] for i in places), tuple(self.stop[i] for i in places)

    @property
    def shape(self) -> tuple[int, ...]:
        """Voxels along t, x, y, z, c."""
        return tuple(b - a for a, b in zip(self.start, self.stop, strict=True))


def parse_box(arguments: Mapping[str, str], shape: Mapping[str, int], *, all_channels: bool = False) -> OldBox:
    """The box that the parameters of a request mean.

    Parameters
    ----------
    arguments : mapping
        With ``extents_min`` and ``extents_max``.
    shape : mapping of axis letter to int
        Lengths along t, x, y, z and c.
    all_channels : bool
        Whether the box has all channels, whatever its numbers for c say.

    Raises
    ------
    HttpError
        400, if a parameter is missing or malformed, or the box is empty or reaches out of the shape.

    Examples
    --------
    >>> parse_box({"extents_min": "10_20", "extents_max": "-1_24"}, dict(t=1, x=40, y=30, z=5, c=1))
    OldBox(start=(0, 10, 20, 0, 0), stop=(1, 39, 24, 1, 1))
    """
    low, high = (_parse_numbers(arguments, name) for name in ("extents_min", "extents_max"))
    given = f"extents_min={arguments['extents_min']}&extents_max={arguments['extents_max']}"
    if len(low) != len(high):
        raise _refuse("extents_min and extents_max differ in how many numbers they have", given, ALLOWED)
    start = dict(zip(FORMS[len(low)], low, strict=True))
    stop = dict(zip(FORMS[len(low)], high, strict=True))
    stop = {axis: shape[axis] + n if n < 0 else n for axis, n in stop.items()}
    for axis in "tz":
        start.setdefault(axis, 0)
        stop.setdefault(axis, 1)
    if all_channels or "c" not in start:
        start["c"], stop["c"] = 0, shape["c"]
    for axis in ORDER:
        if not 0 <= start[axis] < stop[axis] <= shape[axis]:
            raise _refuse(
                f"along {axis}, {start[axis]} to {stop[axis]} is empty or reaches out of 0 to {shape[axis]}",
                given,
                f"0 <= minimum < maximum <= length, the lengths along t_x_y_z_c being {join_shape(shape)}",
            )
    a, b = ([ends[axis] for axis in ORDER] for ends in (start, stop))
    return OldBox((a[0], a[1], a[2], a[3], a[4]), (b[0], b[1], b[2], b[3], b[4]))


def join_shape(shape: Mapping[str, int]) -> str:
    """Lengths as the old routes tell them: ``t_x_y_z_c``."""
    return "_".join(str(shape[axis]) for axis in ORDER)


def _parse_numbers(arguments: Mapping[str, str], name: str) -> list[int]:
    text = arguments.get(name)
    if text is None:
        raise HttpError(f"the parameter {name} is missing", 400, code="box", allowed=ALLOWED)
    parts = text.split("_")
    if len(parts) not in FORMS or not all(_NUMBER.fullmatch(part) for part in parts):
        raise _refuse(f"{name} is not a list of integers of a known length", f"{name}={text}", ALLOWED)
    return [int(part) for part in parts]


def _refuse(message: str, given: str, allowed: str) -> HttpError:
    return HttpError(message, 400, code="box", given=given[:200], allowed=allowed)
