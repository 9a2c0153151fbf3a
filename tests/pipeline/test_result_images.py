"""Layout of results as images, and places of blocks in them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from pipeline.blocks import Box
from pipeline.config import settings
from pipeline.images import ImageSpec
from pipeline.region import parse_region
from pipeline.result_images import corners, final_axes, is_written, place, specify
from pipeline.run import Request, make_plan
from pipeline.volume import open_raw
from tests.outputs import begin, make_spec, make_values
from tests.runs import make_request, run_quietly


def specify_request(request: Request) -> tuple[ImageSpec, ...]:
    return specify(make_plan(request), request.volume, request.project.stages[-1])


def test_images_have_the_axes_of_the_volume_and_names_and_colours_of_the_project(golden_dir: Path) -> None:
    names = ("probabilities", "segmentation", "uncertainty", "features")
    request = make_request(golden_dir, Path("out.zarr"), "pc_2d3c", outputs=names, dtype="uint8")
    images = {spec.name: spec for spec in specify_request(request)}
    stage = request.project.stages[0]
    features = stage.features.names(3, 1)
    assert {name: (spec.dims, spec.shape, spec.dtype) for name, spec in images.items()} == {
        "probabilities": ("cyx", (3, 60, 52), "uint8"),
        "segmentation": ("yx", (60, 52), "uint8"),
        "uncertainty": ("yx", (60, 52), "uint8"),
        "features": ("cyx", (len(features), 60, 52), "float32"),
    }
    for name in ("probabilities", "segmentation"):
        assert images[name].channel_names == stage.class_names
        assert images[name].channel_colors == stage.class_colors
    assert images["features"].channel_names == features
    assert [images[name].reduce for name in names] == ["mean", "stride", "mean", "mean"]
    assert images["probabilities"].value_range == (0, 255)


def test_a_region_keeps_its_place_in_the_volume(golden_dir: Path) -> None:
    request = make_request(golden_dir, Path("out.zarr"))
    region = parse_region("z=5:30,x=9:10", request.volume.whole, "zyx")
    (spec,) = specify_request(replace(request, region=region))
    assert spec.shape == (3, 25, 40, 1)
    assert {axis: spec.origin[axis] for axis in "zyx"} == {"z": 5.0, "y": 0.0, "x": 9.0}


@pytest.mark.parametrize(
    ("shape", "axes", "expected"),
    [((9, 8), "xy", "xyc"), ((9, 8, 3), "yxc", "yxc"), ((3, 9, 8), "cyx", "yxc"), ((2, 5, 9, 8), "tzyx", "tzyxc")],
)
def test_single_files_have_the_order_of_the_input_then_channels(
    tmp_path: Path, shape: tuple[int, ...], axes: str, expected: str
) -> None:
    np.save(tmp_path / "raw.npy", np.zeros(shape, np.uint8))
    assert final_axes(open_raw(tmp_path / "raw.npy", axes=axes)) == expected


BLOCK = Box((1, 12, 16, 0), (2, 20, 32, 16))
REGION = Box((0, 4, 0, 0), (2, 24, 35, 33))


@pytest.mark.parametrize(
    ("dims", "start", "stop"),
    [
        ("zyx", (8, 16, 0), (16, 32, 16)),
        ("tczyx", (1, 0, 8, 16, 0), (2, 2, 16, 32, 16)),
        ("cyx", (0, 16, 0), (2, 32, 16)),
    ],
)
def test_corners_of_a_block_count_from_the_region_and_take_all_channels(dims: str, start: Any, stop: Any) -> None:
    shape = tuple({"t": 2, "c": 2, "z": 20, "y": 35, "x": 33}[axis] for axis in dims)
    assert corners(make_spec(shape, dims), BLOCK, REGION) == (start, stop)


def test_values_of_a_block_are_put_over_the_axes_of_the_image() -> None:
    values = np.arange(2 * 16 * 16).reshape(1, 2, 1, 16, 16)
    flat = Box((0, 0, 0, 0), (1, 1, 35, 33))
    start, placed = place(make_spec((2, 35, 33), "cyx"), values, Box((0, 0, 16, 0), (1, 1, 32, 16)), flat)
    assert start == (0, 16, 0)
    assert np.array_equal(placed, values[0, :, 0])


def test_a_block_is_written_once_every_image_has_it(tmp_path: Path) -> None:
    specs = make_spec(), make_spec((20, 35, 33), "zyx", name="segmentation", dtype="uint8", reduce="stride")
    store = begin(tmp_path / "out.zarr", *specs)
    block, region = Box((0, 0, 0, 0), (1, 8, 16, 16)), Box((0, 0, 0, 0), (1, 20, 35, 33))
    for spec in specs:
        assert not is_written(store, block, region)
        start, stop = corners(spec, block, region)
        store.write(spec.name, start, make_values(spec)[tuple(slice(a, b) for a, b in zip(start, stop, strict=True))])
    assert is_written(store, block, region)


def test_many_chunks_are_packed_into_a_shard_a_block(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VOXELFOREST_CHUNK_VOXELS", "512")
    monkeypatch.setenv("VOXELFOREST_BLOCK_VOXELS", "8192")
    monkeypatch.setenv("VOXELFOREST_SHARD_ABOVE", "10")
    settings.cache_clear()
    try:
        request = make_request(golden_dir, tmp_path / "packed.zarr", outputs=("probabilities", "segmentation"))
        plan = make_plan(request)
        packed = specify_request(request)
        old = specify(plan, request.volume, request.project.stages[-1], "0.4")
        run_quietly(request)
        monkeypatch.setenv("VOXELFOREST_SHARD_ABOVE", "100000")
        settings.cache_clear()
        run_quietly(replace(request, path=tmp_path / "plain.zarr"))
    finally:
        settings.cache_clear()
    assert plan.block != plan.chunk
    assert [spec.shards for spec in old] == [None, None]
    for spec in packed:
        assert spec.shards is not None
        assert all(s - c < b <= s for s, c, b in zip(spec.shards[-3:], plan.chunk[1:], plan.block[1:], strict=True))
        arrays = [
            zarr.open_array(tmp_path / name, path=f"{spec.name}/0", mode="r") for name in ("packed.zarr", "plain.zarr")
        ]
        assert [array.shards for array in arrays] == [spec.shards, None]
        assert np.array_equal(np.asarray(arrays[0][...]), np.asarray(arrays[1][...]))
        files = list((tmp_path / "packed.zarr" / spec.name / "0" / "c").rglob("*"))
        assert sum(file.is_file() for file in files) == plan.n_tasks
