"""The picture of what was found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipeline.blocks import Box
from pipeline.errors import StoreError
from pipeline.metadata import label_color
from pipeline.preview import EDGE, check_preview, draw_overlay, middle, write_preview


def test_middle_is_one_plane_of_bounded_size() -> None:
    assert middle(Box.whole((3, 9, 5000, 40))) == Box((1, 4, (5000 - EDGE) // 2, 0), (2, 5, (5000 + EDGE) // 2, 40))


def test_objects_are_filled_and_rimmed_over_grey() -> None:
    grey = np.tile(np.arange(64, dtype=np.uint16) * 1000, (64, 1))
    labels = np.zeros((64, 64), np.uint64)
    labels[10:30, 10:30] = 5
    labels[10:30, 30:50] = 2**40
    picture = draw_overlay(grey, labels)
    outside = picture[40:]
    assert (outside == outside[..., :1]).all()
    assert outside[0, :, 0].tolist() == sorted(outside[0, :, 0].tolist())
    assert tuple(picture[10, 15]) == label_color(5)
    assert tuple(picture[20, 29]) == label_color(5)  # beside another object
    assert tuple(picture[20, 20]) != label_color(5)
    assert len(set(picture[20, 20].tolist())) == 3


def test_plane_without_contrast_or_with_nan_is_drawn() -> None:
    flat = draw_overlay(np.full((4, 5), np.nan), np.zeros((4, 5), np.uint64))
    assert flat.shape == (4, 5, 3)
    assert not flat.any()


def test_picture_is_whole_or_absent(tmp_path: Path) -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    write_preview(tmp_path / "p.png", picture)
    with Image.open(tmp_path / "p.png") as read:
        assert np.array_equal(np.asarray(read), picture)
    assert [path.name for path in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("name", ["p.jpg", "none/p.png"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(StoreError, match=r"ends in \.png"):
        check_preview(tmp_path / name)
