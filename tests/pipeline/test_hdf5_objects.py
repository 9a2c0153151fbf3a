"""Structures of HDF5 files that lead the library into crashes, loops and all of the memory are refused before it."""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import imagecodecs
import numpy as np
import pytest

from pipeline.errors import ProjectError, VolumeError
from pipeline.formats import open_source
from pipeline.formats.handles import close_handles
from pipeline.ilp_file import IlpFile
from tests.pipeline.formats.contract import read_whole

CHECKSUMMED = re.compile(b"OHDR|OCHK|FRHP|FHDB|BTHD|BTIN|BTLF|FAHD|FADB|EAHD|EAIB|EADB")
LONGEST_BLOCK = 4096  # bytes in which the checksum of a structure is looked for


def make(path: Path, libver: str, growing: int = 0, many: int = 0, userblock: int = 0) -> bytearray:
    """A volume with `growing` axes without an end, and `many` groups and attributes beside it."""
    limits = ((100, 64), (None, 64), (None, None))[growing]
    with h5py.File(path, "w", libver=libver, userblock_size=userblock) as file:
        options = {"chunks": (4, 64), "compression": "gzip", "maxshape": limits}
        data = file.create_dataset("raw", data=np.arange(6400, dtype="u2").reshape(100, 64), **options)
        data.attrs["axistags"] = '{"axes": [{"key": "y"}, {"key": "x"}]}'
        for number in range(many):
            file.create_group(f"group {number}")
            data.attrs[f"attribute {number}"] = "text"
        file.create_group("more")["numbers"] = [1, 2]
    return bytearray(path.read_bytes())


def outcome(path: Path) -> str:
    """Why a file is refused; empty if it is read."""
    try:
        read_whole(open_source(path))
    except VolumeError as error:
        return str(error)
    finally:
        close_handles()
    return ""


def read_as_project(path: Path) -> str | None:
    with IlpFile(path) as file:
        return file.attribute("raw", "axistags")


def refuse(path: Path, data: bytearray, reason: str) -> None:
    path.write_bytes(data)
    assert re.search(reason, outcome(path))
    with pytest.raises(ProjectError):
        read_as_project(path)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
@pytest.mark.parametrize("userblock", [0, 512])
@pytest.mark.parametrize("many", [0, 60])
def test_sound_files_are_read(tmp_path: Path, libver: str, userblock: int, many: int) -> None:
    for growing in range(3):
        make(tmp_path / "v.h5", libver, growing, many, userblock)
        assert outcome(tmp_path / "v.h5") == ""
        assert open_source(tmp_path / "v.h5").axes == "yx"


def test_tree_of_names_that_holds_itself(tmp_path: Path) -> None:
    data = make(tmp_path / "v.h5", "earliest")
    tree = data.index(b"TREE\0")
    data[tree + 5] = 1
    struct.pack_into("<Q", data, tree + 32, tree)
    refuse(tmp_path / "v.h5", data, "holds itself")


def test_tree_of_names_whose_levels_do_not_fall(tmp_path: Path) -> None:
    data = make(tmp_path / "v.h5", "earliest")
    tree = data.index(b"TREE\0")
    data[tree + 5] = 3
    struct.pack_into("<Q", data, tree + 32, data.index(b"TREE", tree + 1))
    refuse(tmp_path / "v.h5", data, "tree of a group's names is damaged")


def test_free_names_in_a_circle(tmp_path: Path) -> None:
    data = make(tmp_path / "v.h5", "earliest")
    heap = data.index(b"HEAP\0")
    (place,) = struct.unpack_from("<Q", data, heap + 24)
    struct.pack_into("<Q", data, heap + 16, 8)
    struct.pack_into("<QQ", data, place + 8, 8, 16)
    refuse(tmp_path / "v.h5", data, "free blocks do not end")


@pytest.mark.parametrize("many", [0, 60])
@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_texts_in_a_heap_that_does_not_end(tmp_path: Path, libver: str, many: int) -> None:
    data = make(tmp_path / "v.h5", libver, many=many)
    for found in re.finditer(b"GCOL", bytes(data)):
        struct.pack_into("<HxxxxxxQ", data, found.start() + 16, 0, 0)
    (tmp_path / "v.h5").write_bytes(data)
    assert open_source(tmp_path / "v.h5").axes is None  # as if it had no axistags; the rest is sound
    with pytest.raises(ProjectError, match="texts of its attributes"):
        read_as_project(tmp_path / "v.h5")


def _block_end(data: bytes, start: int) -> int:
    """Where the checksum of a structure stands."""
    for end in range(start + 8, min(start + LONGEST_BLOCK, len(data) - 4)):
        if imagecodecs.h5checksum_lookup3(data[start:end]) == int.from_bytes(data[end : end + 4], "little"):
            return end
    return 0


def change(data: bytearray, signature: bytes, edit: Callable[[int], None]) -> None:
    """Edit the first structure of a kind, and make its checksum right."""
    start = data.index(signature)
    end = _block_end(bytes(data), start)
    edit(start)
    struct.pack_into("<I", data, end, imagecodecs.h5checksum_lookup3(bytes(data[start:end])))


@pytest.mark.parametrize(
    ("at", "form", "value", "reason"),
    [
        (10, "<H", 0, "records of no size"),
        (6, "<I", 12, "no room for any"),
        (12, "<H", 99, "records of no size"),
        (24, "<H", 0xFFFF, "more than it has room for"),
        (26, "<Q", 1 << 16, "more or less than its nodes"),
    ],
)
@pytest.mark.parametrize(("growing", "many"), [(2, 0), (0, 60)], ids=["chunks", "names"])
def test_new_trees(tmp_path: Path, at: int, form: str, value: int, reason: str, growing: int, many: int) -> None:
    data = make(tmp_path / "v.h5", "latest", growing, many)
    change(data, b"BTHD", lambda start: struct.pack_into(form, data, start + at, value))
    refuse(tmp_path / "v.h5", data, reason)


@pytest.mark.parametrize(("at", "form", "value"), [(110, "<H", 0), (112, "<Q", 3), (120, "<Q", 0), (128, "<H", 2000)])
def test_new_heaps(tmp_path: Path, at: int, form: str, value: int) -> None:
    data = make(tmp_path / "v.h5", "latest", many=60)
    change(data, b"FRHP", lambda start: struct.pack_into(form, data, start + at, value))
    refuse(tmp_path / "v.h5", data, "impossible sizes")


@pytest.mark.parametrize("growing", [0, 1, 2])
@pytest.mark.parametrize("value", [0, 2**64 - 1])
def test_every_number_of_a_new_file_may_be_wrong(tmp_path: Path, growing: int, value: int) -> None:
    """With right checksums, as an enemy would have them: the process lives, and says one line if anything."""
    sound = make(tmp_path / "v.h5", "latest", growing, many=20)
    firsts = {found.group(): found.start() for found in reversed(list(CHECKSUMMED.finditer(bytes(sound))))}
    for start in firsts.values():
        end = _block_end(bytes(sound), start)
        for at in range(start + 4, min(end - 8, start + 200), 6):
            data = bytearray(sound)
            struct.pack_into("<Q", data, at, value)
            struct.pack_into("<I", data, end, imagecodecs.h5checksum_lookup3(bytes(data[start:end])))
            (tmp_path / "v.h5").write_bytes(data)
            assert "\n" not in outcome(tmp_path / "v.h5")
