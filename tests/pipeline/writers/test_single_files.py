from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline.errors import WriteError
from pipeline.formats import open_source
from pipeline.output import read_record
from tests.oracles import load_golden_module
from tests.outputs import begin, make_spec, make_values, write_all, write_level_0

ROOT = Path(__file__).parents[3]
NAMES = ["out.h5", "out.npy", "out.tif", "out.tiff", "out.png"]
ORDERS = [  # dims of the image, axes of the file
    ("czyx", "zyxc"),
    ("czyx", "xyzc"),
    ("tczyx", "tzyxc"),
    ("tcyx", "ytxc"),
    ("cyx", "yxc"),
    ("zyx", "zyxc"),  # a segmentation has a channel axis in ilastik's files
    ("yx", "tzyxc"),
]
LENGTHS = {"t": 2, "c": 3, "z": 9, "y": 35, "x": 33}


def expected_in(order: str, dims: str, values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    full = values.reshape([LENGTHS[a] if a in dims else 1 for a in "tczyx"])
    moved = np.einsum(f"tczyx->{order + ''.join(a for a in 'tczyx' if a not in order)}", full)
    return moved.reshape([LENGTHS[a] if a in dims else 1 for a in order])


@pytest.mark.parametrize(("dims", "order"), ORDERS)
@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16"])
def test_both_formats_hold_the_values_in_the_order_asked_for(tmp_path: Path, dims: str, order: str, dtype: str) -> None:
    spec = make_spec(tuple(LENGTHS[a] for a in dims), dims, dtype=dtype)
    values = make_values(spec)
    for name in ("out.h5", "out.npy"):
        write_all(begin(tmp_path / name, spec, final_axes=order), {"probabilities": values})
    with h5py.File(tmp_path / "out.h5") as file:
        hdf5 = file["exported_data"][...]
    npy = np.load(tmp_path / "out.npy")
    assert hdf5.dtype == npy.dtype == spec.dtype
    assert np.array_equal(hdf5, expected_in(order, dims, values))
    assert np.array_equal(npy, expected_in(order, dims, values))


@pytest.mark.parametrize(
    ("dtype", "value_range", "drange"), [("float32", (0, 1), [0.0, 1.0]), ("uint8", (0, 255), [0, 255])]
)
def test_hdf5_carries_the_attributes_of_ilastik(tmp_path: Path, dtype: str, value_range: Any, drange: Any) -> None:
    spec = make_spec(dtype=dtype, value_range=value_range)
    write_all(begin(tmp_path / "out.h5", spec, final_axes="zyxc"), {"probabilities": make_values(spec)})
    with h5py.File(tmp_path / "out.h5") as file:
        data = file["exported_data"]
        assert list(file) == ["exported_data"]
        assert data.attrs["axistags"] == load_golden_module("make_golden").axistags("zyxc")
        assert data.attrs["drange"].tolist() == drange
        assert data.attrs["drange"].dtype == dtype
        assert data.attrs["display_mode"] == "default"
        assert data.chunks == (8, 16, 16, 2)


@pytest.mark.parametrize(
    ("unit", "sizes"), [("nanometer", [0.04, 0.004, 0.008]), ("µm", [40.0, 4.0, 8.0]), ("parsec", None), (None, None)]
)
def test_hdf5_says_how_large_voxels_are(tmp_path: Path, unit: str | None, sizes: list[float] | None) -> None:
    units = dict.fromkeys("zyx", unit) if unit else {}
    spec = make_spec(spacing={"z": 40.0, "y": 4.0, "x": 8.0}, units=units)
    write_all(begin(tmp_path / "out.h5", spec), {"probabilities": make_values(spec)})
    with h5py.File(tmp_path / "out.h5") as file:
        found = file["exported_data"].attrs.get("element_size_um")
    assert sizes is None if found is None else np.allclose(found, sizes or [], rtol=1e-15)
    source = open_source(tmp_path / "out.h5")
    assert source.spacing == pytest.approx(dict(zip("zyx", sizes or (40.0, 4.0, 8.0), strict=True)))
    assert source.units == (dict.fromkeys("zyx", "micrometer") if sizes else {})


def test_unknown_range_is_left_out(tmp_path: Path) -> None:
    spec = make_spec(name="features")
    write_all(begin(tmp_path / "out.h5", spec), {"features": make_values(spec)})
    with h5py.File(tmp_path / "out.h5") as file:
        assert "drange" not in file["exported_data"].attrs


def test_hdf5_is_compressed_on_wish(tmp_path: Path) -> None:
    spec = make_spec(dtype="uint16")
    values = make_values(spec) // 256
    for name, compress in (("plain.h5", False), ("packed.h5", True)):
        write_all(begin(tmp_path / name, spec, compress=compress), {"probabilities": values})
    with h5py.File(tmp_path / "plain.h5") as plain, h5py.File(tmp_path / "packed.h5") as packed:
        assert (plain["exported_data"].compression, packed["exported_data"].compression) == (None, "gzip")
        assert np.array_equal(plain["exported_data"], packed["exported_data"])
    assert (tmp_path / "packed.h5").stat().st_size < 0.8 * (tmp_path / "plain.h5").stat().st_size


def test_wish_to_compress_is_that_of_the_run_that_finishes(tmp_path: Path) -> None:
    spec = make_spec((16, 16), "yx")
    begin(tmp_path / "out.h5", spec).close()
    store = begin(tmp_path / "out.h5", spec, mode="resume", compress=True)
    with h5py.File(write_all(store, {"probabilities": make_values(spec)})) as file:
        assert file["exported_data"].compression == "gzip"


def test_single_file_keeps_no_coarser_levels_on_the_way(tmp_path: Path) -> None:
    store = begin(tmp_path / "out.npy", make_spec())
    assert store.level_blocks("probabilities") == []
    assert not (Path(store.output.partial) / "1").exists()


@pytest.mark.parametrize("name", NAMES)
def test_file_remembers_how_it_was_made(tmp_path: Path, name: str) -> None:
    spec = make_spec((2, 20, 33), "cyx", dtype="uint8")
    path = write_all(begin(tmp_path / name, spec), {"probabilities": make_values(spec)})
    record = read_record(path)
    assert record is not None
    assert (record["digest"], record["provenance"]) == ("d1", {"project": "pc.ilp"})


def test_npy_has_its_axes_and_names_beside_it(tmp_path: Path) -> None:
    spec = make_spec(channel_names=("a", "b"), spacing={"z": 2.0})
    write_all(begin(tmp_path / "out.npy", spec), {"probabilities": make_values(spec)})
    notes = json.loads((tmp_path / "out.npy.json").read_text())
    assert (notes["axes"], notes["class_names"], notes["spacing"]) == ("zyxc", ["a", "b"], {"z": 2.0})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not hdf5",
        b"\x89HDF\r\n\x1a\n",
        b"II*\0\x08\0\0\0\x01\0",
        b"MM\0*\0\0\0\0",
        b"\x89PNG\r\n\x1a\n" + bytes(60),
    ],
)
def test_file_of_others_has_no_record(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "out.npy.json").write_bytes(content)
    for name in NAMES:
        (tmp_path / name).write_bytes(content)
        assert read_record(tmp_path / name) is None


@pytest.mark.parametrize("name", NAMES)
def test_space_is_asked_for_before_the_file_is_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    spec = make_spec((32, 16), "yx", dtype="uint16")
    store = begin(tmp_path / name, spec)
    write_level_0(store, "probabilities", make_values(spec))
    monkeypatch.setattr("pipeline.writers.layout.shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(WriteError, match=r"it takes 1024 bytes and 1000 are free"):
        store.finish()
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.zarr"]


def limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


@pytest.mark.parametrize("name", ["out.zarr", *NAMES])
def test_disk_that_fills_up_midway_is_a_sentence_and_the_run_can_go_on(tmp_path: Path, name: str) -> None:
    chunk = 512 if name == "out.zarr" else 64  # a chunk of the zarr, or just the single file, passes the limit
    program = (
        "import sys\nfrom pathlib import Path\nfrom pipeline.errors import WriteError\n"
        "from tests.outputs import begin, make_spec, make_values, write_all\n"
        f"spec = make_spec((512, 512), 'yx', chunks=({chunk}, {chunk}), dtype='uint16')\n"
        "store = begin(Path(sys.argv[1]), spec, mode='resume')\n"
        "try: write_all(store, {'probabilities': make_values(spec)})\n"
        "except WriteError as error: print(error); sys.exit(error.exit_code)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / name)]
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 60, "check": False}
    failed = subprocess.run(command, preexec_fn=limit_file_size, **options)
    assert failed.returncode == 1
    assert failed.stdout.startswith("cannot write ")
    assert "File too large" in failed.stdout
    assert failed.stderr == ""
    assert [path.name for path in tmp_path.iterdir()] == ["out.partial.zarr"]
    assert subprocess.run(command, **options).returncode == 0
    assert read_record(tmp_path / name)["complete"] is True  # type: ignore[index]


@pytest.mark.parametrize("name", NAMES)
def test_pass_that_is_killed_is_made_again(tmp_path: Path, name: str) -> None:
    program = (
        "import os, signal, sys\nfrom pathlib import Path\nfrom pipeline.writers.layout import Picture\n"
        "from tests.outputs import begin, make_spec, make_values, write_all\n"
        "spec = make_spec((64, 64), 'yx', dtype='uint16')\n"
        "read, reads = Picture.read, []\n"
        "def die_midway(*arguments):\n"
        "    reads.append(0)\n"
        "    if len(reads) == 3: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return read(*arguments)\n"
        "Picture.read = die_midway\n"
        "write_all(begin(Path(sys.argv[1]), spec), {'probabilities': make_values(spec)})\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / name)]
    assert subprocess.run(command, cwd=ROOT, timeout=60, check=False).returncode == -signal.SIGKILL
    assert not (tmp_path / name).exists()
    spec = make_spec((64, 64), "yx", dtype="uint16")
    write_all(begin(tmp_path / name, spec, mode="resume"), {"probabilities": make_values(spec)})
    assert {path.name for path in tmp_path.iterdir()} - {"out.npy.json"} == {name}
    record = read_record(tmp_path / name)
    assert record is not None
    assert record["complete"] is True


@pytest.mark.parametrize("name", NAMES)
def test_record_of_a_damaged_file_is_one_or_none(tmp_path: Path, name: str) -> None:
    spec = make_spec((12, 11), "yx", dtype="uint8")
    whole = write_all(begin(tmp_path / name, spec), {"probabilities": make_values(spec)}).read_bytes()
    rng = np.random.default_rng(0)
    for number in range(150):
        damaged = bytearray(whole[: rng.integers(len(whole)) if number % 3 == 0 else None])
        for at in rng.integers(min(len(damaged), 400), size=4) if damaged else ():
            damaged[at] = rng.integers(256)
        (tmp_path / name).write_bytes(damaged)
        assert isinstance(read_record(tmp_path / name), dict | None)
