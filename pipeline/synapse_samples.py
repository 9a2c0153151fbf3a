"""A made volume of synapses in eight channels, with the place and the class of each; seeded, no download.

Every synapse is bright in PSD and synapsin, at the same place; one of GABA also in GABA, GAD and Gephyrin, another in
GluN and VGlut. Puncta that belong to no synapse are scattered over single channels, TdTomato shows dendrites, and the
camera adds shot noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

CHANNELS = ("GABA", "GAD", "Gephyrin", "GluN", "PSD", "synapsin", "TdTomato", "VGlut")
CLASS_NAMES = ("non-GABA", "GABA")
SPACING = {"z": 0.07, "y": 0.1, "x": 0.1}
UNITS = dict.fromkeys("zyx", "micrometer")
EVERY = 4500  # voxels for each synapse
APART = np.array([11, 11, 11])  # voxels between two of them, along one axis at least
BACKGROUND = 8.0
# Brightness in the channels of each class; how much a synapse differs from it is drawn.
LOOKS = np.array([[4, 4, 6, 90, 110, 120, 0, 100], [100, 90, 80, 6, 80, 120, 0, 4]], np.float32)


@dataclass(frozen=True)
class SynapseSample:
    """A made volume.

    Parameters
    ----------
    channels : dict of str to ndarray, (z, y, x), uint8
    places : ndarray, (n, 3), int64
        Middle (z, y, x) of each synapse.
    classes : ndarray, (n,), int64
        1.. as in `CLASS_NAMES`.
    """

    channels: dict[str, npt.NDArray[np.uint8]]
    places: npt.NDArray[np.int64]
    classes: npt.NDArray[np.int64]

    def cut_cubes(self, half_zyx: tuple[int, int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
        """Cubes (m, channels, z, y, x) around the synapses that have theirs inside, and the classes of those."""
        half = np.array(half_zyx)
        inside = ((self.places >= half) & (self.places + half < next(iter(self.channels.values())).shape)).all(axis=1)
        boxes = [tuple(slice(a, b) for a, b in zip(p - half, p + half + 1, strict=True)) for p in self.places[inside]]
        cubes = [np.stack([values[box] for values in self.channels.values()]) for box in boxes]
        shape = (len(self.channels), *(2 * half + 1))
        return np.array(cubes, np.uint8).reshape(-1, *shape), self.classes[inside]


def synapses(shape_zyx: tuple[int, int, int], seed: int = 0) -> SynapseSample:
    """Make a volume; the same shape and seed give the same voxels.

    Parameters
    ----------
    shape_zyx : tuple of int
    seed : int
    """
    rng = np.random.default_rng(seed)
    places = _scatter(rng, shape_zyx)
    classes = rng.integers(1, len(CLASS_NAMES) + 1, len(places))
    light = np.full((len(CHANNELS), *shape_zyx), BACKGROUND, np.float32)
    for place, kind in zip(places, classes, strict=True):
        strength = LOOKS[kind - 1] * rng.uniform(0.6, 1.3) * rng.uniform(0.75, 1.25, len(CHANNELS))
        for channel, peak in zip(light, strength, strict=True):
            _add_spot(channel, place + rng.normal(0, 0.5, 3), rng.uniform(1.5, 2.1), peak)
    for channel in light:
        for place in rng.uniform(0, shape_zyx, (len(places) // 3, 3)):
            _add_spot(channel, place, rng.uniform(1.0, 1.6), rng.uniform(20, 60))
    smooth = ndimage.gaussian_filter(rng.standard_normal(shape_zyx, dtype=np.float32), (2, 5, 5))
    light[CHANNELS.index("TdTomato")] += 90 * (smooth > 1.5 * smooth.std())
    shot = rng.poisson(light).clip(0, 255).astype(np.uint8)
    return SynapseSample(dict(zip(CHANNELS, shot, strict=True)), places, classes)


def _scatter(rng: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.int64]:
    """Places that keep their distance, in the order of a scan."""
    kept: list[npt.NDArray[np.int64]] = []
    for place in rng.integers(0, shape, (max(1, int(np.prod(shape)) // EVERY), 3)):
        if all((np.abs(place - other) >= APART).any() for other in kept):
            kept.append(place)
    places = np.array(kept)
    ordered: npt.NDArray[np.int64] = places[np.lexsort(places.T[::-1])]
    return ordered


def _add_spot(channel: npt.NDArray[np.float32], middle: npt.NDArray[np.float64], width: float, peak: float) -> None:
    """Add a Gaussian; `width` is its deviation in voxels."""
    low = np.maximum(np.floor(middle - 3 * width), 0).astype(int)
    high = np.minimum(np.ceil(middle + 3 * width) + 1, channel.shape).astype(int)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    squares = sum((grid - m) ** 2 for grid, m in zip(np.ogrid[box], middle, strict=True))
    channel[box] += peak * np.exp(-squares / (2 * width**2))
