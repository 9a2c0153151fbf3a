"""Compilation ahead of time covers everything that predictions call."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from numba_ops import emission, forest, gaussian, planes, stream
from numba_ops.stack import FEATURES, build
from numba_ops.warmup import KERNELS, warm_up
from tests.numba_ops.stacks import compute

ROOT = Path(__file__).parents[2]


def _count_signatures() -> dict[str, int]:
    return {
        f"{module.__name__}.{name}": len(kernel.signatures)
        for module in (emission, forest, gaussian, planes, stream)
        for name, kernel in vars(module).items()
        if hasattr(kernel, "signatures")
    }


def _freeze(array: NDArray[np.generic]) -> NDArray[np.generic]:
    """As an array comes out of a pickle whose buffers travelled apart."""
    buffers: list[pickle.PickleBuffer] = []
    data = pickle.dumps(array, protocol=5, buffer_callback=buffers.append)
    frozen: NDArray[np.generic] = pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])
    assert not frozen.flags.writeable
    return frozen


def test_predictions_compile_nothing_more() -> None:
    warm_up()
    before = _count_signatures()
    assert before["numba_ops.stream.advance"] == 1
    assert before["numba_ops.forest._predict"] == 1
    for in_2d, kind in ((False, "uint16"), (True, "float64")):
        stack = build(FEATURES, [0.3, 1.6], [[True, True]] * 6, [in_2d, False], 2)
        buffers: list[pickle.PickleBuffer] = []
        data = pickle.dumps(stack, protocol=5, buffer_callback=buffers.append)
        for travelled in (stack, pickle.loads(data, buffers=[bytes(buffer) for buffer in buffers])):
            slab = compute(_freeze(np.zeros((2, 7, 9, 9), kind)), travelled)
        trees = forest.pack(
            np.array([0, -1, -1], np.int32),
            np.zeros(3),
            np.array([1, -1, -1], np.int32),
            np.eye(3),
            np.zeros(1, np.int32),
            np.zeros(1, np.int32),
            stack.n_columns,
        )
        out = np.empty((3, *slab.shape[1:]), np.float32)
        travelled_trees = trees._replace(nodes=_freeze(trees.nodes), total=_freeze(trees.total))
        for part in (trees, travelled_trees):
            forest.predict_slab(part, slab, out, 0, 0, 0)
    assert _count_signatures() == before


CODE = """
import sys
from numba_ops.warmup import warm_up
said = []
compiled = warm_up(lambda *progress: said.append(progress), sys.argv[1])
in_order = [i for _, i, _ in said] == list(range(1, len(said) + 1))
print(compiled, len(said), max((n for _, _, n in said), default=0), in_order)
"""


@pytest.mark.parametrize("kernels", KERNELS)
def test_kernels_are_compiled_once_a_machine(tmp_path: Path, kernels: str) -> None:
    def run() -> list[str]:
        environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
        command = [sys.executable, "-c", CODE, kernels]
        done = subprocess.run(command, env=environment, cwd=ROOT, check=True, capture_output=True, text=True)
        return done.stdout.split()

    count = str(KERNELS[kernels][0])
    assert run() == ["True", count, count, "True"]
    assert run() == ["False", "0", "0", "True"]
