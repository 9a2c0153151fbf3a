"""Keys of chunks: each chunk has exactly one, and nothing else is one."""

from __future__ import annotations

import itertools
import math
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.config import settings
from pipeline.serving.layer import Layer
from tests.conftest import ROOT
from tests.web.layers import make_layers
from web.chunk_keys import parse_numbers, precomputed_chunk, tile_chunk, zarr_chunk


@pytest.fixture(scope="module")
def layers() -> dict[str, Layer]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VOXELFOREST_CHUNK_VOXELS", "1024")
        settings.cache_clear()
        found = make_layers(Path(ROOT) / "tests" / "golden", "pc_3d")
    settings.cache_clear()
    return found


@given(st.text())
@example("0/1/2")
@example("１/2")
@example("1\n")
@example("1_0")
def test_numbers_are_canonical_or_none(text: str) -> None:
    numbers = parse_numbers(text)
    assert numbers is None or "/".join(map(str, numbers)) == text


def test_zarr_keys_cover_each_level_once(layers: dict[str, Layer]) -> None:
    layer = layers["probabilities"]
    for level in layer.levels:
        counts = [-(-n // c) for n, c in zip(level.shape, level.chunk, strict=True)]
        indices = itertools.product(*(range(n + 1) for n in counts))
        chunks = [zarr_chunk(level, "/".join(map(str, index))) for index in indices]
        found = [chunk for chunk in chunks if chunk is not None]
        assert all(chunk.shape == level.chunk for chunk in found)
        assert len({chunk.start for chunk in found}) == len(found)
        sizes = [[b - a for a, b in zip(chunk.start, chunk.stop, strict=True)] for chunk in found]
        assert sum(map(math.prod, sizes)) == math.prod(level.shape)


@given(st.tuples(*[st.integers(0, 45)] * 6))
@example((0, 16, 0, 8, 0, 8))
@example((32, 38, 32, 40, 32, 37))
def test_precomputed_keys_are_whole_cells_clipped(layers: dict[str, Layer], ends: tuple[int, ...]) -> None:
    x0, x1, y0, y1, z0, z1 = ends
    level = layers["segmentation"].levels[0]
    chunk = precomputed_chunk(layers["segmentation"], level, f"{x0}-{x1}_{y0}-{y1}_{z0}-{z1}", 0)
    cells = zip((z0, y0, x0), (z1, y1, x1), level.chunk, level.shape, strict=True)
    whole = all(a % c == 0 and a < n and b == min(a + c, n) for a, b, c, n in cells)
    assert (chunk is not None) == whole
    if chunk is not None:
        assert (chunk.start, chunk.stop) == ((z0, y0, x0), (z1, y1, x1))
        assert chunk.shape == (z1 - z0, y1 - y0, x1 - x0)


def test_precomputed_chunk_holds_all_channels_of_one_point_in_time(golden_dir: Path) -> None:
    layer = make_layers(golden_dir, "pc_t_2d")["probabilities"]
    chunk = precomputed_chunk(layer, layer.levels[0], "0-44_0-40_0-1", 2)
    assert chunk is not None
    assert (chunk.start, chunk.stop) == ((2, 0, 0, 0), (3, 2, 40, 44))
    assert precomputed_chunk(layer, layer.levels[0], "0-44_0-40_0-2", 2) is None


def test_tile_is_one_plane_of_one_channel(layers: dict[str, Layer]) -> None:
    layer = layers["probabilities"]
    tile = tile_chunk(layer, layer.levels[0], "2/36/1/0", 32)
    assert tile is not None
    assert (tile.start, tile.stop, tile.shape) == ((2, 36, 32, 0), (3, 37, 40, 32), (1, 1, 8, 32))
    assert tile_chunk(layer, layer.levels[0], "3/36/1/0", 32) is None
