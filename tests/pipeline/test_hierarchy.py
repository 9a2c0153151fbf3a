"""Outputs that hold labels beside their image, and scratch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.errors import StoreError
from pipeline.hierarchy import group_of
from pipeline.images import final_image
from pipeline.metadata import COLORED_LABELS, label_attributes
from tests.outputs import begin, make_spec, make_values, write_all, write_level_0

IMAGE = make_spec()
LABELS = make_spec((20, 35, 33), "zyx", name="objects", dtype="uint64", reduce="stride", role="labels")
SCRATCH = make_spec(name="channels", role="scratch")


def test_groups_of_images_labels_and_scratch() -> None:
    images = (IMAGE, LABELS, SCRATCH)
    assert [group_of(spec, images) for spec in images] == ["", "labels/objects", "scratch/channels"]
    assert group_of(IMAGE, (IMAGE, make_spec(name="uncertainty"))) == "probabilities"


def test_scratch_has_one_level_and_is_gone_at_the_end(tmp_path: Path) -> None:
    store = begin(tmp_path / "out.zarr", IMAGE, LABELS, SCRATCH)
    assert [len(store.levels(spec.name)) for spec in store.images] == [3, 3, 1]
    write_level_0(store, "channels", make_values(SCRATCH))
    labels = make_values(LABELS)
    write_all(store, {"probabilities": make_values(IMAGE), "objects": labels})
    assert sorted(path.name for path in (tmp_path / "out.zarr").iterdir()) == ["0", "1", "2", "labels", "zarr.json"]
    assert np.array_equal(zarr.open_array(tmp_path / "out.zarr/labels/objects/0", mode="r")[...], labels)
    names = [image["name"] for image in zarr.open_group(tmp_path / "out.zarr").attrs["voxelforest"]["images"]]  # type: ignore[index, call-overload, union-attr]
    assert names == ["probabilities", "objects"]


def test_file_holds_the_labels(tmp_path: Path) -> None:
    assert final_image((IMAGE, LABELS, SCRATCH), "out.h5") is LABELS
    with pytest.raises(StoreError, match=r"out.h5 holds one image, 2 were asked for"):
        final_image((IMAGE, make_spec(name="uncertainty")), "out.h5")


def test_colours_are_written_for_a_few_labels_alone() -> None:
    for largest, listed in ((3, 3), (COLORED_LABELS, COLORED_LABELS), (COLORED_LABELS + 1, 0), (0, 0)):
        about = label_attributes(LABELS, "0.5", {}, largest)["ome"]["image-label"]
        assert len(about.get("colors", [])) == listed
    colors = label_attributes(LABELS, "0.4", {}, 50)["image-label"]["colors"]
    assert [color["label-value"] for color in colors] == list(range(1, 51))
    assert len({tuple(color["rgba"]) for color in colors}) == 50
