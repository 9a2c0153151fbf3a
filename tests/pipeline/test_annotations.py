from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.annotations import Annotations, read_annotations
from pipeline.errors import PlanError
from pipeline.progress import Progress
from tests.models import memory_volume


@st.composite
def drawings(draw: st.DrawFn) -> np.ndarray[Any, Any]:
    """Labels on a few voxels of a small image (t, z, y, x)."""
    shape = draw(st.tuples(*[st.integers(1, 9)] * 4))
    image = np.zeros(shape, np.uint8)
    for _ in range(draw(st.integers(0, 12))):
        place = tuple(draw(st.integers(0, n - 1)) for n in shape)
        image[place] = draw(st.integers(1, 255))
    return image


@given(drawings(), st.integers(1, 6))
def test_cells_and_blocks_hold_each_drawn_voxel_once(image: np.ndarray[Any, Any], edge: int) -> None:
    drawn = Annotations.of_array(image, "tzyx")
    rows = [number for _, numbers in drawn.cells(edge) for number in numbers]
    assert sorted(rows) == list(range(np.count_nonzero(image)))
    again = np.zeros_like(image)
    for start, block in drawn.blocks(edge):
        assert max(block.shape[1:]) <= edge
        assert block.shape[0] == 1
        again[tuple(slice(a, a + n) for a, n in zip(start, block.shape, strict=True))] += block
    np.testing.assert_array_equal(again, image)


@given(drawings(), st.integers(1, 5))
def test_joined_blocks_are_the_whole_in_c_order(image: np.ndarray[Any, Any], cut: int) -> None:
    parts = [((0, 0, 0, x), image[..., x : x + cut]) for x in range(0, image.shape[3], cut)]
    joined = Annotations.joined(image.shape, parts)
    whole = Annotations.of_array(image, "tzyx")
    np.testing.assert_array_equal(joined.places, whole.places)
    np.testing.assert_array_equal(joined.labels, whole.labels)


def test_of_two_labels_of_a_voxel_the_last_counts() -> None:
    one, two = (np.full((1, 1, 1, 1), label, np.uint8) for label in (1, 2))
    joined = Annotations.joined((1, 1, 2, 2), [((0, 0, 0, 1), one), ((0, 0, 0, 1), two)])
    assert (len(joined), joined.found) == (1, (2,))


@pytest.mark.parametrize("axes", ["zyx", "xyz", "zyxc", "tzyx"])
def test_label_image_in_any_order_is_read(axes: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.annotations.READ_VOXELS", 40)
    image = np.random.default_rng(0).integers(0, 3, (4, 5, 6)).astype(np.uint16)
    stored = image[None] if axes == "tzyx" else image[..., None] if axes == "zyxc" else image
    stored = stored.transpose(2, 1, 0) if axes == "xyz" else stored
    found = read_annotations(memory_volume(stored, axes, (2,) * stored.ndim), (1, 4, 5, 6), Progress())
    np.testing.assert_array_equal(found.places, np.argwhere(image[None]))


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (np.zeros((4, 5, 7), np.uint8), "1x4x5x7 for an image of 1x4x5x6"),
        (np.zeros((4, 5, 6), np.float32), "float32; they must be whole numbers"),
        (np.full((4, 5, 6), 256, np.int32), "256 to 256; a label is a whole number from 1 to 255"),
        (np.full((4, 5, 6), -1, np.int8), "-1"),
    ],
)
def test_what_is_no_label_is_refused(labels: np.ndarray[Any, Any], says: str) -> None:
    with pytest.raises(PlanError, match=says) as caught:
        read_annotations(memory_volume(labels, "zyx"), (1, 4, 5, 6), Progress())
    assert caught.value.code == "labels"


def test_a_picture_in_colours_is_no_label_image() -> None:
    with pytest.raises(PlanError, match=r"1x4x5x6x3 .* one channel"):
        read_annotations(memory_volume(np.zeros((4, 5, 6, 3), np.uint8), "zyxc"), (1, 4, 5, 6), Progress())
