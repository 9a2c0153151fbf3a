"""How often chunks of the input are read: by a run behind a real server, and by many workers in a model of theirs."""

from __future__ import annotations

import itertools
from collections import OrderedDict, defaultdict
from pathlib import Path

import numpy as np
import pytest
import zarr

from pipeline.blocks import Box, grid
from pipeline.config import settings
from pipeline.lanes import Lanes
from pipeline.pending import Pending
from pipeline.progress import Progress
from pipeline.project import open_project
from pipeline.run import Request, make_plan, run
from pipeline.volume import open_raw
from tests.pipeline.formats.servers import http_server

GOAL = 1.3  # times that a chunk is read on average, in blocks that are large against the halo


@pytest.mark.parametrize(("cache", "at_most", "at_least"), [("64MiB", 1.0, 1.0), ("0", 99.0, 2.0)])
def test_run_fetches_chunks_once(
    golden_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: str, at_most: float, at_least: float
) -> None:
    """Two workers of a run and eight blocks, each with a halo."""
    names = {"BLOCK_VOXELS": "4096", "CHUNK_VOXELS": "4096", "CHUNK_CACHE": "0", "SCRATCH_CACHE": cache}
    for name, value in {**names, "SCRATCH_DIR": str(tmp_path / "scratch")}.items():
        monkeypatch.setenv(f"VOXELFOREST_{name}", value)
    settings.cache_clear()
    raw = np.random.default_rng(0).integers(0, 255, (32, 32, 32), np.uint8)
    zarr.create_array(tmp_path / "raw.zarr", data=raw, chunks=(8, 8, 8), dimension_names=list("zyx"))
    with http_server(tmp_path) as (url, seen):
        volume = open_raw(f"{url}/raw.zarr")
        request = Request(open_project(golden_dir / "projects" / "pc_3d.ilp"), volume, tmp_path / "out.zarr", workers=1)
        assert make_plan(request).n_tasks == 8
        run(request, Progress())
    settings.cache_clear()
    reads = [n for path, n in seen.items() if "/raw.zarr/c/" in path]
    assert len(reads) == 4**3
    assert at_least <= sum(reads) / len(reads) <= at_most


def _reads(owners: dict[str, list[Box]], halo: int, chunk: int, kept: int, image: Box) -> float:
    """How often a chunk is fetched on average, where each worker keeps the last `kept` chunks of its own."""
    fetched = 0
    for boxes in owners.values():
        cache: OrderedDict[tuple[int, ...], None] = OrderedDict()
        for box in boxes:
            outer = box.grow((halo,) * 3, image)
            spans = [range(a // chunk, -(-b // chunk)) for a, b in zip(outer.start[1:], outer.stop[1:], strict=True)]
            for index in itertools.product(*spans):
                if index in cache:
                    cache.move_to_end(index)
                    continue
                fetched += 1
                cache[index] = None
                if len(cache) > kept:
                    cache.popitem(last=False)
    return fetched / (image.size / chunk**3)


def test_large_blocks_on_many_workers_read_chunks_hardly_more_than_once() -> None:
    """Blocks of 256³ with a halo of 20 in chunks of 64³: alone each reads 3.4 times what it computes.

    Eight workers, each with the 10 GiB that `scratch_cache` has by default, on a volume of 3072³ bytes.
    """
    image, block = Box.whole((1, 3072, 3072, 3072)), (1, 256, 256, 256)
    kept = settings().scratch_cache // 64**3
    lanes = Lanes(Pending(image, block), 32)
    lanes.follow({f"worker-{number}": 1 for number in range(8)}, 4)
    parted, in_turn = defaultdict(list), defaultdict(list)
    while found := list(lanes.deal(0)):
        for lane, _, box in found:
            lane.flying -= 1
            parted[str(lane.address)].append(box)
    for number, box in enumerate(grid(image, block)):
        in_turn[f"worker-{number % 8}"].append(box)
    assert _reads(parted, 20, 64, kept, image) <= GOAL
    assert _reads(in_turn, 20, 64, kept, image) > 2
