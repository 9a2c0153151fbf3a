"""Fixed-width vector operations that numba's auto-vectoriser does not find, as LLVM intrinsics.

LLVM splits the wide vectors for the processor at hand (AVX-512, AVX2, NEON), with an explicit fused multiply-add, so the
bits do not depend on how a loop was vectorised. Plain indexing in a tap loop costs 40 ns a voxel where these cost 4
(numba keeps a test for negative indices and LLVM gives up on alias checks).

All take flat float32 arrays and element offsets; nothing is checked: callers own the geometry.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)
BRICK = 64  # voxels that the forest decides at once: one bit each in a 64-bit mask


def _splat(b: ir.IRBuilder, vector: ir.VectorType, scalar: Any) -> Any:
    lane = b.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, vector.count), [0] * vector.count)
    return b.shuffle_vector(lane, ir.Constant(vector, ir.Undefined), zeros)


def _data(ctx: Any, b: ir.IRBuilder, kind: Any, array: Any) -> Any:
    return ctx.make_array(kind)(ctx, b, array).data


def _load(b: ir.IRBuilder, data: Any, index: Any, vector: ir.VectorType) -> Any:
    value = b.load(b.bitcast(b.gep(data, [index]), vector.as_pointer()))
    value.align = 4
    return value


def _store(b: ir.IRBuilder, value: Any, data: Any, index: Any) -> None:
    b.store(value, b.bitcast(b.gep(data, [index]), value.type.as_pointer())).align = 4


def _make_taps(width: int, odd: bool) -> Any:
    """``out[o:o+width] = k0 * a[b:] + sum_j k_j * (a[b + off_j:] ± a[b + off_-j:])``, fused, from the centre outwards."""

    @intrinsic
    def op(
        tyctx: Any, src: Any, base: Any, offsets: Any, first: Any, k: Any, k0: Any, reach: Any, out: Any, at: Any
    ) -> Any:
        n = types.intp
        sig = types.void(src, n, offsets, n, k, n, n, out, n)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            vt = ir.VectorType(F32, width)
            data, offs, ks, dst = (_data(ctx, b, s.args[i], args[i]) for i in (0, 2, 4, 7))
            base, first, k0, reach, at = (args[i] for i in (1, 3, 5, 6, 8))
            one = ir.Constant(I64, 1)
            kp = b.gep(ks, [k0])
            centre = b.add(first, reach)

            def row(i: Any) -> Any:
                return _load(b, data, b.add(base, b.load(b.gep(offs, [i]))), vt)

            start = b.fmul(_splat(b, vt, b.load(kp)), row(centre))
            fma = cgutils.get_or_insert_function(b.module, ir.FunctionType(vt, [vt] * 3), f"llvm.fma.v{width}f32")
            entry, loop, done = b.block, b.append_basic_block("taps"), b.append_basic_block("done")
            b.cbranch(b.icmp_signed(">=", reach, one), loop, done)
            b.position_at_end(loop)
            j, acc = b.phi(I64), b.phi(vt)
            right, left = row(b.add(centre, j)), row(b.sub(centre, j))
            pair = b.fsub(right, left) if odd else b.fadd(right, left)
            total = b.call(fma, [_splat(b, vt, b.load(b.gep(kp, [j]))), pair, acc])
            following = b.add(j, one)
            for phi, init, nxt in ((j, one, following), (acc, start, total)):
                phi.add_incoming(init, entry)
                phi.add_incoming(nxt, loop)
            b.cbranch(b.icmp_signed("<=", following, reach), loop, done)
            b.position_at_end(done)
            result = b.phi(vt)
            result.add_incoming(start, entry)
            result.add_incoming(total, loop)
            _store(b, result, dst, at)
            return ctx.get_dummy_value()

        return sig, codegen

    return op


even64, even16, even1 = (_make_taps(w, False) for w in (64, 16, 1))
odd64, odd16, odd1 = (_make_taps(w, True) for w in (64, 16, 1))


def _make_copy(width: int) -> Any:
    """``out[at:at + width] = src[base:base + width]``"""

    @intrinsic
    def op(tyctx: Any, src: Any, base: Any, out: Any, at: Any) -> Any:
        sig = types.void(src, types.intp, out, types.intp)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            value = _load(b, _data(ctx, b, s.args[0], args[0]), args[1], ir.VectorType(F32, width))
            _store(b, value, _data(ctx, b, s.args[2], args[2]), args[3])
            return ctx.get_dummy_value()

        return sig, codegen

    return op


copy4, copy8 = _make_copy(4), _make_copy(8)


@intrinsic
def below_mask(tyctx: Any, array: Any, at: Any, threshold: Any) -> Any:
    """Bit k of the result: ``array[at + k] < threshold``, for 64 values."""
    sig = types.uint64(array, types.uint64, types.float32)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        vt = ir.VectorType(F32, BRICK)
        x = _load(b, _data(ctx, b, s.args[0], args[0]), args[1], vt)
        return b.bitcast(b.fcmp_ordered("<", x, _splat(b, vt, args[2])), I64)

    return sig, codegen


@intrinsic
def brick_range(tyctx: Any, array: Any, at: Any, low: Any, high: Any, column: Any) -> Any:
    """Store the smallest and largest of ``array[at:at + 64]`` in ``low[column]`` and ``high[column]``.

    Bit k of the result: ``array[at + k]`` is NaN; with a NaN the range is not defined. (A plain loop over `min` and
    `max` is not vectorised, since NaN fixes its order.)
    """
    sig = types.uint64(array, types.uint64, low, high, types.intp)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        x = _load(b, _data(ctx, b, s.args[0], args[0]), args[1], ir.VectorType(F32, BRICK))
        for order, target in (("<", 2), (">", 3)):
            best = x
            while best.type.count > 1:
                half = best.type.count // 2
                lanes = ir.VectorType(I32, half)
                empty = ir.Constant(best.type, ir.Undefined)
                one, two = (
                    b.shuffle_vector(best, empty, ir.Constant(lanes, list(range(first, first + half))))
                    for first in (0, half)
                )
                best = b.select(b.fcmp_ordered(order, one, two), one, two)
            scalar = b.extract_element(best, ir.Constant(I32, 0))
            b.store(scalar, b.gep(_data(ctx, b, s.args[target], args[target]), [args[4]]))
        return b.bitcast(b.fcmp_unordered("uno", x, x), I64)

    return sig, codegen


@intrinsic
def add_masked(tyctx: Any, array: Any, at: Any, mask: Any, value: Any) -> Any:
    """``array[at + k] += value`` where bit k of the mask is set, for 64 values."""
    sig = types.void(array, types.uint64, types.uint64, types.float32)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        vt = ir.VectorType(F32, BRICK)
        data = _data(ctx, b, s.args[0], args[0])
        x = _load(b, data, args[1], vt)
        lanes = b.bitcast(args[2], ir.VectorType(ir.IntType(1), BRICK))
        _store(b, b.select(lanes, b.fadd(x, _splat(b, vt, args[3])), x), data, args[1])
        return ctx.get_dummy_value()

    return sig, codegen
