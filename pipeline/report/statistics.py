"""Numbers behind the report's pictures; seeded, so that the same table gives the same ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipeline.report.detections import SEED, Floats, Rows, draw_lots

CLIP = 5.0  # standard deviations that distributions are drawn to, to either side
POINTS = 100  # of a drawn distribution
BINS = 1000  # that values are counted in before they are smoothed
MOST_REPRESENTATIVES = 1000
CANDIDATES = 10  # for each representative


def estimate_density(scores: Floats) -> tuple[Floats, Floats]:
    """A Gaussian kernel estimate of standardized values between `-CLIP` and `CLIP`.

    Parameters
    ----------
    scores : ndarray, (n,)
        At least two that differ; values beyond the ends count there.

    Returns
    -------
    places, density : ndarray, (POINTS,)
        Bandwidth by Scott's rule, n^(-1/5) of the deviation. Values are counted in `BINS` bins first, which moves each
        by less than a hundredth of a deviation and takes as long for 100,000 as for 100.
    """
    places = np.linspace(-CLIP, CLIP, POINTS)
    clipped = scores.clip(-CLIP, CLIP)
    counts, edges = np.histogram(clipped, BINS, (-CLIP, CLIP))
    middles = (edges[1:] + edges[:-1]) / 2
    width = max(float(clipped.std()) * len(scores) ** -0.2, 2 * CLIP / BINS)
    kernel = np.exp(-0.5 * ((places[:, None] - middles) / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return places, kernel @ counts / len(scores)


def count_bins(values: int) -> int:
    """Steps of a histogram of so many values."""
    return int(np.clip(2 * values**0.5, 8, 40))


def correlate(scores: Floats) -> Floats:
    """Pearson's correlation of the columns, (columns, columns); 0 where a column is the same everywhere."""
    centred = scores - scores.mean(axis=0)
    length = np.sqrt((centred**2).sum(axis=0))
    unit = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12 * max(len(scores), 1) ** 0.5)
    return (unit.T @ unit).clip(-1, 1)


def explained_variance(scores: Floats) -> Floats:
    """Singular values of standardized measurements as shares of their sum, (columns,), largest first."""
    values = np.linalg.svd(scores, compute_uv=False)
    total = values.sum()
    return values / total if total > 0 else np.zeros_like(values)


def choose_representatives(scores: Floats, most: int = MOST_REPRESENTATIVES) -> Rows:
    """Rows that stand for all: all of few, of many the seeds that k-means++ finds far apart; ascending.

    Of very many they are looked for among some that are drawn by lot.
    """
    if len(scores) <= most:
        return np.arange(len(scores))
    lots = draw_lots(np.arange(len(scores)), CANDIDATES * most)
    from sklearn.cluster import kmeans_plusplus

    _, chosen = kmeans_plusplus(scores[lots], most, random_state=SEED, n_local_trials=1)
    return np.unique(lots[chosen])


def order_alike(scores: Floats) -> npt.NDArray[np.intp]:
    """An order of rows in which neighbours are alike: along the direction in which they vary most."""
    if len(scores) < 2:
        return np.arange(len(scores))
    centred = scores - scores.mean(axis=0)
    direction = np.linalg.svd(centred.T @ centred)[0][:, 0]
    sign = np.sign(direction[np.abs(direction).argmax()]) or 1.0
    return np.argsort(np.round(centred @ direction * sign, 9), kind="stable")


@dataclass(frozen=True, eq=False)
class Neighbours:
    """How far each detection is from the nearest other one.

    Parameters
    ----------
    distances : ndarray, (n,)
        Empty for fewer than two detections.
    expected : float
        The mean that as many places without any order would have in the same volume, 0 where that is not defined.
    """

    distances: Floats
    expected: float


def measure_neighbours(positions: Floats, volume: float) -> Neighbours:
    """Distances to nearest neighbours.

    Parameters
    ----------
    positions : ndarray, (n, 3)
    volume : float
        In the cube of their unit.

    Notes
    -----
    Of places without order, so many to a unit of volume, the nearest is at Γ(4/3) (4π/3 density)^(-1/3) on average
    (Hertz 1909); borders make it a little more.
    """
    from scipy.spatial import cKDTree

    if len(positions) < 2:
        return Neighbours(np.zeros(0), 0.0)
    found, _ = cKDTree(positions).query(positions, k=2)
    density = len(positions) / volume if volume > 0 else 0.0
    expected = 0.8929795115692493 * (4 / 3 * np.pi * density) ** (-1 / 3) if density else 0.0
    return Neighbours(found[:, 1], float(expected))
