"""How tasks are run: kernels are compiled before them; settings say how many are ahead, and how often one is tried."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.cluster import connect
from pipeline.config import settings
from pipeline.run_steps import run_tasks

# A process of its own: what other tests have compiled in theirs would hide what is missing.
CODE = """
import json, sys
from numba_ops import census, components, smoothing
from numba_ops.warmup import LABELS, MEASURES, warm_up
from pipeline.cli import run_command

def signatures():
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in (census, components, smoothing)
        for name, kernel in vars(module).items()
        if hasattr(kernel, "signatures")
    }

for kernels in (LABELS, MEASURES):
    warm_up(kernels=kernels)
before = signatures()
codes = [run_command(command) for command in json.loads(sys.argv[1])]
print(json.dumps([codes, before, signatures()]))
"""


def test_segmentations_compile_nothing_more(tmp_path: Path, small_blocks: None) -> None:
    rng = np.random.default_rng(0)
    blobs = rng.random((2, 20, 40, 40)).astype(np.float32)
    np.save(tmp_path / "map.npy", blobs)
    np.save(tmp_path / "raw.npy", (blobs[0] * 255).astype(np.uint8))
    common = ["segment", "--from", "map.npy", "--axes", "czyx", "--raw", "raw.npy", "--min-size", "1"]
    variants = [
        ["a.zarr", "--channel", "1", "--threshold", "0.5", "--sigma", "1", "--table", "a.csv"],
        ["b.zarr", "--channel", "0", "--high", "0.7", "--low", "0.4", "--sigma", "0", "--connectivity", "full"],
        ["c.h5", "--channel", "0", "--core-channel", "1", "--high", "0.6", "--low", "0.5", "--sigma", "0.8"],
    ]
    commands = json.dumps([[*common, *variant] for variant in variants])
    done = subprocess.run(
        [sys.executable, "-c", CODE, commands], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=240
    )
    codes, before, after = json.loads(done.stdout.splitlines()[-1])
    assert codes == [0, 0, 0], done.stderr
    assert after == before


TRIED: list[int] = []


def _fail(item: int) -> int:
    TRIED.append(item)
    raise OSError("as planned")


def test_settings_say_how_many_tasks_are_ahead_and_how_often_one_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VOXELFOREST_WINDOW_PER_THREAD", "3")
    monkeypatch.setenv("VOXELFOREST_BLOCK_RETRIES", "1")
    settings.cache_clear()
    taken: list[int] = []
    ahead: list[int] = []

    def items() -> Iterator[int]:
        for item in range(40):
            taken.append(item)
            yield item

    with connect("threads", 2) as client:
        run_tasks(client, abs, items(), "ahead", (), lambda _: ahead.append(len(taken) - len(ahead)))
        with pytest.raises(OSError, match="as planned"):
            run_tasks(client, _fail, [7], "tried", (), lambda _: None)
    assert max(ahead) == 3 * 2
    assert TRIED == [7, 7]
    monkeypatch.undo()
    settings.cache_clear()
