"""Fixed-width vector operations that numba's auto-vectoriser does not find, as LLVM intrinsics: what they share.

LLVM splits the wide vectors for the processor at hand (AVX-512, AVX2, NEON), with an explicit fused multiply-add, so
the bits do not depend on how a loop was vectorised. Plain indexing in a tap loop costs 40 ns a voxel where these cost 4
(numba keeps a test for negative indices and LLVM gives up on alias checks).

All take flat float32 arrays and element offsets; nothing is checked: callers own the geometry.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)
BRICK = 64  # voxels that the forest decides at once: one bit each in a 64-bit mask


def splat(b: ir.IRBuilder, vector: ir.VectorType, scalar: Any) -> Any:
    """A vector with `scalar` in every lane."""
    lane = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return b.shuffle_vector(lane, ir.Constant(vector, ir.Undefined), zeros)


def data_of(ctx: Any, b: ir.IRBuilder, kind: Any, array: Any) -> Any:
    """Pointer to the first element of a numba array."""
    return ctx.make_array(kind)(ctx, b, array).data


def load(b: ir.IRBuilder, data: Any, index: Any, vector: ir.VectorType) -> Any:
    """``data[index:index + lanes]``; any alignment."""
    value = b.load(b.bitcast(b.gep(data, [index]), vector.as_pointer()))
    value.align = 4
    return value


def store(b: ir.IRBuilder, value: Any, data: Any, index: Any) -> None:
    """``data[index:index + lanes] = value``; any alignment."""
    b.store(value, b.bitcast(b.gep(data, [index]), value.type.as_pointer())).align = 4


def fused(b: ir.IRBuilder, factor: Any, value: Any, acc: Any) -> Any:
    """``factor * value + acc`` with one rounding."""
    vector = value.type
    function = ir.FunctionType(vector, [vector] * 3)
    name = f"llvm.fma.v{vector.count}f32"
    return b.call(cgutils.get_or_insert_function(b.module, function, name), [factor, value, acc])


@intrinsic
def keep_apart(tyctx: Any) -> Any:
    """Keep the function that says this out of line: it is compiled once instead of at every call."""

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        b.function.attributes.add("noinline")
        return ctx.get_dummy_value()

    return types.void(), codegen


@intrinsic
def fma(tyctx: Any, a: Any, x: Any, y: Any) -> Any:
    """``a * x + y`` with one rounding, for scalars of one type; LLVM vectorises it."""

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        return b.fma(*args)

    return y(y, y, y), codegen


def _make_copy(width: int) -> Any:
    """``out[at:at + width] = src[base:base + width]``"""

    @intrinsic
    def op(tyctx: Any, src: Any, base: Any, out: Any, at: Any) -> Any:
        sig = types.void(src, types.intp, out, types.intp)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            value = load(b, data_of(ctx, b, s.args[0], args[0]), args[1], ir.VectorType(F32, width))
            store(b, value, data_of(ctx, b, s.args[2], args[2]), args[3])
            return ctx.get_dummy_value()

        return sig, codegen

    return op


copy4, copy8 = _make_copy(4), _make_copy(8)


@intrinsic
def below_mask(tyctx: Any, array: Any, at: Any, threshold: Any) -> Any:
    """Bit k of the result: ``array[at + k] < threshold``, for 64 values."""
    sig = types.uint64(array, types.intp, types.float32)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        vt = ir.VectorType(F32, BRICK)
        x = load(b, data_of(ctx, b, s.args[0], args[0]), args[1], vt)
        return b.bitcast(b.fcmp_ordered("<", x, splat(b, vt, args[2])), I64)

    return sig, codegen


def _store_range(b: ir.IRBuilder, x: Any, low: Any, high: Any) -> Any:
    """Store the smallest and largest of 64 values; the result says which are NaN: with one the range is not defined.

    (A plain loop over `min` and `max` is not vectorised, since NaN fixes its order.)
    """
    for order, target in (("<", low), (">", high)):
        best = x
        while best.type.count > 1:
            half = best.type.count // 2
            one, two = (_lanes(b, best, best, range(first, first + half)) for first in (0, half))
            best = b.select(b.fcmp_ordered(order, one, two), one, two)
        b.store(b.extract_element(best, ir.Constant(I32, 0)), target)
    return b.bitcast(b.fcmp_unordered("uno", x, x), I64)


def _lanes(b: ir.IRBuilder, one: Any, two: Any, chosen: Iterable[int]) -> Any:
    lanes = list(chosen)
    return b.shuffle_vector(one, two, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


@intrinsic
def brick_range(tyctx: Any, array: Any, at: Any, low: Any, high: Any, column: Any) -> Any:
    """Store the smallest and largest of ``array[at:at + 64]`` in ``low[column]`` and ``high[column]``.

    Bit k of the result: ``array[at + k]`` is NaN.
    """
    sig = types.uint64(array, types.intp, low, high, types.intp)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        data, lows, highs = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 3))
        x = load(b, data, args[1], ir.VectorType(F32, BRICK))
        return _store_range(b, x, b.gep(lows, [args[4]]), b.gep(highs, [args[4]]))

    return sig, codegen


def _make_gather(width: int) -> Any:
    """Like `brick_range`, of rows of `width` values at ``array[at + places[r]:]``, which are stored at ``out[to:]``."""

    @intrinsic
    def op(tyctx: Any, array: Any, at: Any, places: Any, out: Any, to: Any, low: Any, high: Any, column: Any) -> Any:
        n = types.intp
        sig = types.uint64(array, n, places, out, n, low, high, n)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            data, offsets, dst, lows, highs = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 3, 5, 6))
            rows = [
                load(b, data, b.add(args[1], b.load(b.gep(offsets, [ir.Constant(I64, r)]))), ir.VectorType(F32, width))
                for r in range(BRICK // width)
            ]
            while len(rows) > 1:
                pairs = zip(rows[::2], rows[1::2], strict=True)
                rows = [_lanes(b, one, two, range(2 * one.type.count)) for one, two in pairs]
            store(b, rows[0], dst, args[4])
            return _store_range(b, rows[0], b.gep(lows, [args[7]]), b.gep(highs, [args[7]]))

        return sig, codegen

    return op


gather4, gather8 = _make_gather(4), _make_gather(8)


@intrinsic
def add_masked(tyctx: Any, array: Any, at: Any, mask: Any, value: Any) -> Any:
    """``array[at + k] += value`` where bit k of the mask is set, for 64 values."""
    sig = types.void(array, types.intp, types.uint64, types.float32)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        vt = ir.VectorType(F32, BRICK)
        data = data_of(ctx, b, s.args[0], args[0])
        x = load(b, data, args[1], vt)
        lanes = b.bitcast(args[2], ir.VectorType(ir.IntType(1), BRICK))
        store(b, b.select(lanes, b.fadd(x, splat(b, vt, args[3])), x), data, args[1])
        return ctx.get_dummy_value()

    return sig, codegen
