from __future__ import annotations

import numpy as np
import pytest

from pipeline.errors import PlanError, ProjectError
from pipeline.feature_choice import IDS, SETS, choose_features, keep_best
from pipeline.features import DEFAULT_SCALES

LARGE = (100, 100, 100)


def test_all_is_what_ilastiks_window_offers() -> None:
    chosen = choose_features("all", None, LARGE)
    assert (chosen.ids, chosen.scales) == (IDS, DEFAULT_SCALES)
    assert [row[0] for row in chosen.matrix] == [True] + [False] * 5
    assert all(all(row[1:]) for row in chosen.matrix)
    assert chosen.compute_in_2d == (False,) * 7


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("shape", [LARGE, (1, 40, 60), (12, 64, 64), (1, 4, 4)])
def test_sets_fit_any_image(name: str, shape: tuple[int, int, int]) -> None:
    choose_features(name, None, shape).check_size(*shape)


def test_a_thin_volume_is_filtered_in_planes_where_it_must_be() -> None:
    chosen = choose_features("all", None, (12, 100, 100))
    assert dict(zip(chosen.scales, chosen.compute_in_2d or (), strict=True))[10.0]
    assert not dict(zip(chosen.scales, chosen.compute_in_2d or (), strict=True))[1.6]


def test_given_scales_are_kept_even_if_too_large() -> None:
    chosen = choose_features("GaussianSmoothing, LaplacianOfGaussian", [1.6, 30], (1, 20, 20))
    assert chosen.scales == (1.6, 30.0)
    with pytest.raises(PlanError, match=r"scale 30\.0"):
        chosen.check_size(1, 20, 20)


def test_order_of_names_does_not_matter() -> None:
    one, other = (choose_features(names, [1.0], LARGE) for names in (IDS[:2], IDS[1::-1]))
    assert one == other


@pytest.mark.parametrize(
    ("features", "scales", "says"),
    [
        ("standart", None, "did you mean standard"),
        ("GaussianSmooth", None, "did you mean GaussianSmoothing"),
        ("LaplacianOfGaussian", [0.3], "none below 0.7"),
        ("GaussianSmoothing,", [1.0], "feature ''"),
    ],
)
def test_unknown_choices_are_refused(features: str, scales: list[float] | None, says: str) -> None:
    with pytest.raises(PlanError, match=says) as caught:
        choose_features(features, scales, LARGE)
    assert caught.value.code == "features"


def test_scale_out_of_range_and_image_without_room_are_refused() -> None:
    with pytest.raises(ProjectError, match="scale -1"):
        choose_features("all", [-1.0], LARGE)
    with pytest.raises(PlanError, match="too small for any feature"):
        choose_features("all", None, (1, 2, 2))


def test_best_are_kept_with_all_their_eigenvalues() -> None:
    chosen = choose_features("all", [0.7, 1.6], LARGE)
    columns = chosen.channels(2, 100)
    importances = np.array([c.feature.startswith("Hessian") + (c.scale == 1.6) * 0.1 for c in columns], float)
    best = keep_best(chosen, importances, 2, 100, 1)
    assert {(c.feature, c.scale) for c in best.channels(2, 100)} == {("HessianOfGaussianEigenvalues", 1.6)}
    assert best.n_columns(2, 100) == 6
    with pytest.raises(PlanError, match="0 features to keep"):
        keep_best(chosen, importances, 2, 100, 0)
