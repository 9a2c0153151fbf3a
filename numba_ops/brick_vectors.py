"""What the forest does with bricks of 64 voxels, one bit of a 64-bit mask for each, as LLVM intrinsics."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from numba_ops.trees import BRICK
from numba_ops.vector import F32, I32, I64, count_up, data_of, has_feature, load, splat, store

ROW = 16  # voxels along x that are gathered at once: a cache line
PARTED = 8  # nodes that `part_nodes` takes at once
I1, I8 = ir.IntType(1), ir.IntType(8)


@intrinsic
def below_mask(tyctx: Any, array: Any, at: Any, threshold: Any) -> Any:
    """Bit k of the result: ``array[at + k] < threshold``, for 64 values."""
    sig = types.uint64(array, types.uint64, types.float32)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        vt = ir.VectorType(F32, BRICK)
        x = load(b, data_of(ctx, b, s.args[0], args[0]), args[1], vt)
        return b.bitcast(b.fcmp_ordered("<", x, splat(b, vt, args[2])), I64)

    return sig, codegen


def _make_part(compressing: bool) -> Any:
    """Hand the masks of 8 nodes down to their children, leaves apart from other nodes, those without a voxel left out.

    words : uint64
        At `masks` those of the nodes, at `below` what `below_mask` says of each, at `kids` the codes of its children,
        the left one's in the lower half; the masks of the children are written from `inner` and `leaves` on.
    codes : uint32
        Codes of children are written from `inner` and ``leaves + leaf_codes`` on; those of leaves have the highest bit.

    The result is where `inner` and `leaves` go on; up to 8 elements behind them are overwritten. No branch depends on
    the data: a walk that branches spends most of its time on branches that were foreseen wrongly.
    """

    @intrinsic
    def op(
        tyctx: Any, words: Any, codes: Any, masks: Any, below: Any, kids: Any, inner: Any, leaves: Any, leaf_codes: Any
    ) -> Any:
        n = types.uint64
        sig = types.UniTuple(n, 2)(words, codes, n, n, n, n, n, n)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            memory, numbers = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 1))
            part = _part_all if compressing else _part_each
            return ctx.make_tuple(b, s.return_type, part(b, memory, numbers, *args[2:]))

        return sig, codegen

    return op


def _part_all(
    b: ir.IRBuilder,
    memory: Any,
    numbers: Any,
    masks: Any,
    below: Any,
    kids: Any,
    inner: Any,
    leaves: Any,
    leaf_codes: Any,
) -> list[Any]:
    """All 8 nodes in vectors, which is fast where an instruction moves chosen lanes to the front."""
    long, short = ir.VectorType(I64, PARTED), ir.VectorType(I32, PARTED)
    none, high = ir.Constant(long, [0] * PARTED), ir.Constant(long, [32] * PARTED)
    mask, pair = (load(b, memory, at, long) for at in (masks, kids))
    left = b.and_(mask, load(b, memory, below, long))
    right, upper = b.xor(mask, left), b.lshr(pair, high)
    for side, code in ((left, b.trunc(pair, short)), (right, b.trunc(upper, short))):
        met = b.icmp_unsigned("!=", side, none)
        leaf = b.icmp_signed("<", code, ir.Constant(short, [0] * PARTED))
        kept = b.and_(met, b.not_(leaf))
        store(b, _compress(b, code, kept), numbers, inner)
        store(b, _compress(b, side, kept), memory, inner)
        inner = b.add(inner, _count_bits(b, kept))
        kept = b.and_(met, leaf)
        store(b, _compress(b, code, kept), numbers, b.add(leaves, leaf_codes))
        store(b, _compress(b, side, kept), memory, leaves)
        leaves = b.add(leaves, _count_bits(b, kept))
    return [inner, leaves]


def _part_each(
    b: ir.IRBuilder,
    memory: Any,
    numbers: Any,
    masks: Any,
    below: Any,
    kids: Any,
    inner: Any,
    leaves: Any,
    leaf_codes: Any,
) -> list[Any]:
    """One node after the other: every child is stored, and overwritten by the next if it is not wanted."""
    for i in range(PARTED):
        mask, said, pair = (b.load(b.gep(memory, [b.add(at, ir.Constant(I64, i))])) for at in (masks, below, kids))
        left = b.and_(mask, said)
        right, upper = b.xor(mask, left), b.lshr(pair, ir.Constant(I64, 32))
        for side, code in ((left, b.trunc(pair, I32)), (right, b.trunc(upper, I32))):
            leaf = b.icmp_signed("<", code, ir.Constant(I32, 0))
            b.store(side, b.gep(memory, [b.select(leaf, leaves, inner)]))
            b.store(code, b.gep(numbers, [b.select(leaf, b.add(leaves, leaf_codes), inner)]))
            met = b.icmp_unsigned("!=", side, ir.Constant(I64, 0))
            inner = b.add(inner, b.zext(b.and_(met, b.not_(leaf)), I64))
            leaves = b.add(leaves, b.zext(b.and_(met, leaf), I64))
    return [inner, leaves]


def _compress(b: ir.IRBuilder, vector: Any, kept: Any) -> Any:
    """The chosen lanes at the front: one instruction with AVX-512, elsewhere stores that do not branch either."""
    kind = vector.type
    name = f"llvm.experimental.vector.compress.v{kind.count}i{kind.element.width}"
    function = ir.FunctionType(kind, [kind, kept.type, kind])
    return b.call(
        cgutils.get_or_insert_function(b.module, function, name), [vector, kept, ir.Constant(kind, ir.Undefined)]
    )


def _count_bits(b: ir.IRBuilder, kept: Any) -> Any:
    function = cgutils.get_or_insert_function(b.module, ir.FunctionType(I8, [I8]), "llvm.ctpop.i8")
    return b.zext(b.call(function, [b.bitcast(kept, I8)]), I64)


@intrinsic
def count_votes(tyctx: Any, words: Any, first: Any, n: Any, out: Any, at: Any) -> Any:
    """``out[at + k] +=`` how many of the `n` masks from `first` on have bit k; at most 255 masks."""
    sig = types.void(words, types.intp, types.intp, out, types.intp)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        memory, sums = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 3))
        counts, flags, floats = (ir.VectorType(kind, BRICK) for kind in (I8, I1, F32))
        before = b.gep(memory, [b.sub(args[1], ir.Constant(I64, 1))])

        def step(j: Any, state: list[Any]) -> list[Any]:
            mask = b.bitcast(b.load(b.gep(before, [j])), flags)
            return [b.sub(state[0], b.sext(mask, counts))]

        total = count_up(b, args[2], [ir.Constant(counts, [0] * BRICK)], step)[0]
        store(b, b.fadd(load(b, sums, args[4], floats), b.uitofp(total, floats)), sums, args[4])
        return ctx.get_dummy_value()

    return sig, codegen


@intrinsic
def add_shares(
    tyctx: Any, sums: Any, at: Any, masks: Any, leaves: Any, first: Any, n: Any, table: Any, classes: Any, k: Any
) -> Any:
    """Add the shares of `n` leaves, one after the other, to the 64 sums from `at` on.

    Leaf ``leaves[i]``, for i from `first` on, adds ``table[leaves[i] * classes + k]`` where bits of ``masks[i]`` are
    set. Sums and table have one type; sums stay in registers.
    """
    whole = types.intp
    sig = types.void(sums, whole, masks, leaves, whole, whole, table, whole, whole)

    def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
        out, bits, numbers, shares = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 3, 6))
        at, first, n, classes, k = (args[i] for i in (1, 4, 5, 7, 8))
        vt = ir.VectorType(ctx.get_data_type(s.args[0].dtype), BRICK)
        before = b.sub(first, ir.Constant(I64, 1))

        def step(j: Any, state: list[Any]) -> list[Any]:
            i = b.add(before, j)
            lanes = b.bitcast(b.load(b.gep(bits, [i])), ir.VectorType(I1, BRICK))
            leaf = b.zext(b.load(b.gep(numbers, [i])), I64)
            share = b.load(b.gep(shares, [b.add(b.mul(leaf, classes), k)]))
            return [b.select(lanes, b.fadd(state[0], splat(b, vt, share)), state[0])]

        store(b, count_up(b, n, [load(b, out, at, vt)], step)[0], out, at)
        return ctx.get_dummy_value()

    return sig, codegen


def _make_gather(width: int) -> Any:
    """Copy 16 neighbouring voxels of each row of a column into the bricks that they belong to.

    Row r is ``array[at + places[r]:]``, of which each `width` voxels are row r of the next brick; brick i is stored at
    ``out[to + i * apart:]``. What lies `ahead` of each row is fetched into the second-level cache. The result says
    whether there is a NaN.
    """

    @intrinsic
    def op(tyctx: Any, array: Any, at: Any, places: Any, out: Any, to: Any, apart: Any, ahead: Any) -> Any:
        n = types.intp
        sig = types.boolean(array, n, places, out, n, n, n)

        def codegen(ctx: Any, b: ir.IRBuilder, s: Any, args: Any) -> Any:
            data, offsets, dst = (data_of(ctx, b, s.args[i], args[i]) for i in (0, 2, 3))
            vt = ir.VectorType(F32, ROW)
            rows = []
            for r in range(BRICK // width):
                place = b.load(b.gep(offsets, [ir.Constant(I64, r)]))
                row = b.add(args[1], place)
                rows.append(load(b, data, row, vt))
                _prefetch(b, b.gep(data, [b.add(row, args[6])]))
            invalid = [b.fcmp_unordered("uno", *pair) for pair in zip(rows[::2], rows[1::2], strict=True)]
            while len(invalid) > 1:
                invalid = [b.or_(*pair) for pair in zip(invalid[::2], invalid[1::2], strict=True)]
            bricks = _transpose4(b, rows) if width == 4 else _transpose8(b, rows)
            to = args[4]
            for brick in bricks:
                for i, vector in enumerate(brick):
                    store(b, vector, dst, b.add(to, ir.Constant(I64, i * ROW)))
                to = b.add(to, args[5])
            word = b.bitcast(invalid[0], ir.IntType(ROW))
            return b.icmp_unsigned("!=", word, ir.Constant(word.type, 0))

        return sig, codegen

    return op


def _prefetch(b: ir.IRBuilder, pointer: Any) -> None:
    byte = I8.as_pointer()
    function = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
    read, second_level, data = (ir.Constant(I32, i) for i in (0, 2, 1))
    fetch = cgutils.get_or_insert_function(b.module, function, "llvm.prefetch.p0")
    b.call(fetch, [b.bitcast(pointer, byte), read, second_level, data])


def _transpose4(b: ir.IRBuilder, rows: list[Any]) -> list[list[Any]]:
    """The vectors of four bricks from 16 rows, by quarters."""
    bricks: list[list[Any]] = [[], [], [], []]
    for r in range(0, len(rows), 4):
        low = [_quarters(b, rows[r + i], rows[r + i + 1], (0, 1, 4, 5)) for i in (0, 2)]
        high = [_quarters(b, rows[r + i], rows[r + i + 1], (2, 3, 6, 7)) for i in (0, 2)]
        for i, halves in enumerate((low, low, high, high)):
            bricks[i].append(_quarters(b, halves[0], halves[1], (0, 2, 4, 6) if i % 2 == 0 else (1, 3, 5, 7)))
    return bricks


def _transpose8(b: ir.IRBuilder, rows: list[Any]) -> list[list[Any]]:
    """The vectors of two bricks from 8 rows, by halves."""
    pairs = list(zip(rows[::2], rows[1::2], strict=True))
    return [[_quarters(b, one, two, chosen) for one, two in pairs] for chosen in ((0, 1, 4, 5), (2, 3, 6, 7))]


def _quarters(b: ir.IRBuilder, one: Any, two: Any, chosen: Iterable[int]) -> Any:
    """A vector of quarters of two others; those of the second are numbers 4 to 7."""
    lanes = [4 * quarter + i for quarter in chosen for i in range(4)]
    return b.shuffle_vector(one, two, ir.Constant(ir.VectorType(I32, len(lanes)), lanes))


gather4, gather8 = _make_gather(4), _make_gather(8)
part_all, part_each = _make_part(True), _make_part(False)
part_nodes = part_all if has_feature("avx512vl") else part_each
