from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from ome_zarr_models.common.omero import Omero
from ome_zarr_models.v04.image import ImageAttrs as ImageAttrs04
from ome_zarr_models.v05.image import ImageAttrs as ImageAttrs05

from pipeline.images import ImageSpec
from pipeline.metadata import axes, axistags, image_attributes, multiscale, omero, transformations, window
from pipeline.pyramid import levels
from tests.oracles import load_golden_module
from tests.outputs import make_spec

SHAPES = {"t": 2, "c": 3, "z": 20, "y": 35, "x": 33}


@pytest.mark.parametrize("dims", ["yx", "cyx", "tyx", "tcyx", "zyx", "czyx", "tzyx", "tczyx"])
def test_documents_pass_the_models_of_both_versions(dims: str) -> None:
    spec = make_spec(tuple(SHAPES[a] for a in dims), dims, units={"y": "um", "x": "um", "t": "s"})
    new = image_attributes(spec, "0.5", {"digest": "d"})
    old = image_attributes(spec, "0.4", {"digest": "d"})
    ImageAttrs05.model_validate(new["ome"])
    ImageAttrs04.model_validate(old)
    for document in (new["ome"], old):
        Omero.model_validate(document["omero"])


def test_axes_carry_types_and_full_unit_names() -> None:
    spec = make_spec((2, 2, 20, 35, 33), "tczyx", units={"t": "s", "c": "nm", "z": "µm", "y": "micrometer"})
    assert axes(spec) == [
        {"name": "t", "type": "time", "unit": "second"},
        {"name": "c", "type": "channel"},  # a channel has no unit
        {"name": "z", "type": "space", "unit": "micrometer"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space"},
    ]


def test_mean_of_a_linear_ramp_lies_on_the_ramp_in_physical_coordinates() -> None:
    spec = ImageSpec("p", "yx", (64, 64), (8, 8), "float32", spacing={"x": 0.5}, origin={"x": 10})
    ramp = np.arange(64) * 0.5 + 5.0  # physical x of each voxel of level 0
    for level in levels(spec):
        scale, shift = transformations(spec, level)
        means = ramp.reshape(-1, level.factors[1]).mean(axis=1)
        assert np.allclose(np.arange(len(means)) * scale["scale"][1] + shift["translation"][1], means)


def test_strided_level_keeps_the_place_of_the_voxels_it_took() -> None:
    spec = ImageSpec("s", "yx", (64, 64), (16, 16), "uint8", reduce="stride", spacing={"y": 2.0}, origin={"y": 3})
    found = [transformations(spec, level) for level in levels(spec)]
    assert [t[1]["translation"] for t in found] == [[6.0, 0.0]] * 3
    assert [t[0]["scale"] for t in found] == [[2.0, 1.0], [4.0, 2.0], [8.0, 4.0]]


def test_datasets_are_numbered_from_the_finest() -> None:
    assert [d["path"] for d in multiscale(make_spec())["datasets"]] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, (0.0, 1.0)),
        ({"dtype": "uint8"}, (0.0, 255.0)),
        ({"dtype": "uint16"}, (0.0, 65535.0)),
        ({"value_range": (-2, 3)}, (-2.0, 3.0)),
    ],
)
def test_window_is_the_known_range_or_that_of_the_type(changes: dict[str, Any], expected: tuple[float, float]) -> None:
    assert window(make_spec(**changes)) == expected


def test_channels_have_labels_and_colours() -> None:
    spec = make_spec(channel_names=("Nucleus", "Rest"), channel_colors=((255, 0, 16), (0, 128, 255)))
    channels = omero(spec)["channels"]
    assert [(c["label"], c["color"]) for c in channels] == [("Nucleus", "FF0010"), ("Rest", "0080FF")]


def test_segmentation_is_one_channel_with_a_window_over_its_classes() -> None:
    spec = make_spec((20, 35, 33), "zyx", name="segmentation", dtype="uint8", channel_names=("a", "b"), reduce="stride")
    (channel,) = omero(spec)["channels"]
    assert channel["label"] == "segmentation"
    assert channel["window"] == {"min": 0.0, "max": 2.0, "start": 0.0, "end": 2.0}


@pytest.mark.parametrize("version", ["0.5", "0.4"])
def test_own_attributes_stand_beside_those_of_ome(version: Any) -> None:
    spec = make_spec(channel_names=("a", "b"))
    own = image_attributes(spec, version, {"digest": "d1", "provenance": {"project": "pc.ilp"}})["voxelforest"]
    assert own == {"digest": "d1", "provenance": {"project": "pc.ilp"}, "class_names": ["a", "b"]}


def test_axistags_are_those_of_the_golden_files() -> None:
    assert axistags("tzyxc", {}) == load_golden_module("make_golden").axistags("tzyxc")


def test_axistags_hold_the_spacing_where_it_is_known() -> None:
    tags = json.loads(axistags("yxc", {"y": 0.25}))["axes"]
    assert [tag["resolution"] for tag in tags] == [0.25, 0, 0]
