from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import PlanError, ProjectError
from pipeline.features import DEFAULT_SCALES, FEATURE_LABELS, FeatureSelection
from tests.oracles import GOLDEN, load_golden_module

IDS = tuple(FEATURE_LABELS)
ALL = ((True,) * 7,) * 6


@st.composite
def selections(draw: st.DrawFn) -> FeatureSelection:
    ids = tuple(draw(st.permutations(IDS))[: draw(st.integers(1, 6))])
    scales = tuple(draw(st.lists(st.floats(0.1, 12), min_size=1, max_size=5, unique=True)))
    row = st.tuples(*[st.booleans()] * len(scales))
    matrix = [draw(row) for _ in ids]
    matrix[0] = (True, *matrix[0][1:])
    flags = draw(st.none() | row)
    return FeatureSelection(ids, scales, tuple(matrix), flags)


def reference_of(selection: FeatureSelection) -> Any:
    return load_golden_module("ref").Features(
        selection.ids, selection.scales, np.array(selection.matrix), selection.compute_in_2d
    )


@pytest.mark.parametrize("name", ["feat_2d_u8", "feat_2d3c_u8", "feat_3d_u8", "feat_3d_mixed_u16", "feat_3d_all2d_u16"])
def test_channels_and_names_are_those_of_ilastik(name: str) -> None:
    case = np.load(GOLDEN / f"{name}.npz")
    n_input = int(case["channels"][:, 3].max()) + 1
    z = int(case["points_zyx"][:, 0].max()) + 1
    flags = None if name == "feat_2d_u8" else tuple(case["compute_in_2d"].tolist())
    selection = FeatureSelection(IDS, DEFAULT_SCALES, ALL, flags)
    channels = selection.channels(n_input, z)
    got = [(IDS.index(c.feature), c.scale_index, int(c.in_2d), c.input_channel, c.eigenvalue) for c in channels]
    assert got == [tuple(row) for row in case["channels"].tolist()]
    assert selection.names(n_input, z) == tuple(case["names"].tolist())


@given(selections(), st.integers(1, 3), st.integers(1, 40))
@settings(max_examples=100, deadline=None)
def test_selection_agrees_with_the_reference(selection: FeatureSelection, n_input: int, z: int) -> None:
    reference = reference_of(selection)
    channels = [(c.feature, c.scale, c.in_2d, c.input_channel, c.eigenvalue) for c in selection.channels(n_input, z)]
    assert channels == reference.channels(n_input, z)
    assert selection.n_columns(n_input, z) == len(channels)
    assert selection.names(n_input, z) == tuple(reference.names(n_input, z))
    assert selection.in_2d(z) == tuple(reference.in_2d(z))


@given(selections(), st.integers(1, 50), st.integers(1, 50), st.integers(1, 50))
@settings(max_examples=100, deadline=None)
def test_size_rule_agrees_with_the_reference(selection: FeatureSelection, z: int, y: int, x: int) -> None:
    try:
        reference_of(selection).check_size(z, y, x)
    except Exception:
        with pytest.raises(PlanError) as caught:
            selection.check_size(z, y, x)
        assert caught.value.code == "image_too_small"
    else:
        selection.check_size(z, y, x)


@pytest.mark.parametrize("scale", DEFAULT_SCALES)
def test_smallest_image_is_accepted_and_one_less_refused(scale: float) -> None:
    case = np.load(GOLDEN / "feat_tiny.npz")
    y, x = case[f"in_{scale}"].shape
    selection = FeatureSelection(("GaussianSmoothing",), (scale,), ((True,),))
    selection.check_size(1, y, x)
    for smaller in ((y - 1, x), (y, x - 2)):
        with pytest.raises(PlanError, match=f"scale {scale}"):
            selection.check_size(1, *smaller)


def test_unused_scales_ask_for_no_size() -> None:
    selection = FeatureSelection(("GaussianSmoothing",), (1.0, 10.0), ((True, False),), (False, False))
    selection.check_size(5, 5, 5)
    assert selection.used_scales == (0,)


def test_three_dimensional_scale_refuses_a_flat_image() -> None:
    selection = FeatureSelection(("GaussianSmoothing",), (0.3,), ((True,),), (False,))
    with pytest.raises(PlanError, match="z, y and x"):
        selection.check_size(1, 50, 50)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"ids": ("CoherenceOfStructure", IDS[1])}, "bad_features"),
        ({"ids": (IDS[0], IDS[0])}, "bad_features"),
        ({"scales": (1.0, -1.0)}, "bad_features"),
        ({"scales": (1.0, 0.0)}, "bad_features"),
        ({"scales": (1.0, float("nan"))}, "bad_features"),
        ({"scales": (1.0, float("inf"))}, "bad_features"),
        ({"scales": (1.0, 1000.5)}, "bad_features"),
        ({"scales": (1.0,)}, "bad_features"),
        ({"scales": (1.0,) * 2000}, "bad_features"),
        ({"matrix": ((True, True),)}, "bad_features"),
        ({"matrix": ((True, True), (True,))}, "bad_features"),
        ({"compute_in_2d": (True,)}, "bad_features"),
        ({"matrix": ((False, False), (False, False))}, "no_features"),
        ({"ids": (), "matrix": ()}, "no_features"),
    ],
)
def test_malformed_selection_is_refused(change: dict[str, Any], code: str) -> None:
    good: dict[str, Any] = {"ids": IDS[:2], "scales": (1.0, 2.0), "matrix": ((True, False), (False, True))}
    FeatureSelection(**good)
    with pytest.raises(ProjectError) as caught:
        FeatureSelection(**{**good, **change})
    assert caught.value.code == code
