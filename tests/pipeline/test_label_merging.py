"""However blocks are grouped, and whatever the depth of the tree, objects are the same."""

from __future__ import annotations

from unittest.mock import patch

import numpy as np
import xarray
from hypothesis import given, note
from hypothesis import strategies as st

from pipeline import label_tree
from pipeline.components import OPEN, REMOVED
from pipeline.label_merging import resolve
from pipeline.lazy_labels import label_lazily
from tests.objects import MapCase, map_cases


@given(case=map_cases(), group=st.sampled_from([2, 3, 8]))
def test_deep_trees_give_the_same(case: MapCase, group: int) -> None:
    note(f"{case.prob.shape} {case.block} {case.thresholding} {case.connectivity} {case.renumber}")
    array = xarray.DataArray(case.prob, dims=list("tczyx"))
    options = {"connectivity": case.connectivity, "renumber": case.renumber, "block": (1, *case.block)}
    with patch.object(label_tree, "GROUP", group):
        labels = label_lazily(array, case.thresholding, **options)  # type: ignore[arg-type]
        np.testing.assert_array_equal(labels.compute(scheduler="sync"), case.expect())


def test_fates_are_followed_up_to_the_root() -> None:
    fate = np.array([40, OPEN, REMOVED, OPEN - 1, OPEN - 2])
    middle = np.array([99, REMOVED, 7, OPEN])
    root = np.array([98, 5])
    np.testing.assert_array_equal(resolve(fate, [(middle, 1), (root, 1)]), [40, REMOVED, REMOVED, 7, 5])
    np.testing.assert_array_equal(fate, [40, OPEN, REMOVED, OPEN - 1, OPEN - 2])
