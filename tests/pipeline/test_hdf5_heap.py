import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import pytest

from pipeline.hdf5_heap import strings_are_sound
from pipeline.hdf5_objects import RawObjects

TEXTS = ["x" * 100, "", "another"]


def write(path: Path, texts: Sequence[str] = TEXTS, **options: Any) -> None:
    with h5py.File(path, "w", **options) as file:
        file.create_dataset("texts", data=list(texts), dtype=h5py.string_dtype())


def is_sound(path: Path, dataset: str = "texts") -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        with h5py.File(path) as file:
            return strings_are_sound(file, file[dataset], descriptor)
    finally:
        os.close(descriptor)


def patch(path: Path, at: int, data: bytes) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        file.write(data)


def first_object(path: Path) -> int:
    """Address of the first object of the first heap."""
    return path.read_bytes().index(b"GCOL\x01") + 16


def references(path: Path) -> int:
    """Address of the references of the dataset."""
    with h5py.File(path) as file:
        offset: int = file["texts"].id.get_offset()
        return offset


@pytest.mark.parametrize("userblock", [0, 512])
def test_strings_as_they_should_be(tmp_path: Path, userblock: int) -> None:
    write(tmp_path / "a.h5", userblock_size=userblock)
    assert is_sound(tmp_path / "a.h5")


def test_heaps_of_many_strings(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", [f"{k}" * (k % 7 * 100) for k in range(500)])
    assert is_sound(tmp_path / "a.h5")


@pytest.mark.parametrize(
    "damage",
    [
        bytes(16),  # free space of no size: the library would never get past it
        struct.pack("<HHIQ", 1, 0, 0, 2**64 - 1),
        struct.pack("<HHIQ", 1, 0, 0, 5000),
        struct.pack("<HHIQ", 0, 0, 0, 2**63),
    ],
)
def test_object_sizes_that_lead_nowhere(tmp_path: Path, damage: bytes) -> None:
    write(tmp_path / "a.h5")
    patch(tmp_path / "a.h5", first_object(tmp_path / "a.h5"), damage)
    assert not is_sound(tmp_path / "a.h5")


def test_heap_larger_than_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    patch(tmp_path / "a.h5", first_object(tmp_path / "a.h5") - 8, struct.pack("<Q", 2**40))
    assert not is_sound(tmp_path / "a.h5")


@pytest.mark.parametrize("address", [1, 2**40, 2**64 - 1])
def test_reference_to_no_heap(tmp_path: Path, address: int) -> None:
    write(tmp_path / "a.h5")
    patch(tmp_path / "a.h5", references(tmp_path / "a.h5") + 4, struct.pack("<Q", address))
    assert not is_sound(tmp_path / "a.h5")


def test_declared_length_above_the_file(tmp_path: Path) -> None:
    write(tmp_path / "a.h5")
    patch(tmp_path / "a.h5", references(tmp_path / "a.h5"), struct.pack("<I", 2**32 - 1))
    assert not is_sound(tmp_path / "a.h5")


def local_heap(path: Path) -> tuple[int, int]:
    """Address of the header of the last local heap, and of its first free block."""
    data = path.read_bytes()
    at = data.rindex(b"HEAP\0")
    _, first, address = struct.unpack_from("<QQQ", data, at + 8)
    return at, max(data.find(b"\x89HDF"), 0) + address + first


def has_sound_groups(path: Path) -> bool:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        RawObjects(descriptor).check_root()
    except ValueError:
        return False
    finally:
        os.close(descriptor)
    return True


@pytest.mark.parametrize("userblock", [0, 1024])
def test_free_blocks_of_a_group_in_a_circle(tmp_path: Path, userblock: int) -> None:
    path = tmp_path / "a.h5"
    write(path, userblock_size=userblock, libver="earliest")
    assert has_sound_groups(path)
    header, block = local_heap(path)
    first = path.read_bytes()[header + 16 : header + 24]
    patch(path, block, first)  # the first free block is its own successor
    assert not has_sound_groups(path)


@pytest.mark.parametrize("first", [2**64 - 1, 2**40, 10**6])
def test_free_block_outside_is_left_to_the_library(tmp_path: Path, first: int) -> None:
    path = tmp_path / "a.h5"
    write(path, libver="earliest")
    patch(path, local_heap(path)[0] + 16, struct.pack("<Q", first))
    assert has_sound_groups(path)
    with h5py.File(path) as file, pytest.raises((KeyError, RuntimeError), match="heap"):
        file["texts"]


def test_files_without_local_heaps_are_sound(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert has_sound_groups(tmp_path / "empty")
    write(tmp_path / "a.h5", libver="latest")
    assert has_sound_groups(tmp_path / "a.h5")


def test_one_text_referred_to_a_thousand_times(tmp_path: Path) -> None:
    write(tmp_path / "a.h5", ["x" * 50_000] + [""] * 999)
    at = references(tmp_path / "a.h5")
    reference = (tmp_path / "a.h5").read_bytes()[at : at + 16]
    patch(tmp_path / "a.h5", at, reference * 1000)
    assert not is_sound(tmp_path / "a.h5")


def test_strings_in_chunks_are_not_trusted(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("texts", data=TEXTS, dtype=h5py.string_dtype(), chunks=(2,))
    assert not is_sound(tmp_path / "a.h5")
