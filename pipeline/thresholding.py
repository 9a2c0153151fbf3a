"""Which voxels belong to objects: ilastik's thresholding of probabilities, simple or with hysteresis.

Settings alone; masks of a part of an image are made in `pipeline.smoother`, and what is connected, how large it is and
whether it has a core is decided on whole objects, in `pipeline.labelling`. Source: SEMANTICS section 7.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from pipeline.errors import PlanError, ProjectError
from pipeline.suggestion import did_you_mean

if TYPE_CHECKING:
    from pipeline.project import Project

Method = Literal["simple", "hysteresis"]
METHODS = ("simple", "hysteresis")
SMALLEST_SIGMA = 0.1  # below it along any axis, ilastik smooths along none
WINDOW, OLD_WINDOW = 2.0, 3.0


@dataclass(frozen=True)
class Thresholding:
    """Settings of thresholding; what is not given is as in ilastik's applet.

    Parameters
    ----------
    method : {"simple", "hysteresis"}
        Simple: objects are where the smoothed channel reaches `low`. Hysteresis: of these, those that hold a voxel of
        a core, a connected region where the smoothed `core_channel` reaches `high`.
    channel, core_channel : int
        Numbers of channels, from 0; see `find_channel` for names. If they differ, objects are where their sum reaches
        `low`. Simple thresholding has no core channel.
    low, high : float
        Compared as float32.
    sigma_zyx : tuple of float
        Of the Gaussian along each axis, voxels; below 0.1 along any axis longer than 1, nothing is smoothed.
    min_size, max_size : int
        Voxels; smaller and larger objects are removed, and in hysteresis smaller and larger cores before that.
    strict : bool
        Whether a value must be above a threshold (``>``) and not just reach it (``>=``).
    window : float
        Where the Gaussian is cut off, in units of sigma.
    drange : tuple of float, optional
        What stands for probability 0 and 1 in the data; (0, 1) by default.

    Raises
    ------
    PlanError
        With the code ``threshold``, naming the setting, what was given and what is allowed.
    """

    method: Method = "simple"
    channel: int = 0
    core_channel: int = 0
    low: float = 0.5
    high: float = 0.8
    sigma_zyx: tuple[float, float, float] = (1.0, 1.0, 1.0)
    min_size: int = 10
    max_size: int = 1_000_000
    strict: bool = False
    window: float = WINDOW
    drange: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise _refusal(f"method {self.method!r}; allowed are {' and '.join(METHODS)}")
        for name in ("low", "high"):
            if not math.isfinite(getattr(self, name)):
                raise _refusal(f"the {name} threshold is {getattr(self, name)}; it must be a number")
        if len(self.sigma_zyx) != 3 or not all(0 <= sigma < math.inf for sigma in self.sigma_zyx):
            raise _refusal(f"sigma is {self.sigma_zyx}; give a number >= 0 of voxels for each of z, y, x")
        for name in ("min_size", "max_size", "channel", "core_channel"):
            if getattr(self, name) < 0:
                raise _refusal(f"{name} is {getattr(self, name)}; it must be >= 0")
        if self.min_size > self.max_size:
            raise _refusal(f"min_size {self.min_size} is above max_size {self.max_size}, so no object would be left")
        if self.hysteresis and not self.has_two_channels and self.low > self.high:
            raise _refusal(f"the low threshold {self.low:g} is above the high one, {self.high:g}; exchange them")
        if self.drange is not None and not (np.isfinite(self.drange).all() and self.drange[0] < self.drange[1]):
            raise _refusal(f"drange {self.drange}; give two numbers, the smaller one first")

    @classmethod
    def old_service(cls, channel: int = 0, threshold: float = 0.5, sigma: float = 1.0) -> Thresholding:
        """As the service did it that came before: above the threshold, a wider window, objects of any size."""
        return cls(
            channel=channel,
            core_channel=channel,
            low=threshold,
            sigma_zyx=(sigma, sigma, sigma),
            min_size=0,
            max_size=np.iinfo(np.int64).max,
            strict=True,
            window=OLD_WINDOW,
        )

    @property
    def hysteresis(self) -> bool:
        """Whether objects need a core."""
        return self.method == "hysteresis"

    @property
    def has_two_channels(self) -> bool:
        """Whether cores come from another channel than objects."""
        return self.hysteresis and self.core_channel != self.channel

    @property
    def channels(self) -> tuple[int, ...]:
        """The channels that are needed, that of the objects first."""
        return (self.channel, self.core_channel) if self.has_two_channels else (self.channel,)

    def pick(self, channels: Sequence[int]) -> Thresholding:
        """The same for data that holds nothing but these channels, in this order."""
        core = self.core_channel if self.hysteresis else self.channel
        return replace(self, channel=channels.index(self.channel), core_channel=channels.index(core))

    def smoothed_axes(self, image_zyx: Sequence[int]) -> tuple[int, ...]:
        """Numbers of the axes (z, y, x) that are smoothed along in an image of this shape; none if smoothing is off."""
        axes = tuple(axis for axis in range(3) if image_zyx[axis] > 1)
        return axes if all(self.sigma_zyx[axis] >= SMALLEST_SIGMA for axis in axes) else ()

    def halo_zyx(self, image_zyx: Sequence[int]) -> tuple[int, int, int]:
        """Voxels that are read around a part of an image of this shape, on each side."""
        smoothed = self.smoothed_axes(image_zyx)
        z, y, x = (self.radius(axis) if axis in smoothed else 0 for axis in range(3))
        return z, y, x

    def radius(self, axis: int) -> int:
        """Voxels on each side that a smoothed value depends on, along an axis of (z, y, x)."""
        return max(1, int(self.window * self.sigma_zyx[axis] + 0.5))

    def check(self, n_channels: int, image_zyx: Sequence[int]) -> None:
        """Refuse data that these settings cannot be applied to.

        Raises
        ------
        PlanError
            With the code ``channel`` or ``image_too_small``.
        """
        for channel in self.channels:
            if channel >= n_channels:
                raise PlanError(f"there is no channel {channel}: the data has {n_channels}, from 0", code="channel")
        for axis in self.smoothed_axes(image_zyx):
            if image_zyx[axis] <= self.radius(axis):
                raise PlanError(
                    f"the image has {image_zyx[axis]} voxels along {'zyx'[axis]}, but smoothing with sigma "
                    f"{self.sigma_zyx[axis]:g} needs more than {self.radius(axis)}; choose a smaller sigma, or 0",
                    code="image_too_small",
                )

    def __str__(self) -> str:
        sigma = self.sigma_zyx[0] if len(set(self.sigma_zyx)) == 1 else self.sigma_zyx
        core = f" of channel {self.core_channel}" if self.has_two_channels else ""
        threshold = f"low {self.low:g}, high {self.high:g}{core}" if self.hysteresis else f"threshold {self.low:g}"
        sizes = f"sizes {self.min_size} to {self.max_size}"
        return f"{self.method}, channel {self.channel}, {threshold}, sigma {sigma}, {sizes}"


def project_thresholding(project: Project) -> Thresholding | None:
    """The settings that are stored in a project, None if it has none.

    Raises
    ------
    ProjectError
        With the code ``bad_threshold``, if what is stored is malformed, or asks for a method that is not supported.
    """
    if isinstance(project.thresholding, ProjectError):
        raise project.thresholding
    return project.thresholding


def find_channel(channel: str | int, names: Sequence[str] = (), n_channels: int | None = None) -> int:
    """Number of a channel that is given by name or by number.

    Parameters
    ----------
    channel : str or int
        A name wins over the same word as a number.
    names : sequence of str
        Of all channels; empty if they have none.
    n_channels : int, optional
        How many there are, if they have no names.

    Raises
    ------
    PlanError
        With the code ``channel``, listing what there is; also for a name that several channels have.
    """
    n = len(names) or n_channels or 1
    text = str(channel)
    if isinstance(channel, str) and text in names:
        if names.count(text) > 1:
            same = " and ".join(str(i) for i, name in enumerate(names) if name == text)
            raise PlanError(f"channels {same} are both named {text!r}; give the number", code="channel")
        return names.index(text)
    if text.isascii() and text.isdecimal() and int(text) < n:
        return int(text)
    there = ", ".join(f"{i} {name}" for i, name in enumerate(names)) or ("0" if n == 1 else f"0 to {n - 1}")
    raise PlanError(f"there is no channel {text!r}; there are: {there}{did_you_mean(text, names)}", code="channel")


def _refusal(what: str) -> PlanError:
    return PlanError(what, code="threshold")
