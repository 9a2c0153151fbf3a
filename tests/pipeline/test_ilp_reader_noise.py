"""Whatever bytes a project file holds, reading it succeeds or raises `ProjectError`."""

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import ProjectError
from pipeline.project import open_project
from tests.oracles import GOLDEN

SMALL = GOLDEN / "projects" / "pc_small.ilp"


def read_or_refuse(path: Path) -> None:
    """Open a project; only a refusal that names the file is allowed to come out."""
    try:
        open_project(path)
    except ProjectError as error:
        named = str(path) in error.message and error.code is not None
        if not named:
            raise AssertionError("a refusal without file or code") from error


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("noise") / "noise.ilp"


@given(st.lists(st.tuples(st.integers(0, len(SMALL.read_bytes()) - 1), st.integers(0, 255)), min_size=1, max_size=30))
@settings(max_examples=200, deadline=None)
def test_flipped_bytes_raise_project_error_and_nothing_else(scratch: Path, flips: list[tuple[int, int]]) -> None:
    data = bytearray(SMALL.read_bytes())
    for at, value in flips:
        data[at] = value
    scratch.write_bytes(data)
    read_or_refuse(scratch)


@given(st.integers(0, len(SMALL.read_bytes()) - 1), st.integers(1, 3000))
@settings(max_examples=100, deadline=None)
def test_zeroed_and_cut_out_bytes_raise_project_error(scratch: Path, at: int, length: int) -> None:
    data = SMALL.read_bytes()
    for middle in (bytes(length), b""):
        scratch.write_bytes(data[:at] + middle + data[at + length :])
        read_or_refuse(scratch)


@given(st.integers(0, len(SMALL.read_bytes()) - 1))
@settings(max_examples=100, deadline=None)
def test_truncated_file_is_not_hdf5(scratch: Path, size: int) -> None:
    scratch.write_bytes(SMALL.read_bytes()[:size])
    with pytest.raises(ProjectError) as caught:
        open_project(scratch)
    assert caught.value.code == "not_hdf5"


@given(st.binary(max_size=300))
@example(b"\x89HDF\r\n\x1a\n")
@settings(max_examples=100, deadline=None)
def test_arbitrary_bytes_are_not_hdf5(scratch: Path, data: bytes) -> None:
    for content in (data, b"\x89HDF\r\n\x1a\n" + data):
        scratch.write_bytes(content)
        with pytest.raises(ProjectError) as caught:
            open_project(scratch)
        assert caught.value.code == "not_hdf5"
