from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pipeline.chunks import ensure_array, is_aligned, missing_chunks, open_array
from pipeline.local_output import LocalOutput
from pipeline.pyramid import levels
from tests.outputs import make_spec

SPEC = make_spec((20, 35, 33), "zyx")  # chunks 8, 16, 16


@pytest.fixture
def output(tmp_path: Path) -> LocalOutput:
    """A partial output without documents."""
    made = LocalOutput(tmp_path / "out.zarr")
    made.claim()
    return made


@pytest.mark.parametrize(
    ("start", "stop", "aligned"),
    [
        ((0, 0, 0), (8, 16, 16), True),
        ((8, 16, 0), (20, 35, 33), True),  # up to the image's end
        ((16, 32, 32), (20, 35, 33), True),
        ((0, 0, 0), (8, 16, 17), False),
        ((1, 0, 0), (8, 16, 16), False),
        ((0, 0, 0), (0, 16, 16), False),  # empty
        ((0, 0, 0), (24, 16, 16), False),  # past the end
        ((-8, 0, 0), (8, 16, 16), False),
    ],
)
def test_aligned_boxes_consist_of_whole_chunks(start: Any, stop: Any, aligned: bool) -> None:
    assert is_aligned(SPEC, start, stop) is aligned


@pytest.mark.parametrize(("zarr_format", "key"), [(3, "c/0/1/2"), (2, "0/1/2")])
def test_missing_chunks_are_named_by_their_keys(output: LocalOutput, zarr_format: Any, key: str) -> None:
    ensure_array(output, "a/0", SPEC, levels(SPEC)[0], zarr_format)
    array = open_array(output, "a/0", zarr_format, "token")
    assert list(missing_chunks(output, array, (7, 16, 32), (8, 17, 33))) == [key]
    assert len(list(missing_chunks(output, array, (0, 0, 0), SPEC.shape))) == 27
    array[0:8, 16:32, 32:33] = 1
    assert list(missing_chunks(output, array, (7, 16, 32), (8, 17, 33))) == []


def test_array_that_is_there_is_left_alone(output: LocalOutput) -> None:
    for _ in range(2):
        ensure_array(output, "0", SPEC, levels(SPEC)[0], 3)
        open_array(output, "0", 3, "token")[0:8] = 5
    assert open_array(output, "0", 3, "token")[0, 0, 0] == 5


def test_array_is_opened_once_for_each_token(output: LocalOutput) -> None:
    ensure_array(output, "0", SPEC, levels(SPEC)[0], 3)
    assert open_array(output, "0", 3, "a") is open_array(output, "0", 3, "a")
    assert open_array(output, "0", 3, "a") is not open_array(output, "0", 3, "b")
