"""Kernels of a segmentation are compiled before its tasks, not in them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

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
