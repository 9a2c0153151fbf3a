from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from pipeline.sliced import SlicedArray, sliced_array


class Recorder:
    """An array that notes what it is asked for."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array
        self.keys: list[Any] = []

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.array.dtype

    def __getitem__(self, key: Any) -> Any:
        self.keys.append(key)
        return self.array[key]

    @property
    def elements(self) -> int:
        """Elements of all answers."""
        return sum(self.array[key].size for key in self.keys)


def counted(*shape: int) -> np.ndarray[Any, Any]:
    return np.arange(np.prod(shape)).reshape(shape)


@given(data=st.data())
def test_any_chain_of_indices_gives_what_numpy_gives(data: st.DataObject) -> None:
    plain = counted(*data.draw(st.tuples(*[st.integers(0, 7)] * 3)))
    source = Recorder(plain)
    lazy: Any = sliced_array(source, data.draw(st.tuples(*[st.integers(1, 4)] * 3)), "x")
    for _ in range(data.draw(st.integers(1, 4))):
        key = data.draw(nps.basic_indices(plain.shape, allow_newaxis=False))
        plain, lazy = plain[key], lazy[key]
        assert isinstance(lazy, SlicedArray)
        assert lazy.shape == plain.shape
    np.testing.assert_array_equal(lazy.compute(scheduler="sync"), plain)
    assert source.elements == plain.size  # nothing is computed and thrown away
    assert len(source.keys) == (lazy.npartitions if plain.size else len(source.keys))


@given(data=st.data())
def test_other_indices_give_what_numpy_gives(data: st.DataObject) -> None:
    plain = counted(5, 6, 4)
    lazy = sliced_array(Recorder(plain), (2, 3, 4), "x")
    part = data.draw(nps.basic_indices(plain.shape, allow_newaxis=False, allow_ellipsis=False))
    plain, lazy = plain[part], lazy[part]
    if plain.ndim and plain.shape[0]:
        chosen = data.draw(st.lists(st.integers(0, plain.shape[0] - 1), max_size=4))
        np.testing.assert_array_equal(lazy[np.array(chosen, int)].compute(scheduler="sync"), plain[chosen])
        np.testing.assert_array_equal(lazy[plain.sum() :].compute(scheduler="sync"), plain[plain.sum() :])
    np.testing.assert_array_equal(lazy[None].compute(scheduler="sync"), plain[None])


def test_whole_array_has_the_given_name_and_chunks() -> None:
    lazy = sliced_array(Recorder(counted(5, 6)), (2, 4), "base")
    assert lazy.name == "base"
    assert lazy.chunks == ((2, 2, 1), (4, 2))
    assert lazy[:, :].name == "base"
    assert lazy[...].name == "base"


def test_names_tell_parts_apart() -> None:
    lazy = sliced_array(Recorder(counted(5, 6)), (2, 4), "base")
    parts = [lazy, lazy[1:], lazy[:, 1], lazy[1], lazy[1:][1:], lazy[::-1], lazy[::2]]
    assert len({part.name for part in parts}) == len(parts)
    assert lazy[2:].name == lazy[1:][1:].name


def test_chunks_of_a_part_are_where_the_whole_is_cut() -> None:
    lazy = sliced_array(Recorder(counted(10)), (4,), "x")
    assert lazy[3:9].chunks == ((1, 4, 1),)
    assert lazy[::3].chunks == ((2, 1, 1),)
    assert lazy[::-1].chunks == ((2, 4, 4),)
    assert lazy[5:5].chunks == ((0,),)
    assert lazy[9].chunks == ()


@pytest.mark.parametrize("index", [10, -11, (0, 0)])
def test_index_outside_is_an_index_error(index: Any) -> None:
    with pytest.raises(IndexError):
        sliced_array(Recorder(counted(10)), (4,), "x")[index]


def test_part_survives_pickling_and_can_be_sliced_on() -> None:
    lazy = sliced_array(Recorder(counted(6, 6)), (4, 4), "x")[1:, 2:]
    again = pickle.loads(pickle.dumps(lazy))
    assert (again.name, again.chunks) == (lazy.name, lazy.chunks)
    assert isinstance(again[1:], SlicedArray)
    np.testing.assert_array_equal(again[1:, 0].compute(scheduler="sync"), counted(6, 6)[2:, 2])


def test_what_follows_is_an_ordinary_dask_array() -> None:
    plain = counted(6, 8)
    lazy = sliced_array(Recorder(plain), (4, 4), "x")
    np.testing.assert_array_equal((lazy[1:] * 2).sum(axis=0).compute(scheduler="sync"), (plain[1:] * 2).sum(axis=0))
    np.testing.assert_array_equal(lazy.T.rechunk(3).compute(scheduler="sync"), plain.T)
    np.testing.assert_array_equal(lazy.persist(scheduler="sync")[2].compute(scheduler="sync"), plain[2])


def test_tasks_of_thin_parts_take_several_chunks() -> None:
    plain = counted(8, 10, 12)
    source = Recorder(plain)
    lazy = sliced_array(source, (4, 3, 3), "x", merge=lambda spans: (1, 1, 1) if spans[0] > 1 else (1, 2, 3))
    assert lazy.chunks == ((4, 4), (3, 3, 3, 1), (3, 3, 3, 3))
    assert lazy[2].chunks == ((6, 4), (9, 3))
    assert lazy[2:3, 2:].chunks == ((1,), (4, 4), (9, 3))
    assert lazy[5:0].chunks == ((0,), (6, 4), (9, 3))
    np.testing.assert_array_equal(lazy[2].compute(scheduler="sync"), plain[2])
    assert len(source.keys) == 4
