"""Damaged files of every format: one line, in bounded memory at every moment, with nothing read but the file.

``pytest --hypothesis-profile=full`` searches long; the short form is the same on every run.
"""

from __future__ import annotations

import gc
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile
import zarr
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image
from zarr.codecs import BytesCodec, ShardingCodec, ZstdCodec

from pipeline.config import settings
from pipeline.errors import VolumeError
from pipeline.formats import open_source, source
from pipeline.formats.handles import close_handles
from pipeline.metadata import axistags
from tests.memory import peak_growth
from tests.pipeline.formats.contract import make_array
from tests.pipeline.formats.test_slices import write_slices
from tests.pipeline.formats.test_tensor import write_n5, write_precomputed
from tests.pipeline.formats.test_tiff_spread import write_spread

ARRAY = make_array((5, 21, 33), "u2")
MOST_VOXELS = 1 << 22  # of the box that is read from a file that says to be large
MOST_CHUNKS = 1 << 14  # that it lies in: looking for so many files takes a second
BOX_BYTES = 8 * MOST_VOXELS
CHUNK_BYTES = 1 << 24  # stands for LARGEST_CHUNK_BYTES, which is more than a test can tell from no limit
LIMITS = {"IMAGE_PIXELS": 1 << 21, "TIFF_DIRECTORY": 1 << 22, "CHUNK_CACHE": 1 << 22, "TIFF_PAGES": 10_000}
FIRST_USE_BYTES = 1 << 25  # libraries that the first file of a format loads


def _tiff(**options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        tifffile.imwrite(folder / "v.tif", ARRAY, **options)
        return folder / "v.tif"

    return write


def _zarr(version: Any, codec: str) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        codecs: Any = {"id": codec} if version == 2 else {"name": codec, "configuration": {}}
        zarr.create_array(folder / "v.zarr", data=ARRAY, chunks=(2, 16, 16), compressors=codecs, zarr_format=version)
        return folder / "v.zarr"

    return write


def _hdf5(**options: Any) -> Callable[[Path], Path]:
    """In gzip, with the attributes that are read."""

    def write(folder: Path) -> Path:
        with h5py.File(folder / "v.h5", "w", **options) as file:
            data = file.create_dataset("raw", data=ARRAY, chunks=(2, 16, 16), compression="gzip", shuffle=True)
            data.attrs["axistags"] = axistags("zyx", {"z": 2.0})
            data.attrs["element_size_um"] = [2.0, 1.0, 1.0]
            for dimension, label in zip(data.dims, "zyx", strict=True):
                dimension.label = label
        return folder / "v.h5"

    return write


def _npy(folder: Path) -> Path:
    np.save(folder / "v.npy", ARRAY)
    return folder / "v.npy"


def _png(folder: Path) -> Path:
    Image.fromarray(ARRAY[0]).save(folder / "v.png")
    return folder / "v.png"


def _jpeg(folder: Path) -> Path:
    Image.fromarray(ARRAY[0].astype("u1")).save(folder / "v.jpg")
    return folder / "v.jpg"


def _n5(folder: Path) -> Path:
    write_n5(folder / "v.n5", ARRAY, (2, 16, 16))
    return folder / "v.n5"


def _n5_blosc(folder: Path) -> Path:
    write_n5(folder / "v.n5", ARRAY, (2, 16, 16), type="blosc", cname="lz4", clevel=5, shuffle=1)
    return folder / "v.n5"


def _shards(folder: Path) -> Path:
    options: Any = {"chunks": (2, 16, 16), "shards": (4, 32, 32), "compressors": {"name": "gzip", "configuration": {}}}
    zarr.create_array(folder / "v.zarr", data=ARRAY, **options)
    return folder / "v.zarr"


def _nested(folder: Path) -> Path:
    """Shards in shards."""
    inner = ShardingCodec(chunk_shape=(2, 16, 16), codecs=[BytesCodec(), ZstdCodec()])
    options: Any = {"serializer": ShardingCodec(chunk_shape=(4, 32, 32), codecs=[inner]), "compressors": None}
    zarr.create_array(folder / "v.zarr", data=ARRAY, chunks=(8, 32, 64), **options)
    return folder / "v.zarr"


def _spread(folder: Path) -> Path:
    return write_spread(folder)[0]


def _precomputed(folder: Path) -> Path:
    write_precomputed(folder / "v", ARRAY)
    return folder / "v"


def _slices(folder: Path) -> Path:
    return write_slices(folder / "v", ARRAY)


WRITERS: dict[str, Callable[[Path], Path]] = {
    "tiff": _tiff(),
    "imagej": _tiff(imagej=True, metadata={"axes": "ZYX"}, byteorder=">"),
    "ome": _tiff(ome=True, metadata={"axes": "ZYX"}),
    "tiles": _tiff(tile=(16, 16), compression="zlib", predictor=True),
    "lzw": _tiff(compression="lzw", rowsperstrip=8, bigtiff=True),
    "spread": _spread,
    "zarr2": _zarr(2, "blosc"),
    "zarr2 lz4": _zarr(2, "lz4"),
    "zarr2 zlib": _zarr(2, "zlib"),
    "zarr3": _zarr(3, "zstd"),
    "zarr3 gzip": _zarr(3, "gzip"),
    "zarr2 bz2": _zarr(2, "bz2"),
    "zarr2 lzma": _zarr(2, "lzma"),
    "shards": _shards,
    "nested": _nested,
    "hdf5": _hdf5(),
    "hdf5 new": _hdf5(libver="latest"),
    "npy": _npy,
    "png": _png,
    "jpeg": _jpeg,
    "n5": _n5,
    "n5 blosc": _n5_blosc,
    "precomputed": _precomputed,
    "slices": _slices,
}


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A sound volume of each format."""
    found = {}
    for name, write in WRITERS.items():
        folder = tmp_path_factory.mktemp(name)
        found[name] = write(folder)
    return found


DAMAGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "number", "cut", "zero", "insert"]),
        st.floats(0, 1, exclude_max=True),
        st.one_of(st.sampled_from([0, 1, 0xFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF]), st.integers(0, 2**32 - 1)),
    ),
    min_size=1,
    max_size=6,
)


def set_limits(patch: pytest.MonkeyPatch) -> None:
    """Smaller ones than those of a real run, so that what goes beyond is seen."""
    patch.setattr(source, "LARGEST_CHUNK_BYTES", CHUNK_BYTES)
    for name, value in LIMITS.items():
        patch.setenv(f"VOXELFOREST_{name}", str(value))
    settings.cache_clear()


@pytest.fixture(scope="module", autouse=True)
def limits() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        set_limits(patch)
        gc.freeze()  # each example collects garbage first; not over what a thousand tests before have left: 3 s, not 16
        yield
        gc.unfreeze()
    settings.cache_clear()


def most_memory() -> int:
    """Bytes that reading one box may need: it twice, for the byte order, and what it comes from."""
    decoded = max(2 * CHUNK_BYTES, 8 * settings().image_pixels)  # stored and decoded, or a strip of float64
    return 2 * BOX_BYTES + decoded + settings().chunk_cache + 2 * settings().tiff_directory + FIRST_USE_BYTES


def damage(path: Path, changes: list[tuple[str, float, int]], head: bool) -> None:
    """Change bytes of one of the files; `head` keeps to the first part, where the words about the data are."""
    folder = path if path.is_dir() else path.parent  # images may lie in several files
    files = sorted(file for file in folder.rglob("*") if file.is_file())
    target = files[int(changes[0][1] * len(files))]
    data = bytearray(target.read_bytes())
    for kind, where, value in changes:
        at = int(where * (min(len(data), 400) if head else len(data)))
        if kind == "flip" and data:
            data[at] ^= value % 255 + 1
        elif kind == "number":
            data[at : at + 4] = value.to_bytes(4, "little")
        elif kind == "zero":
            data[at : at + 8] = bytes(8)
        elif kind == "insert":
            data[at:at] = value.to_bytes(4, "big")
        elif kind == "cut":
            del data[at:]
    target.write_bytes(data)


def read_part(path: Path) -> None:
    """Read a volume, not all of it if it says to be large."""
    volume = open_source(path)
    stop = list(volume.shape)
    while np.prod(stop, dtype=float) > MOST_VOXELS or np.prod(np.ceil(np.divide(stop, volume.chunks))) > MOST_CHUNKS:
        stop = [-(-n // 2) for n in stop]
    volume.read([0] * len(stop), stop)


def refusal(path: Path) -> str | None:
    """Why a volume is refused when it is read, None if it is not."""
    try:
        read_part(path)
    except VolumeError as error:
        return str(error)
    return None


@pytest.mark.parametrize("name", WRITERS)
@given(changes=DAMAGES, head=st.booleans())
@example(changes=[("insert", 0.01953125, 1024)], head=True)  # an .npy header that ends inside brackets
def test_damage_is_refused_in_one_line(
    originals: dict[str, Path], name: str, changes: list[tuple[str, float, int]], head: bool
) -> None:
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        path = Path(folder) / originals[name].name
        if originals[name].is_dir():
            shutil.copytree(originals[name], path)
        else:
            shutil.copytree(originals[name].parent, path.parent, dirs_exist_ok=True)
        damage(path, changes, head)
        text, grown = peak_growth(lambda: refusal(path) or "")
        close_handles()
        assert "\n" not in text
        assert len(text) < 3000
        assert grown < most_memory()


def test_sound_volumes_are_read(originals: dict[str, Path]) -> None:
    assert [name for name, path in originals.items() if refusal(path)] == []
    close_handles()
