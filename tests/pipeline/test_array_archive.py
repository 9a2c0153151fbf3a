"""Archives of arrays that nobody vouches for."""

from __future__ import annotations

import contextlib
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.array_archive import read_array, read_arrays
from pipeline.errors import ModelError

MOST = 1 << 20


def head(shape: str, descr: str = "'<f8'") -> bytes:
    """The beginning of an .npy file that declares anything."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def npz(path: Path, contents: bytes) -> Path:
    """An archive with one array `a` of these bytes."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.npy", contents)
    return path


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_of_numpy_come_back(tmp_path: Path, save: Callable[..., None]) -> None:
    arrays = {
        "ints": np.arange(6, dtype=">i2").reshape(2, 3),
        "turned": np.asfortranarray(np.random.default_rng(0).normal(size=(3, 4))),
        "text": np.array(["a", "ß∂"]),
        "one": np.array(5),
        "none": np.zeros((0, 3)),
        "flags": np.array([True, False]),
    }
    save(tmp_path / "a.npz", **arrays, ignored=np.zeros(3))
    back = read_arrays(tmp_path / "a.npz", arrays, MOST)
    for name, values in arrays.items():
        assert np.array_equal(back[name], values)
        assert back[name].dtype == values.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    ("contents", "says"),
    [
        (head("(2,)") + bytes(8), "cut off"),
        (head("(1,)") + bytes(9), "longer than it says"),
        (head("(1 << 60,)") + bytes(8), "not a readable"),
        (head(f"({1 << 62},)") + bytes(8), "cut off"),
        (head("(-1, -1)") + bytes(8), "not a readable"),
        (head("1") + bytes(8), "not a readable"),
        (head("(1,)", "'|O'") + bytes(8), "numbers and text are allowed"),
        (head("(1,)", "[('a', '<f8')]") + bytes(8), "numbers and text are allowed"),
        (head("(1,)", "'<c16'") + bytes(16), "numbers and text are allowed"),
        (head("(1,)", "'<U2'") + b"\xff" * 8, "no characters"),
        (head("(" * 5000) + bytes(8), "not a readable"),
        (b"\x93NUMPY\x07\x00", "not a readable"),
        (b"", "not a readable"),
    ],
)
def test_array_that_cannot_be_read(tmp_path: Path, contents: bytes, says: str) -> None:
    with pytest.raises(ModelError, match=says) as error:
        read_arrays(npz(tmp_path / "a.npz", contents), ["a"], MOST)
    assert error.value.code == "not_npz"
    (tmp_path / "a.npy").write_bytes(contents)
    with pytest.raises(ModelError, match=says):
        read_array(tmp_path / "a.npy", MOST)


def test_what_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    os.mkfifo(tmp_path / "pipe")
    for name, says in (("text", "not a readable"), ("pipe", "no regular file"), ("absent", "cannot be opened")):
        with pytest.raises(ModelError, match=says):
            read_arrays(tmp_path / name, ["a"], MOST)
    with pytest.raises(ModelError, match="no regular file"):
        read_arrays(tmp_path, ["a"], MOST)
    np.savez(tmp_path / "a.npz", b=np.zeros(2))
    with pytest.raises(ModelError, match="has no array a, c"):
        read_arrays(tmp_path / "a.npz", ["a", "b", "c"], MOST)


def test_bombs_are_refused_unread(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "bomb.npz", a=np.zeros(MOST))
    assert (tmp_path / "bomb.npz").stat().st_size < MOST
    with pytest.raises(ModelError, match="declares 8388736 bytes") as error:
        read_arrays(tmp_path / "bomb.npz", ["a"], MOST)
    assert error.value.code == "too_large"
    np.savez(tmp_path / "large.npz", a=np.zeros(MOST // 8), b=np.zeros(2))
    with pytest.raises(ModelError, match="declares"):
        read_arrays(tmp_path / "large.npz", ["b"], MOST)
    with (
        zipfile.ZipFile(npz(tmp_path / "twice.npz", head("(0,)")), "a") as archive,
        pytest.warns(UserWarning, match="Dup"),
    ):
        archive.writestr("a.npy", head("(0,)"))
    with pytest.raises(ModelError, match="twice"):
        read_arrays(tmp_path / "twice.npz", ["a"], MOST)


def test_size_that_lies_is_found(tmp_path: Path) -> None:
    """The archive says that the array is small; what unpacks is cut there."""
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros(MOST))
    contents = bytearray(path.read_bytes())
    declared = (MOST * 8 + 128).to_bytes(4, "little")
    for _ in range(contents.count(declared)):
        at = contents.index(declared)
        contents[at : at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(contents)
    with pytest.raises(ModelError):
        read_arrays(path, ["a"], MOST)


@given(data=st.data())
def test_damaged_archives_are_refused_or_read(data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, a=np.arange(50.0))
    contents = bytearray(buffer.getvalue())
    for _ in range(data.draw(st.integers(1, 3))):
        contents[data.draw(st.integers(0, len(contents) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("damaged") / "a.npz"
    path.write_bytes(contents)
    with contextlib.suppress(ModelError):  # and no other exception
        assert set(read_arrays(path, ["a"], MOST)) == {"a"}
