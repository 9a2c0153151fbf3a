"""Volumes far larger than memory: opened from what describes them, a slice in bounded memory; the files are sparse."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil
import pytest
import tifffile
import zarr

from pipeline.formats import open_source
from pipeline.formats.handles import close_handles
from pipeline.volume import open_volume
from tests.memory import peak_growth

Array = np.ndarray[Any, Any]
MOST_MEMORY = 1 << 27  # bytes for opening and one slice
MOST_READ = 1 << 25  # bytes; the plane is a quarter of them
PLANE = (2048, 4096)
PLANES = 2560  # of 8 MiB: 20 GiB
AT = 1_234


def _plane() -> Array:
    return (np.add.outer(np.arange(PLANE[0]), np.arange(PLANE[1])) % 251).astype("u1")


def _pages(folder: Path) -> Path:
    """A BigTIFF of 20 GiB with a page for each plane, of which one is written."""
    path = folder / "pages.tif"
    with tifffile.TiffWriter(path, bigtiff=True) as file:
        place = file.write(
            None,
            shape=(PLANES, *PLANE),
            dtype="u1",
            photometric="minisblack",
            metadata={"axes": "ZYX"},
            returnoffset=True,
        )
    assert place is not None
    with path.open("r+b") as raw:
        raw.seek(place[0] + AT * PLANE[0] * PLANE[1])
        raw.write(_plane().tobytes())
    return path


def _hdf5(folder: Path) -> Path:
    """20 GiB in chunks, of which one is there."""
    with h5py.File(folder / "v.h5", "w") as file:
        data = file.create_dataset("raw", (PLANES, *PLANE), "u1", chunks=(1, *PLANE), compression="gzip")
        data[AT] = _plane()
    return folder / "v.h5"


def _zarr(folder: Path) -> Path:
    """1 TiB, of which a few chunks are there."""
    options: Any = {"shape": (1 << 17, *PLANE), "chunks": (1, 256, 256), "dtype": "u1"}
    zarr.create_array(folder / "v.zarr", **options)[AT] = _plane()
    return folder / "v.zarr"


@pytest.mark.parametrize("write", [_pages, _hdf5, _zarr])
def test_slice_of_a_volume_that_fits_no_memory(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    path = write(tmp_path)
    open_source(path)  # what the library itself needs
    close_handles()
    before = psutil.Process().io_counters().read_chars

    def slice_of() -> Array:
        array = open_volume(path, axes="zyx")
        assert array.nbytes >= 20 << 30
        found: Array = array.isel(z=AT).values
        return found

    found, grown = peak_growth(slice_of)
    assert psutil.Process().io_counters().read_chars - before < MOST_READ
    assert grown < MOST_MEMORY
    np.testing.assert_array_equal(found, _plane())
    assert not open_volume(path, axes="zyx")[AT + 1, :5].values.any()
    close_handles()
