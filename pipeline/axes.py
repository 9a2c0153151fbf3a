"""Names of axes: the one canonical order, bringing arrays into any order, and naming what has no names.

An order is a word such as ``"zyx"``: one letter of ``tczyx`` for each dimension, slowest first. Files keep their own
order; everything behind `Volume` speaks the canonical one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from pipeline.errors import VolumeError

ORDER = "tczyx"
LARGEST_CHANNEL_AXIS = 4


class AxesGuessedWarning(UserWarning):
    """The axes of an input were not named by anybody and were taken from its shape or from a project."""


@dataclass(frozen=True)
class Choice:
    """Which axes an array was given, and why.

    Parameters
    ----------
    axes : str
        One letter of ``tczyx`` for each dimension, in the order of the file.
    reason : str
        A sentence for the person: what was taken, from where, and how to set it.
    guessed : bool
        Whether neither the caller nor the file named them.
    """

    axes: str
    reason: str
    guessed: bool


def check_names(axes: str) -> str:
    """Return `axes` if each of its letters is one of ``tczyx`` and none comes twice.

    Raises
    ------
    VolumeError
        With code ``axes``; the message repeats what was given.

    Examples
    --------
    >>> check_names("xyc")
    'xyc'
    """
    if not axes:
        raise VolumeError("axes is empty; name each dimension with one letter of tczyx, such as zyx", code="axes")
    unknown = sorted(set(axes) - set(ORDER))
    if unknown:
        raise VolumeError(f"axes {axes!r} holds {', '.join(unknown)}; allowed are the letters of {ORDER}", code="axes")
    if len(set(axes)) != len(axes):
        raise VolumeError(f"axes {axes!r} names an axis twice; each letter of {ORDER} may come once", code="axes")
    return axes


def canonical(axes: str) -> str:
    """The letters of `axes` in OME order, ``tczyx``.

    Examples
    --------
    >>> canonical("xyc")
    'cyx'
    """
    check_names(axes)
    return "".join(letter for letter in ORDER if letter in axes)


def reorder(array: npt.NDArray[Any], src: str, dst: str) -> npt.NDArray[Any]:
    """View of `array` with the axes of `dst`: missing ones are added with length 1, extra ones dropped if they have it.

    Parameters
    ----------
    array : ndarray, any dtype
        One dimension for each letter of `src`.
    src, dst : str
        The order it has and the order it gets, letters of ``tczyx``.

    Raises
    ------
    VolumeError
        With code ``axes``, if a dimension that `dst` lacks is longer than 1, or `src` does not fit the array.

    Notes
    -----
    Source: SEMANTICS section 9.

    Examples
    --------
    >>> reorder(np.zeros((5, 7, 3)), "xyc", "tcyx").shape
    (1, 3, 7, 5)
    """
    check_names(src)
    check_names(dst)
    if len(src) != array.ndim:
        raise VolumeError(f"axes {src!r} names {len(src)} axes, the data has shape {array.shape}", code="axes")
    lost = [f"{a}={n}" for a, n in zip(src, array.shape, strict=True) if a not in dst and n != 1]
    if lost:
        raise VolumeError(f"axes {dst!r} has no place for {', '.join(lost)} of the data ({src})", code="axes")
    kept = [a for a in dst if a in src]
    dropped = [a for a in src if a not in dst]
    moved = array.transpose([src.index(a) for a in (*dropped, *kept)])[(0,) * len(dropped)]
    view: npt.NDArray[Any] = moved[tuple(slice(None) if a in src else np.newaxis for a in dst)]
    return view


def guess(shape: Sequence[int]) -> str:
    """Axes by the shape alone, as ilastik guesses them: yx, zyx (yxc if the last is short), zyxc, tzyxc.

    Raises
    ------
    VolumeError
        With code ``axes``, for fewer than 2 or more than 5 dimensions.

    Notes
    -----
    Source: SEMANTICS section 9, headless tool.

    Examples
    --------
    >>> guess((40, 50, 60)), guess((50, 60, 3))
    ('zyx', 'yxc')
    """
    if len(shape) == 3 and shape[-1] <= LARGEST_CHANNEL_AXIS:
        return "yxc"
    rules = {2: "yx", 3: "zyx", 4: "zyxc", 5: "tzyxc"}
    if len(shape) not in rules:
        raise VolumeError(
            f"no rule names the axes of {_describe(shape)}; there are rules for 2 to 5 dimensions, "
            f"and axes may name up to {len(ORDER)}, letters of {ORDER}",
            code="axes",
        )
    return rules[len(shape)]


def choose(given: str | None, own: str | None, project: str | None, shape: Sequence[int]) -> Choice:
    """Name the axes of an array: the caller's names, else the file's, else the project's if they fit, else a guess.

    Parameters
    ----------
    given : str or None
        What the caller said; wins over everything, by position.
    own : str or None
        What the file says about itself.
    project : str or None
        The axes that an ilastik project was trained with; taken if their number fits.
    shape : sequence of int
        Of the array, in the order of the file.

    Raises
    ------
    VolumeError
        With code ``axes``, if `given` or `own` contradicts the number of dimensions; the message names both.

    Examples
    --------
    >>> choose(None, None, "zyx", (9, 50, 60)).axes
    'zyx'
    """
    if given is not None:
        _check_number(check_names(given), shape, "the axes given are")
        return Choice(given, _given_reason(given, own), guessed=False)
    if own is not None:
        _check_number(check_names(own), shape, "the file names its axes")
        return Choice(own, f"axes {own}, as the file names them", guessed=False)
    if project is not None and len(project) == len(shape):
        source, axes = "as the project was trained", check_names(project)
    else:
        source, axes = "guessed from the shape", guess(shape)
    return Choice(axes, f"axes {axes} for {_describe(shape)}, {source}; set them with axes= or --axes", guessed=True)


def _given_reason(given: str, own: str | None) -> str:
    overruled = f" (the file names them {own})" if own not in (None, given) else ""
    return f"axes {given}, as given{overruled}"


def _check_number(axes: str, shape: Sequence[int], who: str) -> None:
    if len(axes) != len(shape):
        raise VolumeError(
            f"{who} {axes!r} ({len(axes)} letters), but the data is {_describe(shape)}; give one letter a dimension",
            code="axes",
        )


def _describe(shape: Sequence[int]) -> str:
    return f"{len(shape)}-dimensional data of shape {tuple(shape)}"
