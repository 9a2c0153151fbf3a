"""Fixed-width vector operations that numba's auto-vectoriser does not find, as LLVM intrinsics: what they share.

LLVM splits the wide vectors for the processor at hand (AVX-512, AVX2, NEON), with an explicit fused multiply-add, so
the bits do not depend on how a loop was vectorised. Plain indexing in a tap loop costs 40 ns a voxel where these cost 4
(numba keeps a test for negative indices and LLVM gives up on alias checks).

All take flat float32 arrays and element offsets; nothing is checked: callers own the geometry.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.codegen import get_host_cpu_features
from numba.extending import intrinsic

F32 = ir.FloatType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)


def has_feature(name: str) -> bool:
    """Whether code is made for a processor that has a feature of LLVM's name."""
    given = numba.config.CPU_FEATURES
    return f"+{name}" in (get_host_cpu_features() if given is None else given).split(",")


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


def count_up(b: ir.IRBuilder, stop: Any, state: list[Any], step: Callable[[Any, list[Any]], list[Any]]) -> list[Any]:
    """Loop j = 1 ... stop, with ``state = step(j, state)``; the state after it."""
    one = ir.Constant(I64, 1)
    entry, loop, done = b.block, b.append_basic_block("loop"), b.append_basic_block("done")
    b.cbranch(b.icmp_signed(">=", stop, one), loop, done)
    b.position_at_end(loop)
    j = b.phi(I64)
    before = [b.phi(value.type) for value in state]
    after = step(j, before)
    following = b.add(j, one)
    for phi, init, value in zip([j, *before], [one, *state], [following, *after], strict=True):
        phi.add_incoming(init, entry)
        phi.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("<=", following, stop), loop, done)
    b.position_at_end(done)
    result = [b.phi(value.type) for value in state]
    for phi, init, value in zip(result, state, after, strict=True):
        phi.add_incoming(init, entry)
        phi.add_incoming(value, loop)
    return result


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
