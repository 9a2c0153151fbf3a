"""Shards: several chunks a file, with the same values, the same durability, and the record of what is done."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models.v05.image import Image as Image05

from pipeline.errors import StoreError
from tests.outputs import begin, contents, make_spec, make_values, read_with_tensorstore, whole_levels, write_all

SHAPES = {"yx": (35, 33), "czyx": (2, 20, 35, 33), "tczyx": (2, 2, 9, 17, 16)}
SHARDS = {"czyx": (2, 16, 32, 32), "yx": (32, 16), "tczyx": (1, 2, 16, 64, 64)}  # tczyx: larger than the image


@pytest.mark.parametrize("dims", SHARDS)
@pytest.mark.parametrize("reduce", ["mean", "stride"])
def test_shards_hold_the_same_values_in_fewer_files(tmp_path: Path, dims: str, reduce: Any) -> None:
    plain = make_spec(SHAPES[dims], dims, dtype="uint16", reduce=reduce)
    packed = make_spec(SHAPES[dims], dims, dtype="uint16", reduce=reduce, shards=SHARDS[dims])
    values = make_values(plain)
    paths = [
        write_all(begin(tmp_path / f"{name}.zarr", spec), {"probabilities": values})
        for name, spec in (("plain", plain), ("packed", packed))
    ]
    first = zarr.open_array(paths[1], path="0", mode="r")
    assert (first.chunks, first.shards) == (packed.chunks, packed.shards)
    assert len(contents(paths[1])) < len(contents(paths[0]))
    for k, expected in enumerate(whole_levels(plain, values)):
        for path in paths:
            assert np.array_equal(np.asarray(zarr.open_array(path, path=str(k), mode="r")[...]), expected)
            assert np.array_equal(read_with_tensorstore(path / str(k), "0.5"), expected)
    assert k > 0
    Image05.from_zarr(zarr.open_group(paths[1], mode="r"))


def test_shard_is_the_record_that_its_chunks_are_done(tmp_path: Path) -> None:
    spec = make_spec((40, 40), "yx", dtype="uint8", shards=(32, 32))
    store = begin(tmp_path / "out.zarr", spec)
    store.write("probabilities", (0, 32), np.zeros((32, 8), np.uint8))  # zeros are written, too
    assert store.is_written("probabilities", (0, 32), (32, 40))
    assert not store.is_written("probabilities", (0, 0), (32, 40))
    with pytest.raises(ValueError, match=r"cuts files \(32, 32\)"):
        store.write("probabilities", (0, 0), np.zeros((16, 16), np.uint8))


def test_resumed_shards_equal_those_made_at_once_to_the_byte(tmp_path: Path) -> None:
    spec = make_spec(shards=(2, 16, 32, 32))
    values = make_values(spec)
    whole = write_all(begin(tmp_path / "whole.zarr", spec), {"probabilities": values})
    target = tmp_path / "parts" / whole.name
    target.parent.mkdir()
    begin(target, spec).write("probabilities", (0, 0, 0, 0), values[:, :16, :32, :32])
    resumed = begin(target, spec, mode="resume")
    write_all(resumed, {"probabilities": values})
    assert contents(target) == contents(whole)


def test_shards_of_another_shape_cannot_be_gone_on_with(tmp_path: Path) -> None:
    begin(tmp_path / "out.zarr", make_spec(shards=(2, 16, 32, 32))).close()
    with pytest.raises(StoreError, match=r"shards of probabilities is \[2, 16, 32, 32\], this run's"):
        begin(tmp_path / "out.zarr", make_spec(shards=(2, 16, 16, 32)), mode="resume")


def test_old_ome_zarr_knows_no_shards(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"0.4 knows no shards"):
        begin(tmp_path / "out.zarr", make_spec(shards=(2, 16, 32, 32)), version="0.4")


def test_single_file_is_made_from_shards(tmp_path: Path) -> None:
    spec = make_spec(shards=(2, 16, 32, 32))
    values = make_values(spec)
    write_all(begin(tmp_path / "out.npy", spec, final_axes="czyx"), {"probabilities": values})
    assert np.array_equal(np.load(tmp_path / "out.npy"), values)
