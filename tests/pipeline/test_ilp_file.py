import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from pipeline import ilp_file
from pipeline.config import Settings
from pipeline.errors import ProjectError
from pipeline.ilp_file import IlpFile

Make = Callable[[Callable[[h5py.File], Any]], Path]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def write(fill: Callable[[h5py.File], Any]) -> Path:
        with h5py.File(tmp_path / "a.ilp", "w") as file:
            fill(file)
        return tmp_path / "a.ilp"

    return write


def code_of(path: Path, use: Callable[[IlpFile], Any]) -> str | None:
    with pytest.raises(ProjectError) as caught, IlpFile(path) as file:
        use(file)
    assert str(path) in caught.value.message
    return caught.value.code


def test_missing_things_are_none(make: Make) -> None:
    path = make(lambda f: f.create_dataset("a/b", data=3))
    with IlpFile(path) as file:
        assert file.array("a/b") == 3
        for missing in ("", "a", "c", "a/c", "c/d", "a/b/c", "a/", ".", "a/./b"):
            assert file.array(missing) is None
        assert file.names("a") == ["b"]
        assert file.names("a/b") == file.names("c") == []
        assert (file.has("a/b"), file.has_group("a/b"), file.has_group("a")) == (True, False, True)


def test_data_without_extent_is_none_and_empty_data_is_empty(make: Make) -> None:
    def fill(f: h5py.File) -> None:
        f["null"] = h5py.Empty("f8")
        f["empty"] = np.zeros((0, 3))
        f.create_dataset("no strings", shape=(0,), dtype=h5py.string_dtype())

    with IlpFile(make(fill)) as file:
        assert file.array("null") is None
        empty = file.array("empty")
        assert empty is not None
        assert empty.shape == (0, 3)
        assert file.strings("no strings") == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("aé", "aé"),
        (np.bytes_(b"fixed"), "fixed"),
        (np.array([b"one"]), "one"),
        (np.array([b"one", b"two"]), None),
        (np.bytes_(b"\xff\xfe"), None),
        (3.0, None),
        (np.void(b"abc"), None),
    ],
)
def test_text_is_one_string_in_utf8(make: Make, value: Any, text: str | None) -> None:
    with IlpFile(make(lambda f: f.create_dataset("a", data=value))) as file:
        assert file.text("a") == text


@pytest.mark.parametrize("link", [h5py.SoftLink("/real"), h5py.ExternalLink("b.ilp", "/real"), h5py.SoftLink("/no")])
def test_links_are_not_followed(make: Make, link: Any) -> None:
    def fill(f: h5py.File) -> None:
        f["real/x"] = 1
        f["link"] = link

    path = make(fill)
    with h5py.File(path.with_name("b.ilp"), "w") as other:
        other["real/x"] = 1
    assert code_of(path, lambda file: file.array("link/x")) == "unsafe_link"
    assert code_of(path, lambda file: file.names("link")) == "unsafe_link"
    with IlpFile(path) as file:
        assert file.array("real/x") == 1


def test_data_stored_outside_is_not_read(make: Make) -> None:
    def fill(f: h5py.File) -> None:
        f.create_dataset("external", shape=(4,), dtype="u1", external=[("/etc/hostname", 0, 4)])
        layout = h5py.VirtualLayout(shape=(4,), dtype="u1")
        layout[:] = h5py.VirtualSource("b.ilp", "x", shape=(4,))
        f.create_virtual_dataset("virtual", layout)

    path = make(fill)
    assert code_of(path, lambda file: file.array("external")) == "unsafe_link"
    assert code_of(path, lambda file: file.array("virtual")) == "unsafe_link"


@pytest.mark.parametrize(
    ("shape", "dtype", "chunks"),
    [
        ((2**40,), "i4", (1024,)),
        ((2**20, 2**20), "?", (1024, 1024)),
        ((10**8,), "f8", (1024,)),  # within the number of elements, but nothing is stored
        ((1,), "S100000000", (1,)),
        ((10**8,), "f8", None),
        ((2**30, 0), "f8", (2**12, 2**12)),  # no element, but a chunk to be allocated
    ],
)
def test_declared_sizes_are_not_allocated(
    make: Make, shape: tuple[int, ...], dtype: str, chunks: tuple[int, ...] | None
) -> None:
    path = make(lambda f: f.create_dataset("a", shape, dtype, chunks=chunks, maxshape=chunks and (None,) * len(shape)))
    assert code_of(path, lambda file: file.array("a")) == "too_large"


def test_compressed_data_is_read(make: Make) -> None:
    path = make(lambda f: f.create_dataset("a", data=np.zeros(1_000_000), chunks=(100_000,), compression="gzip"))
    with IlpFile(path) as file:
        values = file.array("a")
        assert values is not None
        assert values.shape == (1_000_000,)


def test_the_same_data_again_and_again_is_too_large(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ilp_file, "settings", lambda: Settings(ilp_elements=1000))
    path = make(lambda f: f.create_dataset("a", data=np.zeros(300)))
    assert code_of(path, lambda file: [file.array("a") for _ in range(4)]) == "too_large"


@pytest.mark.parametrize(
    ("value", "marked"),
    [(True, True), (False, False), (np.int64(1), True), ("yes", False), (np.array([True]), False)],
)
def test_placeholders_are_marked_by_a_plain_flag(make: Make, value: Any, marked: bool) -> None:
    def fill(f: h5py.File) -> None:
        f["a"] = 6.9e-310
        f["a"].attrs["isEmpty"] = value
        f["b"] = 1

    with IlpFile(make(fill)) as file:
        assert file.is_marked_empty("a") is marked
        assert not file.is_marked_empty("b")
        assert not file.is_marked_empty("c")


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", "No such file"),
        ("folder", "is a folder"),
        ("pipe", "no regular file"),
        ("empty", "not a readable HDF5"),
    ],
)
def test_what_is_no_file(tmp_path: Path, kind: str, says: str) -> None:
    path = tmp_path / "a.ilp"
    makers = {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "empty": path.touch}
    makers.get(kind, lambda: None)()
    with pytest.raises(ProjectError, match=says) as caught:
        IlpFile(path)
    assert caught.value.code == "not_hdf5"


def test_locked_file_says_what_to_do(make: Make) -> None:
    path = make(lambda f: f.create_dataset("a", data=1))
    with open(path, "r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ProjectError, match="close it in ilastik"):
            IlpFile(path)
    IlpFile(path).close()


def test_path_with_a_null_is_refused() -> None:
    with pytest.raises(ProjectError, match="null"):
        IlpFile("a\0b.ilp")


def test_damage_in_the_data_is_named(make: Make) -> None:
    path = make(lambda f: f.create_dataset("a", data=np.arange(10_000), compression="gzip"))
    with h5py.File(path) as file:
        chunk = file["a"].id.get_chunk_info(0)
    data = bytearray(path.read_bytes())
    data[chunk.byte_offset : chunk.byte_offset + 100] = bytes(100)
    path.write_bytes(data)
    assert code_of(path, lambda file: file.array("a")) == "not_hdf5"


def test_nothing_stays_open(make: Make) -> None:
    path = make(lambda f: f.create_dataset("a", data=1))
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        with IlpFile(path) as file:
            file.array("a")
        with pytest.raises(ProjectError):
            IlpFile(path.parent)
    path.write_bytes(b"no project")
    with pytest.raises(ProjectError):
        IlpFile(path)
    assert len(os.listdir("/proc/self/fd")) == before
