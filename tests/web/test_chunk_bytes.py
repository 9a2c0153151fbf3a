"""Bodies of chunks."""

from __future__ import annotations

import gzip

import imagecodecs
import numpy as np
import pytest

from web.chunk_bytes import gzipped, precomputed_bytes, zarr_bytes


@pytest.mark.parametrize("dtype", [">u2", "<f4", "u1", "<u8"])
def test_zarr_chunk_is_padded_with_zeros_and_little_endian(dtype: str) -> None:
    values = np.arange(1, 7).reshape(2, 3).astype(dtype)
    little = np.dtype(dtype).newbyteorder("<")
    found = np.frombuffer(imagecodecs.zstd_decode(zarr_bytes(values, (3, 4))), little).reshape(3, 4)
    assert np.array_equal(found, np.pad(values, ((0, 1), (0, 1))))


def test_precomputed_chunk_is_as_it_is() -> None:
    values = np.arange(24, dtype=">u2").reshape(2, 3, 4)
    assert precomputed_bytes(values[:, ::-1]) == values[:, ::-1].astype("<u2").tobytes()


def test_packed_bytes_do_not_depend_on_the_time() -> None:
    assert gzip.decompress(gzipped(b"abc" * 99)) == b"abc" * 99
    assert gzipped(b"abc" * 99)[4:8] == bytes(4)
