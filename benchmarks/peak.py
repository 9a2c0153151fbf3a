"""What the machine can do at most: memory bandwidth and multiply-adds of one core, by kernels of a few lines."""

from __future__ import annotations

import time
from typing import Any

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

LANES = 16  # float32 of a vector; the compiler splits it where the processor's are narrower
CHAINS = 12  # independent sums, more than a multiply-add has cycles of latency times units


@intrinsic
def _multiply_add(typingctx: Any, count: Any) -> Any:
    """Run `CHAINS` chains of `count` vector multiply-adds each; gives a value that depends on all of them."""

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = ir.VectorType(ir.FloatType(), LANES)
        kind = ir.FunctionType(vector, [vector, vector, vector])
        fma = cgutils.get_or_insert_function(builder.module, kind, f"llvm.fma.v{LANES}f32")
        factor, term = (ir.Constant(vector, [value] * LANES) for value in (0.999, 0.001))
        slots = [cgutils.alloca_once(builder, vector) for _ in range(CHAINS)]
        for i, slot in enumerate(slots):
            builder.store(ir.Constant(vector, [float(i + 1)] * LANES), slot)
        with cgutils.for_range(builder, args[0]):
            for slot in slots:
                builder.store(builder.call(fma, [builder.load(slot), factor, term]), slot)
        total = builder.load(slots[0])
        for slot in slots[1:]:
            total = builder.fadd(total, builder.load(slot))
        return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

    return types.float32(types.int64), emit


@numba.njit(nogil=True)
def _run_multiply_add(count):  # type: ignore[no-untyped-def]
    return _multiply_add(count)


@numba.njit(nogil=True)
def _add_arrays(a, b, out, times):  # type: ignore[no-untyped-def]
    for _ in range(times):
        for i in range(a.size):
            out[i] = a[i] + b[i]


def measure_flops() -> float:
    """Float32 operations a second of one core, a multiply-add counted as two; best of several."""
    count = 2_000_000
    _run_multiply_add(10)
    return 2.0 * LANES * CHAINS * count / _best(lambda: _run_multiply_add(count))


def measure_bandwidth(megabytes: float) -> float:
    """Bytes a second of one core reading two arrays and writing a third, all of them together so large."""
    n = int(megabytes * 2**20 / 12)
    a, b, out = (np.ones(n, np.float32) for _ in range(3))
    times = max(1, int(2**28 / (12 * n)))
    _add_arrays(a, b, out, 1)
    return 12.0 * n * times / _best(lambda: _add_arrays(a, b, out, times))


def _best(work: Any, tries: int = 7) -> float:
    found = []
    for _ in range(tries):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)
