"""A parameter of an analysis, as the command line, the form and requests all understand it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.suggestion import did_you_mean

KINDS = (int, float, bool, str, Path)
WORDS = {"true": True, "yes": True, "on": True, "1": True, "false": False, "no": False, "off": False, "0": False}
WANTED = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", Path: "a path"}


@dataclass(frozen=True)
class Parameter:
    """One parameter.

    Parameters
    ----------
    name : str
        Letters, digits and underscores; the option of the command has hyphens for these.
    kind : type
        int, float, bool, str or pathlib.Path.
    default : object
        Of this kind, or None for nothing.
    help : str
        One sentence for the person who fills in the form.
    choices : tuple of str
        All values that are allowed; empty for any.
    minimum, maximum : float, optional
        Of numbers, both allowed themselves.
    unit : str
        Of a number.
    server_only : bool
        Whether requests may not give it, since it names a file: a server takes the value that it was started with.
    required : bool
        Whether there is no analysis without it.
    """

    name: str
    kind: type
    default: Any
    help: str
    choices: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    unit: str = ""
    server_only: bool = False
    required: bool = False

    @property
    def option(self) -> str:
        """The option of the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def allowed(self) -> str:
        """What may be given, in words."""
        if self.choices:
            return " or ".join(self.choices)
        ends = [f"{word} {end:g}" for word, end in (("from", self.minimum), ("to", self.maximum)) if end is not None]
        return " ".join([WANTED[self.kind], *ends])

    def convert(self, value: object) -> Any:
        """The value as this parameter's kind; text is read as people write it, None is the default.

        Raises
        ------
        ValueError
            If it is not allowed, saying what is; the text has no name of the parameter in it.
        """
        if value is None:
            if self.required and self.default is None:
                raise ValueError(f"nothing was given; needed is {self.allowed}: {self.help}")
            return self.default
        text = value.strip() if isinstance(value, str) else value
        try:
            found = self._read(text)
        except (TypeError, ValueError, OverflowError):
            raise ValueError(f"{value!r} was given; allowed is {self.allowed}") from None
        if self.choices and found not in self.choices:
            near = did_you_mean(str(found), self.choices)
            raise ValueError(f"{value!r} was given; allowed is {self.allowed}{near}")
        return found

    def _read(self, value: Any) -> Any:
        if self.kind is bool:
            return WORDS[value.lower()] if isinstance(value, str) and value.lower() in WORDS else _plain_bool(value)
        if self.kind is int:
            return self._within(_whole(value))
        if self.kind is float:
            if isinstance(value, bool):
                raise TypeError
            return self._within(float(value))
        if not isinstance(value, str | Path) or not str(value) or "\0" in str(value):
            raise TypeError
        return self.kind(value)

    def _within(self, number: float) -> float:
        low = -math.inf if self.minimum is None else self.minimum
        high = math.inf if self.maximum is None else self.maximum
        if not low <= number <= high or not math.isfinite(number):
            raise ValueError
        return number


def _plain_bool(value: object) -> bool:
    if isinstance(value, bool):
        return value
    raise TypeError


def _whole(value: Any) -> int:
    """An integer as people write it: no underscores, no signs of other scripts, no fractions."""
    if isinstance(value, str):
        if not value.lstrip("+-").isascii() or not value.lstrip("+-").isdigit():
            raise ValueError
        return int(value)
    if isinstance(value, bool) or int(value) != value:
        raise TypeError
    return int(value)
