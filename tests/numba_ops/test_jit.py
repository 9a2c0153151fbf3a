"""How kernels are compiled: where the code is kept, once for all literals, and without holding the interpreter."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from numba_ops import _jit
from numba_ops._jit import cache_folder, jit
from numba_ops.eigen import eigenvalues_3d

ROOT = Path(__file__).parents[2]


@jit
def _add(a: Any, b: Any) -> Any:
    return a + b


@jit
def _add_literals(a: Any) -> Any:
    return _add(_add(a, 1), 2) + _add(3, a)


def test_literals_share_a_signature() -> None:
    assert _add_literals(4) == 14
    _add_literals.recompile()  # what came from the cache on disk never looked at the kernel that it calls
    assert len(_add.signatures) == 1


def test_other_threads_run_while_a_kernel_does() -> None:
    tensors = np.ones((6, 2_000_000), np.float32)
    values = np.empty((3, 2_000_000), np.float32)
    eigenvalues_3d(*tensors[:, :9], *values[:, :9])
    ticks, running = [0], [True]

    def tick() -> None:
        while running[0]:
            time.sleep(1e-4)
            ticks[0] += 1

    interval = sys.getswitchinterval()
    sys.setswitchinterval(60)  # from here on the ticker gets the interpreter only when it is let go
    ticker = threading.Thread(target=tick)
    ticker.start()
    try:
        before = ticks[0]
        eigenvalues_3d(*tensors, *values)
        after = ticks[0]
    finally:
        running[0] = False
        sys.setswitchinterval(interval)
        ticker.join()
    assert after > before


def test_cache_folder_depends_on_every_source(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for source in Path(_jit.__file__).parent.glob("*.py"):
        (tmp_path / source.name).write_bytes(source.read_bytes())
    here = cache_folder().name
    monkeypatch.setattr(_jit, "__file__", str(tmp_path / "_jit.py"))
    assert cache_folder().name == here
    (tmp_path / "taps.py").write_text("# edited")
    assert cache_folder().name != here


def test_a_cache_that_cannot_be_written_is_replaced() -> None:
    code = (
        "import numba\n"
        "numba.config.CACHE_DIR = '/proc/nowhere'\n"
        "from numba_ops import _jit\n"
        "assert _jit.CACHE_FOLDER.name.startswith('voxelforest-kernels-'), _jit.CACHE_FOLDER\n"
        "assert numba.config.CACHE_DIR == str(_jit.CACHE_FOLDER)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0
