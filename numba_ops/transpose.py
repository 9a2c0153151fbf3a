"""Transposing squares of values in registers, as an LLVM intrinsic."""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numba_ops.tap_vectors import LANES
from numba_ops.vector import F32, I32, data_of, load, store

SIDE = min(LANES, 16)  # of a square: its rows are one register each


@intrinsic
def transpose(tyctx: Any, src: Any, base: Any, pitch: Any, out: Any, at: Any, out_pitch: Any) -> Any:
    """``out[at + j * out_pitch + i] = src[base + i * pitch + j]`` for i, j of a square of `SIDE` values."""
    n = types.intp
    sig = types.void(src, n, n, out, n, n)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        data, dst = data_of(ctx, b, s.args[0], args[0]), data_of(ctx, b, s.args[3], args[3])
        _, base, pitch, _, at, out_pitch = args
        rows = []
        for _ in range(SIDE):
            rows.append(load(b, data, base, ir.VectorType(F32, SIDE)))
            base = b.add(base, pitch)
        for row in _exchange(b, rows):
            store(b, row, dst, at)
            at = b.add(at, out_pitch)
        return ctx.get_dummy_value()

    return sig, codegen


def _exchange(b: ir.IRBuilder, rows: list[Any]) -> list[Any]:
    """Transpose by exchanging quarters: of the whole square, then of each of its quarters, down to single values."""
    n = len(rows)
    step = n // 2
    while step:
        upper = [lane if lane & step == 0 else n + (lane ^ step) for lane in range(n)]
        lower = [lane | step if lane & step == 0 else n + lane for lane in range(n)]
        masks = [ir.Constant(ir.VectorType(I32, n), lanes) for lanes in (upper, lower)]
        for i in (i for i in range(n) if i & step == 0):
            one, two = rows[i], rows[i | step]
            rows[i], rows[i | step] = (b.shuffle_vector(one, two, mask) for mask in masks)
        step //= 2
    return rows
