from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline import axes
from pipeline.errors import VolumeError

ORDERS = st.permutations(axes.ORDER).flatmap(lambda p: st.integers(1, 5).map(lambda n: "".join(p[:n])))


@given(order=ORDERS)
def test_canonical_order_holds_the_same_letters(order: str) -> None:
    found = axes.canonical(order)
    assert sorted(found) == sorted(order)
    assert [axes.ORDER.index(a) for a in found] == sorted(axes.ORDER.index(a) for a in found)


@pytest.mark.parametrize(("names", "text"), [("", "empty"), ("zyxq", "holds q"), ("zyz", "twice"), ("ZYX", "X, Y, Z")])
def test_bad_names_are_refused_with_what_was_given(names: str, text: str) -> None:
    with pytest.raises(VolumeError, match=text) as caught:
        axes.check_names(names)
    assert caught.value.code == "axes"


@given(order=ORDERS)
def test_reorder_there_and_back_is_the_same(order: str) -> None:
    array = np.arange(np.prod(range(2, 2 + len(order)))).reshape(range(2, 2 + len(order)))
    whole = axes.reorder(array, order, axes.ORDER)
    assert whole.ndim == 5
    np.testing.assert_array_equal(axes.reorder(whole, axes.ORDER, order), array)


def test_reorder_puts_each_axis_where_it_is_named() -> None:
    array = np.zeros((2, 3, 1))
    assert axes.reorder(array, "xyc", "zyx").shape == (1, 3, 2)


def test_reorder_refuses_to_lose_voxels() -> None:
    with pytest.raises(VolumeError, match=r"'yx' has no place for c=3 of the data \(yxc\)"):
        axes.reorder(np.zeros((4, 5, 3)), "yxc", "yx")


def test_reorder_refuses_another_number_of_axes() -> None:
    with pytest.raises(VolumeError, match=r"'yx' names 2 axes, the data has shape \(4, 5, 3\)"):
        axes.reorder(np.zeros((4, 5, 3)), "yx", "yx")


@pytest.mark.parametrize(
    ("shape", "names"),
    [
        ((50, 60), "yx"),
        ((40, 50, 60), "zyx"),
        ((50, 60, 5), "zyx"),
        ((50, 60, 4), "yxc"),
        ((40, 50, 60, 70), "zyxc"),
        ((2, 40, 50, 60, 3), "tzyxc"),
    ],
)
def test_guess_follows_the_shape_rule(shape: tuple[int, ...], names: str) -> None:
    assert axes.guess(shape) == names


@pytest.mark.parametrize("shape", [(5,), (1, 2, 3, 4, 5, 6)])
def test_guess_refuses_other_numbers_of_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(VolumeError, match=f"{len(shape)}-dimensional"):
        axes.guess(shape)


SHAPE = (4, 5, 6)


@pytest.mark.parametrize(
    ("given", "own", "project", "names", "why"),
    [
        ("xyz", "zyx", "tyx", "xyz", "as given (the file names them zyx)"),
        ("xyz", "xyz", None, "xyz", "as given"),
        (None, "tyx", "zyx", "tyx", "as the file names them"),
        (None, None, "xyc", "xyc", "as the project was trained"),
        (None, None, "zyxc", "zyx", "guessed from the shape"),  # the project's do not fit
        (None, None, None, "zyx", "guessed from the shape"),
    ],
)
def test_choice_takes_the_first_who_knows(
    given: str | None, own: str | None, project: str | None, names: str, why: str
) -> None:
    choice = axes.choose(given, own, project, SHAPE)
    assert choice.axes == names
    assert why in choice.reason
    assert choice.guessed == (given is None and own is None)


def test_guess_says_how_to_set_the_axes() -> None:
    assert "--axes" in axes.choose(None, None, None, SHAPE).reason


@pytest.mark.parametrize(("given", "own", "text"), [("yx", None, "given are 'yx'"), (None, "yx", "file names its")])
def test_contradiction_names_both_sides(given: str | None, own: str | None, text: str) -> None:
    with pytest.raises(VolumeError, match=rf"{text}.*3-dimensional data of shape \(4, 5, 6\)") as caught:
        axes.choose(given, own, None, SHAPE)
    assert caught.value.code == "axes"
