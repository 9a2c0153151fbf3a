from __future__ import annotations

import json
import pickle
import shutil
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr_models.v04.image import Image as Image04
from ome_zarr_models.v05.image import Image as Image05

from pipeline.errors import StoreError, WriteError
from pipeline.output import read_record
from pipeline.pyramid import chunk_boxes, levels
from pipeline.store import Store, create, estimate_bytes
from tests.outputs import (
    begin,
    contents,
    make_spec,
    make_values,
    read_with_tensorstore,
    whole_levels,
    write_all,
    write_level_0,
)

ROOT = Path(__file__).parents[2]
VERSIONS = ["0.5", "0.4"]
SHAPES = {"yx": (35, 33), "cyx": (3, 35, 33), "zyx": (20, 35, 33), "czyx": (2, 20, 35, 33), "tczyx": (2, 2, 9, 17, 16)}


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("dims", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16"])
def test_zarr_is_read_back_by_zarr_and_tensorstore(tmp_path: Path, version: Any, dims: str, dtype: str) -> None:
    spec = make_spec(SHAPES[dims], dims, dtype=dtype)
    values = make_values(spec)
    path = write_all(begin(tmp_path / "out.zarr", spec, version=version), {"probabilities": values})
    group = zarr.open_group(path, mode="r")
    for k, expected in enumerate(whole_levels(spec, values)):
        array = group[str(k)]
        assert isinstance(array, zarr.Array)
        assert array.dtype == spec.dtype
        assert np.array_equal(np.asarray(array[...]), expected)
        assert np.array_equal(read_with_tensorstore(path / str(k), version), expected)
    assert str(k + 1) not in group


@pytest.mark.parametrize(("version", "model"), [("0.5", Image05), ("0.4", Image04)])
def test_finished_zarr_passes_the_models_of_ome(tmp_path: Path, version: Any, model: Any) -> None:
    spec = make_spec(channel_names=("a", "b"), spacing={"z": 2.0}, units={"z": "micrometer"})
    path = write_all(begin(tmp_path / "out.zarr", spec, version=version), {"probabilities": make_values(spec)})
    image = model.from_zarr(zarr.open_group(path, mode="r"))
    multiscale = (image.ome_attributes if version == "0.5" else image.attributes).multiscales[0]
    assert len(multiscale.datasets) == len(levels(spec))


def test_zarr_v3_document_is_the_agreed_one(tmp_path: Path) -> None:
    store = begin(tmp_path / "out.zarr", make_spec(dtype="uint16"))
    document = json.loads((Path(store.output.partial) / "0" / "zarr.json").read_text())
    assert document["dimension_names"] == ["c", "z", "y", "x"]
    assert document["chunk_key_encoding"] == {"name": "default", "configuration": {"separator": "/"}}
    assert document["chunk_grid"]["configuration"]["chunk_shape"] == [2, 8, 16, 16]
    assert [codec["name"] for codec in document["codecs"]] == ["bytes", "zstd"]
    assert document["codecs"][1]["configuration"]["level"] == 1


def test_zarr_v2_document_is_the_agreed_one(tmp_path: Path) -> None:
    store = begin(tmp_path / "out.zarr", make_spec(dtype="uint16"), version="0.4")
    document = json.loads((Path(store.output.partial) / "0" / ".zarray").read_text())
    assert document["dimension_separator"] == "/"
    assert document["compressor"] == {"id": "zstd", "level": 1}
    assert document["dtype"] == "<u2"


def test_several_images_get_a_group_each_and_the_root_lists_them(tmp_path: Path) -> None:
    first = make_spec()
    second = make_spec((20, 35, 33), "zyx", name="segmentation", dtype="uint8", reduce="stride")
    values = {spec.name: make_values(spec) for spec in (first, second)}
    path = write_all(begin(tmp_path / "out.zarr", first, second), values)
    record = read_record(path)
    assert record is not None
    assert [image["name"] for image in record["images"]] == list(values)
    for name, array in values.items():
        group = zarr.open_group(path, path=name, mode="r")
        Image05.from_zarr(group)
        assert np.array_equal(np.asarray(group["0"][...]), array)  # type: ignore[index]


@pytest.mark.parametrize("version", VERSIONS)
def test_chunks_of_zeros_have_files_too(tmp_path: Path, version: Any) -> None:
    spec = make_spec(dtype="uint8")
    store = begin(tmp_path / "out.zarr", spec, version=version)
    write_level_0(store, "probabilities", np.zeros(spec.shape, np.uint8))
    assert store.is_written("probabilities", (0, 0, 0, 0), spec.shape)


def test_written_is_what_has_a_file(tmp_path: Path) -> None:
    spec = make_spec()
    store = begin(tmp_path / "out.zarr", spec)
    store.write("probabilities", (0, 8, 16, 0), np.ones((2, 8, 16, 32), np.float32))
    assert store.is_written("probabilities", (0, 8, 16, 0), (2, 16, 32, 32))
    assert store.is_written("probabilities", (0, 9, 17, 30), (2, 10, 18, 31))
    assert not store.is_written("probabilities", (0, 8, 16, 0), (2, 16, 32, 33))
    assert not store.is_written("probabilities", (0, 7, 16, 0), (2, 16, 32, 32))


@pytest.mark.parametrize(
    ("start", "shape", "dtype"),
    [
        ((0, 4, 0, 0), (2, 8, 16, 16), "float32"),  # starts inside a chunk
        ((0, 0, 0, 0), (2, 8, 16, 15), "float32"),  # ends inside a chunk
        ((0, 16, 32, 32), (2, 4, 3, 2), "float32"),  # past the end
        ((0, -8, 0, 0), (2, 8, 16, 16), "float32"),
        ((0, 0, 0, 0), (2, 8, 16, 16), "float64"),
    ],
)
def test_writing_a_part_of_a_chunk_or_another_type_is_refused(
    tmp_path: Path, start: tuple[int, ...], shape: tuple[int, ...], dtype: str
) -> None:
    store = begin(tmp_path / "out.zarr", make_spec())
    with pytest.raises(ValueError, match="image probabilities"):
        store.write("probabilities", start, np.zeros(shape, dtype))


def test_unknown_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyError, match="no image 'labels', only"):
        begin(tmp_path / "out.zarr", make_spec()).image("labels")


def test_level_is_not_built_before_the_one_below_is_complete(tmp_path: Path) -> None:
    store = begin(tmp_path / "out.zarr", make_spec())
    with pytest.raises(WriteError, match="level 1 of image probabilities cannot be built before level 0"):
        store.build_level_block("probabilities", *store.level_blocks("probabilities")[0][0])


def test_output_is_not_finished_while_chunks_are_missing(tmp_path: Path) -> None:
    store = begin(tmp_path / "out.zarr", make_spec())
    with pytest.raises(WriteError, match="level 0 of image probabilities lacks 27 chunks"):
        store.finish()
    assert not (tmp_path / "out.zarr").exists()


@pytest.mark.parametrize("name", ["out.zarr", "out.h5", "out.npy"])
def test_partial_output_is_no_image_and_says_so(tmp_path: Path, name: str) -> None:
    spec = make_spec()
    write_level_0(begin(tmp_path / name, spec), "probabilities", make_values(spec))
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.zarr"]
    attributes: dict[str, Any] = json.loads((tmp_path / "out.partial.zarr/zarr.json").read_text())["attributes"]
    assert "ome" not in attributes
    assert attributes["voxelforest"]["complete"] is False


@pytest.mark.parametrize("version", VERSIONS)
def test_resumed_output_equals_one_made_at_once_to_the_byte(tmp_path: Path, version: Any) -> None:
    spec = make_spec()
    values = make_values(spec)
    whole = write_all(begin(tmp_path / "whole.zarr", spec, version=version), {"probabilities": values})
    target = tmp_path / "parts" / whole.name
    target.parent.mkdir()
    begin(target, spec, version=version).write("probabilities", (0, 0, 0, 0), values[:, :8, :16, :16])
    resumed = begin(target, spec, version=version, mode="resume", provenance={"project": "moved.ilp"})
    write_all(resumed, {"probabilities": values})
    assert contents(target) == contents(whole)


def test_orphans_of_killed_writers_are_swept_and_chunks_kept(tmp_path: Path) -> None:
    spec = make_spec()
    store = begin(tmp_path / "out.zarr", spec)
    store.write("probabilities", (0, 0, 0, 0), np.ones((2, 8, 16, 16), np.float32))
    chunk = Path(store.output.partial) / "0/c/0/0/0/0"
    orphan = chunk.with_name("0.0123abcd.partial")
    orphan.write_bytes(b"half a chunk")
    again = begin(tmp_path / "out.zarr", spec, mode="resume")
    assert not orphan.exists()
    assert again.is_written("probabilities", (0, 0, 0, 0), (2, 8, 16, 16))


@pytest.mark.parametrize("name", ["out.zarr", "out.h5"])
def test_killed_run_goes_on_and_each_chunk_is_whole_or_absent(tmp_path: Path, name: str) -> None:
    program = (
        "import os, signal, sys, threading\nfrom pathlib import Path\n"
        "from tests.outputs import begin, make_spec, make_values, write_level_0\n"
        "spec = make_spec((64, 128, 128), 'zyx')\nstore = begin(Path(sys.argv[1]), spec)\n"
        "threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGKILL)).start()\n"
        "while True: write_level_0(store, 'probabilities', make_values(spec))\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / name)]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGKILL
    spec = make_spec((64, 128, 128), "zyx")
    store = begin(tmp_path / name, spec, mode="resume")
    values = make_values(spec)
    for start, stop in chunk_boxes(spec.shape, spec.chunks):
        box = tuple(slice(a, b) for a, b in zip(start, stop, strict=True))
        if store.is_written("probabilities", start, stop):
            assert np.array_equal(np.asarray(store.array("probabilities")[box]), values[box])
    assert not list(Path(store.output.partial).rglob("*.partial"))
    write_all(store, {"probabilities": values})


def test_creation_killed_between_documents_is_completed(tmp_path: Path) -> None:
    spec = make_spec()
    first = begin(tmp_path / "out.zarr", spec)
    shutil.rmtree(Path(first.output.partial) / "1")
    store = begin(tmp_path / "out.zarr", spec, mode="resume")
    write_all(store, {"probabilities": make_values(spec)})


def test_store_works_in_other_threads_and_after_pickling(tmp_path: Path) -> None:
    spec = make_spec()
    values = make_values(spec)
    store: Store = pickle.loads(pickle.dumps(begin(tmp_path / "out.zarr", spec)))
    go = threading.Barrier(4)

    def write(_: int) -> None:
        go.wait(10)
        for z in range(0, 20, 8):  # all write the same chunks at once
            store.write("probabilities", (0, z, 0, 0), values[:, z : z + 8])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(4)))
    path = write_all(store, {"probabilities": values})
    assert np.array_equal(np.asarray(zarr.open_array(path, path="0", mode="r")[...]), values)
    assert not list(path.rglob("*.partial"))


def test_pickled_store_is_small(tmp_path: Path) -> None:
    assert len(pickle.dumps(begin(tmp_path / "out.zarr", make_spec()))) < 4000


def test_output_made_again_at_the_same_place_is_not_mixed_up_with_the_old(tmp_path: Path) -> None:
    begin(tmp_path / "out.zarr", make_spec()).abandon()
    other = make_spec((2, 9, 50, 40), dtype="uint8")
    path = write_all(begin(tmp_path / "out.zarr", other), {"probabilities": make_values(other)})
    assert zarr.open_array(path, path="0", mode="r").shape == other.shape


def test_abandoned_output_leaves_nothing(tmp_path: Path) -> None:
    begin(tmp_path / "out.zarr", make_spec()).abandon()
    assert list(tmp_path.iterdir()) == []


def test_name_taken_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    spec = make_spec((16, 16), "yx")
    store = begin(tmp_path / "out.npy", spec)
    (tmp_path / "out.npy").write_text("mine")
    with pytest.raises(StoreError, match="has appeared meanwhile"):
        write_all(store, {"probabilities": make_values(spec)})
    assert (tmp_path / "out.npy").read_text() == "mine"


def test_system_error_while_creating_is_told_in_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, *args: Any, **kwargs: Any) -> None:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(StoreError, match=r"cannot create .*out.partial.zarr: Permission denied") as caught:
        begin(tmp_path / "out.zarr", make_spec())
    assert caught.value.exit_code == 2


def test_full_disk_is_a_write_error_that_names_path_and_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = begin(tmp_path / "out.zarr", make_spec())

    def fail(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pipeline.durability.os.fsync", fail)
    with pytest.raises(WriteError, match=r"cannot write .*out.partial.zarr: No space left on device") as caught:
        store.write("probabilities", (0, 0, 0, 0), np.ones((2, 8, 16, 16), np.float32))
    assert caught.value.exit_code == 1
    assert not list(Path(store.output.partial).rglob("*.partial"))


def test_create_and_estimate_are_what_the_module_offers(tmp_path: Path) -> None:
    spec = make_spec()
    assert create(tmp_path / "a.zarr", [spec], provenance={}, digest="d", final_axes="").images == (spec,)
    assert estimate_bytes([spec]) > spec.size * 4
