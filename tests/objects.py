"""Probability maps with objects of awkward shapes, and slow, plain labels of whole arrays; shared by tests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from scipy import ndimage

from pipeline.blocks import Box
from pipeline.thresholding import OLD_WINDOW, Thresholding
from tests.oracles import load_golden_module

Array = npt.NDArray[Any]
KINDS = ("empty", "noise", "full", "snake", "rings", "comb", "diagonal", "blobs")


@dataclass(frozen=True)
class ArraySource:
    """A map in memory that reads as a volume does."""

    prob: Array

    def read(self, box: Box) -> Array:
        """Voxels of a box, (t, c, z, y, x)."""
        t, z, y, x = box.slices()
        return self.prob[t, :, z, y, x]


def label_slowly(
    prob: Array, thresholding: Thresholding, connectivity: str = "face", renumber: bool = True
) -> npt.NDArray[np.uint64]:
    """Labels (z, y, x) of one time step (c, z, y, x): SEMANTICS 7, word for word, with SciPy."""
    used, ref = thresholding, load_golden_module("ref")
    low, high = np.float32(used.low), np.float32(used.high)
    final = _smooth(prob[used.channel], used)
    filtered = ref.size_filter
    if used.hysteresis:
        core = _smooth(prob[used.core_channel], used)
        both = final + core if used.core_channel != used.channel else final
        labels = _label(both > low if used.strict else both >= low, connectivity)
        cores = _label(core > high if used.strict else core >= high, connectivity)
        cores = filtered(cores, used.min_size, used.max_size)
        kept = np.isin(labels, labels[cores != 0])
        selected = np.where(kept, labels, 0)
    else:
        labels = selected = _label(final > low if used.strict else final >= low, connectivity)
    result = filtered(selected.astype(np.uint32), used.min_size, used.max_size)
    if renumber:
        _, inverse = np.unique(np.append(result, 0), return_inverse=True)
        result = inverse[:-1].reshape(result.shape)
    return result.astype(np.uint64)


def _label(mask: Array, connectivity: str) -> Array:
    """Components, numbered by their first voxels in C order."""
    labels, n = ndimage.label(mask, ndimage.generate_binary_structure(3, 3 if connectivity == "full" else 1))
    first = np.full(n + 1, labels.size)
    np.minimum.at(first, labels.ravel(), np.arange(labels.size))
    rank = np.zeros(n + 1, np.uint32)
    rank[1 + np.argsort(first[1:])] = np.arange(1, n + 1)
    return rank[labels]


def _smooth(values: Array, used: Thresholding) -> Array:
    values = values.astype(np.float32)
    if used.drange is not None:
        values = (values - np.float32(used.drange[0])) / np.float32(used.drange[1] - used.drange[0])
    kept = [axis for axis in range(3) if values.shape[axis] > 1]
    sigmas = [used.sigma_zyx[axis] for axis in kept]
    if any(sigma < 0.1 for sigma in sigmas):
        return values
    squeezed = values.reshape([values.shape[axis] for axis in kept])
    smoothed: Array = load_golden_module("ref").smooth_double(squeezed, sigmas, used.window)
    return smoothed.reshape(values.shape)


def golden_cases(folder: Path) -> Mapping[str, tuple[Array, Array, Thresholding]]:
    """Name -> probabilities (t, c, z, y, x), labels (t, z, y, x) with their gaps, and settings."""
    arrays = np.load(folder / "threshold.npz")
    cases = {}
    for name, case in json.loads((folder / "threshold.json").read_text()).items():
        settings = Thresholding(
            method="hysteresis" if case["method"] else "simple",
            channel=case["channel"],
            core_channel=case["core_channel"],
            low=case["low"],
            high=case["high"],
            sigma_zyx=(case["sigma"]["z"], case["sigma"]["y"], case["sigma"]["x"]),
            min_size=case["min_size"],
            max_size=case["max_size"],
        )
        cases[name] = np.moveaxis(arrays[f"{name}_in"], -1, 1), arrays[f"{name}_out"], settings
    return cases


def draw_mask(kind: str, shape: Sequence[int], rng: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Voxels of one of `KINDS`."""
    z, y, x = np.indices(shape)
    if kind == "snake":  # one object that visits every second row
        turn = np.where((y // 2 + z) % 2 == 0, shape[2] - 1, 0)
        return (y % 2 == 0) & (z % 2 == 0) | (y % 2 == 1) & (x == turn) | (z % 2 == 1) & (y == 0) & (x == 0)
    if kind == "rings":
        distance = np.max([abs(2 * i - n + 1) // 2 for i, n in zip((z, y, x), shape, strict=True)], axis=0)
        return distance % 2 == 0
    if kind == "comb":
        return (x % 2 == 0) | (y == shape[1] - 1)
    if kind == "diagonal":
        return (x + y + z) % 2 == 0
    if kind == "blobs":
        return ndimage.gaussian_filter(rng.random(shape), 1) > 0.5
    density = {"empty": 0.0, "full": 1.0}.get(kind, float(rng.choice([0.05, 0.2, 0.31, 0.5, 0.8])))
    return rng.random(shape) < density


@dataclass(frozen=True)
class MapCase:
    """A map (t, c, z, y, x), what it is labelled with, and in which blocks (z, y, x)."""

    prob: Array
    thresholding: Thresholding
    connectivity: str
    renumber: bool
    block: tuple[int, int, int]

    def expect(self) -> npt.NDArray[np.uint64]:
        """Labels (t, z, y, x) of the whole."""
        frames = [label_slowly(frame, self.thresholding, self.connectivity, self.renumber) for frame in self.prob]
        return np.stack(frames)


@st.composite
def map_cases(draw: st.DrawFn) -> MapCase:
    """Maps with two channels in one or two time steps, and any settings."""
    shape = draw(st.tuples(st.integers(1, 9), st.integers(1, 13), st.integers(1, 14)))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    n_frames, kind = draw(st.sampled_from([1, 1, 2])), draw(st.sampled_from(KINDS))
    prob = rng.random((n_frames, 2, *shape)).astype(np.float32) * np.float32(0.5)
    for t in range(n_frames):
        prob[t, 0] += np.float32(0.5) * draw_mask(kind, shape, rng)
        prob[t, 1] = np.where(draw_mask("noise", shape, rng), prob[t, 0], prob[t, 1])
    core_channel = draw(st.integers(0, 1))
    sigma = draw(st.sampled_from([0.0, 0.0, 0.3, 0.6, 1.0]))
    least = min((n for n in shape if n > 1), default=1)
    window = draw(st.sampled_from([2.0, OLD_WINDOW]))
    if least <= max(1, int(window * sigma + 0.5)):
        sigma = 0.0
    sizes = sorted((draw(st.sampled_from([0, 1, 2, 5, 20])), draw(st.sampled_from([1, 5, 30, 300, 10**6]))))
    low = draw(st.sampled_from([0.3, 0.5, 0.6]))
    settings = Thresholding(
        method=draw(st.sampled_from(["simple", "hysteresis"])),
        channel=0,
        core_channel=core_channel,
        low=low + (0.4 if core_channel else 0.0),
        high=low + draw(st.sampled_from([0.0, 0.1, 0.3])) + (0.4 if core_channel else 0.0),
        sigma_zyx=(sigma, sigma, sigma),
        min_size=sizes[0],
        max_size=sizes[1],
        strict=draw(st.booleans()),
        window=window,
    )
    longest = [draw(st.sampled_from([1, 2, 3, 4, 5, 8, 20])) for _ in range(3)]
    block = [min(n, max(size, -(-n // 6))) for n, size in zip(shape, longest, strict=True)]
    connectivity, renumber = draw(st.sampled_from(["face", "full"])), draw(st.booleans())
    return MapCase(prob, settings, connectivity, renumber, (block[0], block[1], block[2]))


def some_blocks(shape: Sequence[int]) -> list[tuple[int, int, int, int]]:
    """Block shapes (t, z, y, x) that cut an image in several ways."""
    return [(1, *(min(n, size) for n, size in zip(shape, sizes, strict=True))) for sizes in itertools.islice(_SIZES, 5)]  # type: ignore[misc]


_SIZES = ((16, 16, 16), (7, 5, 9), (1, 64, 64), (64, 3, 64), (5, 64, 11))
