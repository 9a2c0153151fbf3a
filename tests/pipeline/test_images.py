from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest

from pipeline.errors import StoreError
from pipeline.images import ImageSpec, check_names
from tests.outputs import make_spec


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"name": "a/b"}, "'a/b'"),
        ({"name": ""}, "letters"),
        ({"dims": "zcyx"}, "'zcyx'"),  # not in OME order
        ({"dims": "cczx"}, "'cczx'"),
        ({"dims": "tczx"}, "with y and x"),
        ({"shape": (2, 20, 35)}, "one length >= 1 for each of 'czyx'"),
        ({"shape": (2, 0, 35, 33)}, "(2, 0, 35, 33)"),
        ({"chunks": (2, 8, 16, 0)}, "chunks (2, 8, 16, 0)"),
        ({"chunks": (1, 8, 16, 16)}, "1 of 2 channels"),
        ({"dtype": "float64"}, "float64"),
        ({"dtype": "uint64"}, "uint64; allowed here are float32, uint8"),
        ({"reduce": "median"}, "'median'"),
        ({"channel_names": ("a", "b", "c")}, "3 names for 2 channels"),
        ({"channel_names": ("a", "b"), "channel_colors": ((1, 2, 3),)}, "1 colours for 2 channel names"),
        ({"spacing": {"z": 0.0}}, "spacing 0.0 along z"),
        ({"spacing": {"x": float("nan")}}, "spacing nan along x"),
        ({"value_range": (1, 1)}, "(1.0, 1.0)"),
        ({"shards": (2, 12, 32, 32)}, "shards (2, 12, 32, 32) do not consist of whole chunks (2, 8, 16, 16)"),
        ({"shards": (2, 8, 16, 8)}, "do not consist of whole chunks"),
        ({"shards": (8, 16, 16)}, "do not consist of whole chunks"),
    ],
)
def test_spec_that_contradicts_itself_is_refused_with_what_was_given(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError) as caught:
        ImageSpec(**{"name": "p", "dims": "czyx", "shape": (2, 20, 35, 33), "chunks": (2, 8, 16, 16),
                     "dtype": "float32", **changes})  # fmt: skip
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("shards", "kept"),
    [((2, 64, 64, 64), (2, 24, 48, 48)), ((2, 8, 16, 16), None), ((2, 8, 32, 16), (2, 8, 32, 16)), (None, None)],
)
def test_shards_are_cut_to_the_shape_and_dropped_where_they_hold_one_chunk(shards: Any, kept: Any) -> None:
    spec = make_spec(shards=shards)
    assert (spec.shards, spec.unit) == (kept, kept or spec.chunks)


def test_chunks_are_cut_to_the_shape() -> None:
    assert ImageSpec("p", "yx", (5, 100), (64, 64), "uint8").chunks == (5, 64)


def test_spec_equals_its_copies_whatever_number_types_it_was_made_of() -> None:
    spec = make_spec(spacing={"z": 2}, channel_colors=((1, 2, 3), (4, 5, 6)), channel_names=("a", "b"))
    other = make_spec(
        shape=tuple(np.array(spec.shape)),
        dtype=np.dtype("float32"),
        spacing={"z": 2.0, "t": 7.0},  # an axis that the image lacks is dropped
        channel_colors=([1, 2, 3], [4, 5, 6]),
        channel_names=["a", "b"],
    )
    assert other == spec == pickle.loads(pickle.dumps(spec))
    assert json.loads(json.dumps(other.document())) == spec.document()


@pytest.mark.parametrize("names", [[], ["a", "a"]])
def test_images_need_names_of_their_own(names: list[str]) -> None:
    with pytest.raises(StoreError, match="different names"):
        check_names([make_spec(name=name) for name in names])
