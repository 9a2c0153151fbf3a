"""A made volume that looks like tissue, with its true classes and a person's scribbles; seeded, no download.

Nuclei with granular chromatin lie in textured tissue that is crossed by thin bright membranes and dark vessels;
planes are further apart than pixels, light falls off with depth, and the camera adds shot and read noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

CLASS_NAMES = ("Vessel", "Tissue", "Membrane", "Nucleus")
CLASS_COLORS = ((40, 40, 60), (90, 160, 90), (250, 200, 60), (220, 60, 120))
SPACING = {"z": 1.5, "y": 0.5, "x": 0.5}
UNITS = dict.fromkeys("zyx", "micrometer")
Float = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Sample:
    """A made volume.

    Parameters
    ----------
    raw : ndarray, (z, y, x), uint8
    truth : ndarray, (z, y, x), uint8
        Label of each voxel, 1.. as in `CLASS_NAMES`.
    """

    raw: npt.NDArray[np.uint8]
    truth: npt.NDArray[np.uint8]


def tissue(shape_zyx: tuple[int, int, int], seed: int = 0) -> Sample:
    """Make a volume; the same shape and seed give the same voxels.

    Parameters
    ----------
    shape_zyx : tuple of int
    seed : int
    """
    rng = np.random.default_rng(seed)
    truth = np.full(shape_zyx, 2, np.uint8)
    truth[np.abs(_texture(rng, shape_zyx, 18)) < 0.07] = 3
    truth[_texture(rng, shape_zyx, 22) > 1.7] = 1
    nuclei = _nuclei(rng, shape_zyx)
    truth[nuclei & (truth != 1)] = 4
    brightness = np.array([0, 18, 60, 175, 115], np.float32)[truth]
    grain = np.array([0, 2, 8, 14, 34], np.float32)[truth]
    light = ndimage.gaussian_filter(brightness + grain * _texture(rng, shape_zyx, 1.5), (0.4, 0.7, 0.7))
    depth = np.linspace(1.0, 0.75, shape_zyx[0], dtype=np.float32)[:, None, None]
    camera = rng.poisson(np.maximum(light * depth, 0) * 1.2) / 1.2 + rng.normal(6, 4, shape_zyx)
    return Sample(np.clip(np.rint(camera), 0, 255).astype(np.uint8), truth)


def scribbles(truth: npt.NDArray[np.uint8], strokes: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    """What a person might draw: short strokes inside single classes, dealt to them by the root of their volume.

    Returns
    -------
    ndarray, like `truth`, uint8
        The label along strokes, 0 elsewhere.
    """
    rng = np.random.default_rng(seed)
    labels = np.zeros_like(truth)
    found, counts = np.unique(truth, return_counts=True)
    shares = np.sqrt(counts) / np.sqrt(counts).sum()
    for label, share in zip(found, shares, strict=True):
        inside = ndimage.binary_erosion(truth == label, np.ones((1, 3, 3), bool))
        places = np.argwhere(inside if inside.any() else truth == label)
        for z, y, x in places[rng.integers(0, len(places), max(1, round(strokes * share)))]:
            direction = rng.normal(size=2)
            direction /= np.hypot(*direction)
            for step in range(12):
                yy, xx = np.rint((y, x) + direction * step).astype(int)
                if not (0 <= yy < truth.shape[1] and 0 <= xx < truth.shape[2]) or truth[z, yy, xx] != label:
                    break
                labels[z, yy, xx] = label
    return labels


def _texture(rng: np.random.Generator, shape: tuple[int, int, int], width: float) -> Float:
    """Smooth noise of mean 0 and deviation 1; `width` in pixels, less along z by the anisotropy."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    ratio = SPACING["y"] / SPACING["z"]
    smooth = ndimage.gaussian_filter(noise, (width * ratio, width, width), mode="wrap", truncate=3)
    result: Float = (smooth - smooth.mean()) / smooth.std()
    return result


def _nuclei(rng: np.random.Generator, shape: tuple[int, int, int]) -> npt.NDArray[np.bool_]:
    """Ellipsoids about 12 pixels in radius, one for each 20,000 voxels, roughened and not touching much."""
    mask = np.zeros(shape, bool)
    ratio = SPACING["y"] / SPACING["z"]
    for _ in range(max(1, mask.size // 20_000)):
        centre = rng.uniform(0, shape)
        radius = rng.uniform(9, 15) * np.array([ratio, 1, 1]) * rng.uniform(0.8, 1.25, 3)
        low = np.maximum(np.floor(centre - radius - 1), 0).astype(int)
        high = np.minimum(np.ceil(centre + radius + 2), shape).astype(int)
        box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
        axes = np.ogrid[box]
        distance = sum(((g - c) / r) ** 2 for g, c, r in zip(axes, centre, radius, strict=True))
        if not mask[box][distance < 1.4].any():
            mask[box] |= distance < rng.uniform(0.85, 1.0)
    return mask
