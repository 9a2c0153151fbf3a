"""Convolution of one vector of neighbours, or of a few such vectors at once, as LLVM intrinsics.

Every value is ``k[0] * a[0]``, then ``fma(k[j], a[+j] ± a[-j], sum)`` from the centre outwards (SEMANTICS section 3);
the variants differ in what they load only once.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from numba_ops.tile import GROUP
from numba_ops.vector import F32, I64, count_up, data_of, fused, has_feature, load, splat, store

# Lanes of vectors of which two dozen stay in registers: what `smooth_group` needs, and `derive_row` nearly.
LANES = 32 if has_feature("avx512f") else 8


def _make_taps(width: int, odd: bool) -> Any:
    """Any radius, one vector: ``out[at:]`` from ``src[base + offsets[first + reach ± j]:]`` and ``taps[k0 + j]``."""

    @intrinsic
    def op(
        tyctx: Any, src: Any, base: Any, offsets: Any, first: Any, taps: Any, k0: Any, reach: Any, out: Any, at: Any
    ) -> Any:
        n = types.intp
        sig = types.void(src, n, offsets, n, taps, n, n, out, n)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            vt = ir.VectorType(F32, width)
            data, offs, ks, dst = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 4, 7))
            base, first, k0, reach, at = (args[i] for i in (1, 3, 5, 6, 8))
            kp = b.gep(ks, [k0])
            centre = b.add(first, reach)

            def row(i: Any) -> Any:
                return load(b, data, b.add(base, b.load(b.gep(offs, [i]))), vt)

            def step(j: Any, acc: list[Any]) -> list[Any]:
                right, left = row(b.add(centre, j)), row(b.sub(centre, j))
                pair = b.fsub(right, left) if odd else b.fadd(right, left)
                return [fused(b, splat(b, vt, b.load(b.gep(kp, [j]))), pair, acc[0])]

            start = b.fmul(splat(b, vt, b.load(kp)), row(centre))
            store(b, count_up(b, reach, [start], step)[0], dst, at)
            return ctx.get_dummy_value()

        return sig, codegen

    return op


def _make_group(width: int) -> Any:
    """Even taps of any radius, `GROUP` outputs that are neighbours along the taps.

    Output t is ``out[at + t * pitch:]``, centred on ``offsets[first + reach + t]``. Each neighbour is loaded once: what
    is one output's ``a[+j]`` is the previous one's ``a[+j + 1]``, so that arithmetic, not loading, sets the pace.
    """

    @intrinsic
    def op(
        tyctx: Any, src: Any, base: Any, offsets: Any, first: Any, taps: Any, reach: Any, out: Any, at: Any, pitch: Any
    ) -> Any:
        n = types.intp
        sig = types.void(src, n, offsets, n, taps, n, out, n, n)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            vt = ir.VectorType(F32, width)
            data, offs, ks, dst = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 4, 6))
            base, first, reach, at, pitch = (args[i] for i in (1, 3, 5, 7, 8))
            one, centre = ir.Constant(I64, 1), b.add(first, reach)
            ahead = b.add(centre, ir.Constant(I64, GROUP - 1))

            def row(i: Any) -> Any:
                return load(b, data, b.add(base, b.load(b.gep(offs, [i]))), vt)

            def step(j: Any, state: list[Any]) -> list[Any]:
                right = [*state[1:GROUP], row(b.add(ahead, j))]
                left = [row(b.sub(centre, j)), *state[GROUP : 2 * GROUP - 1]]
                k = splat(b, vt, b.load(b.gep(ks, [j])))
                sums = state[2 * GROUP :]
                sums = [fused(b, k, b.fadd(r, q), acc) for r, q, acc in zip(right, left, sums, strict=True)]
                return [*right, *left, *sums]

            def two_steps(i: Any, state: list[Any]) -> list[Any]:
                j = b.shl(i, one)
                return step(j, step(b.sub(j, one), state))

            rows = [row(b.add(centre, ir.Constant(I64, t))) for t in range(GROUP)]
            k = splat(b, vt, b.load(ks))
            state = [*rows, *rows, *(b.fmul(k, r) for r in rows)]
            # Two taps in one go: moving neighbours from register to register took as long as adding them.
            state = count_up(b, b.lshr(reach, one), state, two_steps)
            state = count_up(b, b.and_(reach, one), state, lambda _, state: step(reach, state))
            for total in state[2 * GROUP :]:
                store(b, total, dst, at)
                at = b.add(at, pitch)
            return ctx.get_dummy_value()

        return sig, codegen

    return op


@intrinsic
def derive_row(
    tyctx: Any,
    src: Any,
    base: Any,
    offsets: Any,
    taps: Any,
    reach: Any,
    wanted: Any,
    out: Any,
    at: Any,
    apart: Any,
    n: Any,
) -> Any:
    """Derivatives of orders 0, 1, 2 of a row of `n` values, from the same loads; taps stay in registers.

    ``offsets[0]`` ... ``offsets[2 * reach]`` lead to the neighbours, the radius is 1 or 2; taps of order o stand at
    ``taps[o * (reach + 1):]``, its output goes to ``out[at + o * apart:]``. Bit o of `wanted` asks for order o.
    """
    whole = types.intp
    sig = types.void(src, whole, offsets, taps, whole, whole, out, whole, whole, whole)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        data, offs, ks, dst = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 3, 6))
        base, reach, wanted, at, apart, n = (args[i] for i in (1, 4, 5, 7, 8, 9))
        done = b.append_basic_block("done")
        choice = b.switch(b.add(b.mul(reach, ir.Constant(I64, 8)), wanted), done)
        for radius in (1, 2):
            for mask in range(1, 8):
                case = b.append_basic_block("orders")
                choice.add_case(ir.Constant(I64, 8 * radius + mask), case)
                b.position_at_end(case)
                rows = [_move(b, b.gep(data, [base]), b.load(_move(b, offs, i))) for i in range(2 * radius + 1)]
                orders = {}
                for o in (o for o in range(3) if mask >> o & 1):
                    place = _move(b, dst, b.add(at, b.mul(apart, ir.Constant(I64, o))))
                    orders[o] = place, [b.load(_move(b, ks, o * (radius + 1) + j)) for j in range(radius + 1)]
                _sweep(b, n, partial(_derive_vector, b, rows, orders))
                b.branch(done)
        b.position_at_end(done)
        return ctx.get_dummy_value()

    return sig, codegen


def _move(b: ir.IRBuilder, pointer: Any, by: Any) -> Any:
    return b.gep(pointer, [ir.Constant(I64, by) if isinstance(by, int) else by])


def _sweep(b: ir.IRBuilder, n: Any, body: Callable[[Any, int], None]) -> None:
    """Call ``body(x, lanes)`` for all of 0 ... n, a multiple of 16: in wide vectors, and what is left in one of 16."""
    x = ir.Constant(I64, 0)
    for lanes in sorted({LANES, 16}, reverse=True) if LANES > 16 else [LANES]:
        entry, head = b.block, b.append_basic_block("sweep")
        inside, done = b.append_basic_block("vector"), b.append_basic_block("swept")
        b.branch(head)
        b.position_at_end(head)
        at = b.phi(I64)
        after = b.add(at, ir.Constant(I64, lanes))
        b.cbranch(b.icmp_signed("<=", after, n), inside, done)
        b.position_at_end(inside)
        body(at, lanes)
        at.add_incoming(x, entry)
        at.add_incoming(after, b.block)
        b.branch(head)
        b.position_at_end(done)
        x = at


def _derive_vector(b: ir.IRBuilder, rows: list[Any], orders: dict[int, Any], x: Any, lanes: int) -> None:
    vector = ir.VectorType(F32, lanes)
    values = [load(b, row, x, vector) for row in rows]
    reach = len(rows) // 2
    for order, (out, taps) in orders.items():
        total = b.fmul(splat(b, vector, taps[0]), values[reach])
        for j in range(1, reach + 1):
            right, left = values[reach + j], values[reach - j]
            pair = b.fsub(right, left) if order == 1 else b.fadd(right, left)
            total = fused(b, splat(b, vector, taps[j]), pair, total)
        store(b, total, out, x)


even64, even16 = _make_taps(64, False), _make_taps(16, False)
odd64, odd16 = _make_taps(64, True), _make_taps(16, True)
smooth_group, smooth_group8 = _make_group(LANES), _make_group(8)
