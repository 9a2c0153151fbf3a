"""Files that are encoded without Zarr hold what Zarr would have written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from pipeline.encoding import crc32c, encode_files
from pipeline.pyramid import levels
from tests.outputs import begin, make_spec, make_values, read_with_tensorstore


@pytest.mark.parametrize("version", ["0.5", "0.4"])
@pytest.mark.parametrize("dtype", ["float32", "uint8", "uint16", "uint64"])
def test_chunks_are_zarrs_own_to_the_byte(tmp_path: Path, version: Any, dtype: str) -> None:
    spec = make_spec(dtype=dtype, reduce="stride")
    values = make_values(spec)
    array = begin(tmp_path / "out.zarr", spec, version=version).array("probabilities")
    array[...] = values
    files = dict(encode_files(levels(spec)[0], (0, 0, 0, 0), values))
    assert len(files) == 27
    for index, contents in files.items():
        path = tmp_path / "out.partial.zarr" / "0" / array.metadata.encode_chunk_key(index)
        assert path.read_bytes() == contents


def test_shards_are_read_by_others_and_hold_no_chunk_outside_the_image(tmp_path: Path) -> None:
    spec = make_spec(shards=(2, 16, 32, 32))
    values = make_values(spec)
    store = begin(tmp_path / "out.zarr", spec)
    store.write("probabilities", (0, 0, 0, 0), values)
    folder = store.output.partial / "0"  # type: ignore[operator]
    assert np.array_equal(np.asarray(zarr.open_array(folder, mode="r")[...]), values)
    assert np.array_equal(read_with_tensorstore(folder, "0.5"), values)
    last = np.frombuffer((folder / "c/0/1/1/1").read_bytes()[-132:-4], "<u8").reshape(8, 2)
    assert (last[1:] == 2**64 - 1).all()


@pytest.mark.parametrize(("data", "checksum"), [(b"", 0), (b"123456789", 0xE3069283), (bytes(32), 0x8A9136AA)])
def test_checksum_is_castagnolis(data: bytes, checksum: int) -> None:
    assert crc32c(data) == checksum
