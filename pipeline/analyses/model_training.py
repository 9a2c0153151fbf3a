"""A classifier of cubes made from cubes whose classes are known, in the way of the published one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from pipeline.analyses.model import CHANNELS, CubeModel, build_model


def train_model(
    cubes: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.integer],
    *,
    class_names: Sequence[str],
    channels: Sequence[str] = CHANNELS,
    components: int = 5,
    trees: int = 10,
    seed: int = 0,
) -> CubeModel:
    """Train a classifier.

    Parameters
    ----------
    cubes : ndarray, (m, channels, z, y, x), uint8
        Edges of odd length: a middle and what it reaches to either side.
    classes : ndarray, (m,), integer
        1, 2, ... as in `class_names`; at least one cube of each.
    class_names, channels : sequence of str
    components : int
        Directions in which the cubes vary most, about 0: no mean is subtracted.
    trees : int
    seed : int
        The same cubes and seed give the same model.

    Raises
    ------
    ValueError
        If sizes or classes do not fit.

    Examples
    --------
    >>> from pipeline import synapse_samples
    >>> sample = synapse_samples.synapses((40, 64, 64))
    >>> cubes, classes = sample.cut_cubes((7, 4, 4))
    >>> train_model(cubes, classes, class_names=synapse_samples.CLASS_NAMES)
    <CubeModel of 15 x 9 x 9 voxels in 8 channels: 5 components, 10 trees, classes non-GABA, GABA>
    """
    from sklearn.ensemble import RandomForestClassifier

    _check(cubes, classes, class_names, channels, components)
    rows = cubes.reshape(len(cubes), -1).astype(np.float64)
    directions = np.linalg.svd(rows, full_matrices=False)[2][:components]
    strongest = np.take_along_axis(directions, np.abs(directions).argmax(axis=1)[:, None], axis=1)
    directions = directions * np.sign(strongest)  # either sign is as good: LAPACK's choice is not to be seen
    forest = RandomForestClassifier(trees, random_state=seed).fit(rows @ directions.T, classes)
    grown = [estimator.tree_ for estimator in forest.estimators_]
    arrays = {
        "offsets": np.cumsum([0, *(tree.node_count for tree in grown)]),
        "classes": forest.classes_.astype(np.int64),
        "value": np.concatenate([tree.value[:, 0] for tree in grown]),
        **{
            name: np.concatenate([getattr(tree, name) for tree in grown])
            for name in ("children_left", "children_right", "feature", "threshold")
        },
    }
    half = [n // 2 for n in cubes.shape[2:]]
    return build_model(directions, arrays, channels=channels, half_widths=half, class_names=class_names)


def _check(
    cubes: npt.NDArray[np.uint8],
    classes: npt.NDArray[np.integer],
    class_names: Sequence[str],
    channels: Sequence[str],
    components: int,
) -> None:
    if cubes.ndim != 5 or cubes.dtype != np.uint8 or not all(n % 2 for n in cubes.shape[2:]):
        raise ValueError(
            f"cubes are {cubes.dtype} of {cubes.shape}, not uint8 of (m, channels, z, y, x) with odd edges"
        )
    if cubes.shape[1] != len(channels) or len(classes) != len(cubes):
        raise ValueError(f"{cubes.shape[:2]} cubes and channels for {len(classes)} classes and {len(channels)} names")
    if sorted(set(classes.tolist())) != list(range(1, len(class_names) + 1)):
        raise ValueError(f"classes are {sorted(set(classes.tolist()))}, not all of 1 to {len(class_names)}")
    if not 1 <= components <= min(len(cubes), cubes[0].size):
        raise ValueError(f"{len(cubes)} cubes do not have {components} components")
