"""More operations on vectors (``simd``): masks, integers, and exact sums of squares.

Sixteen lanes throughout. A mask is what a comparison gives; it chooses lanes and guards additions.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from llvmlite.binding import llvm_version_info  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic

from segpipe.kernels.simd import DOUBLES, KIND, SINGLES, Vector

FLOATS, INTS = KIND[types.float32], KIND[types.int32]
LONGS = Vector(types.int64, ir.IntType(64), DOUBLES)
_I32, _I64 = ir.IntType(32), ir.IntType(64)
LIMB = (1 << 20) - 1
MASK = Vector(types.boolean, ir.IntType(1), SINGLES)


def _typed(result: Any, make: Callable[..., Any], operands: int) -> Any:
    """Intrinsic with a result of one kind, None = the last operand's: ``make(builder, *them)``."""

    def signed(*kinds: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            del context, signature
            return make(builder, *args)

        return (kinds[-1] if result is None else result)(*kinds), emit

    # numba counts the parameters of what it is given.
    of: dict[int, Callable[..., Any]] = {
        1: lambda _, a: signed(a),
        2: lambda _, a, b: signed(a, b),
        3: lambda _, a, b, c: signed(a, b, c),
    }
    return intrinsic(of[operands])


def _call(builder: Any, name: str, *operands: Any) -> Any:
    kind = operands[0].type
    function = ir.FunctionType(kind, [kind] * len(operands))
    called = cgutils.get_or_insert_function(builder.module, function, f"llvm.{name}.v16f32")
    return builder.call(called, operands)


def _whole(builder: Any, value: Any) -> Any:
    """Nearest integers: one instruction where LLVM knows it for vectors."""
    if llvm_version_info[0] < 20:
        return builder.fptosi(_call(builder, "rint", value), INTS.ir)
    function = ir.FunctionType(INTS.ir, [FLOATS.ir])
    name = "llvm.lrint.v16i32.v16f32"
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), [value])


def _in_longs(builder: Any, value: Any, odd: bool) -> Any:
    """Every other int32 as int64."""
    up = builder.bitcast(value, LONGS.ir)
    by = ir.Constant(LONGS.ir, [32] * DOUBLES)
    return builder.ashr(up if odd else builder.shl(up, by), by)


def _add_square(odd: bool) -> Callable[..., Any]:
    def make(builder: Any, total: Any, value: Any) -> Any:
        wide = _in_longs(builder, value, odd)
        return builder.add(total, builder.mul(wide, wide))

    return make


def _fetched(level: int) -> Any:
    """fetch(array, at): ask for the cache line of ``array[at]``; no bounds, nothing changes."""

    def fetched(typing: Any, array: Any, at: Any) -> Any:
        del typing, at

        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            data = context.make_array(signature.args[0])(context, builder, args[0]).data
            place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [place.type, _I32, _I32, _I32])
            called = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
            builder.call(called, [place, _I32(0), _I32(4 - level), _I32(1)])
            return context.get_dummy_value()

        return types.void(array, types.intp), emit

    return intrinsic(fetched)


fetch, fetch_near = _fetched(1), _fetched(2)
"""Into the first cache level, and into the second."""


def _limb(builder: Any, even: Any, odd: Any, by: Any) -> Any:
    one = builder.insert_element(
        ir.Constant(LONGS.ir, ir.Undefined), builder.zext(by, _I64), _I32(0)
    )
    zeros = ir.Constant(ir.VectorType(_I32, DOUBLES), None)
    shift = builder.shuffle_vector(one, one, zeros)
    keep = ir.Constant(LONGS.ir, [LIMB] * DOUBLES)
    low = builder.and_(builder.lshr(even, shift), keep)
    high = builder.and_(builder.lshr(odd, shift), keep)
    high = builder.shl(high, ir.Constant(LONGS.ir, [32] * DOUBLES))
    return builder.bitcast(builder.or_(low, high), INTS.ir)


def _turned(builder: Any, lines: list[Any]) -> list[Any]:
    """16 x 16 int32 transposed: each of four rounds interleaves line i with line i + 8."""
    halves = [
        ir.Constant(INTS.ir, [i // 2 + i % 2 * SINGLES for i in range(start, start + SINGLES)])
        for start in (0, SINGLES)
    ]
    for _ in range(4):
        lines = [
            builder.shuffle_vector(lines[i], lines[i + 8], half)
            for i in range(8)
            for half in halves
        ]
    return lines


def _lines(builder: Any, array: Any, at: Any, stride: Any, kind: Any) -> list[Any]:
    """Places of sixteen vectors ``stride`` elements apart."""
    places = []
    for _ in range(SINGLES):
        places.append(builder.bitcast(builder.gep(array, [at]), kind.as_pointer()))
        at = builder.add(at, stride)
    return places


@intrinsic  # type: ignore[untyped-decorator]
def turn(typing: Any, source: Any, at: Any, target: Any) -> Any:
    """Transpose 16 x 16 int32 from ``source[at]`` on into ``target``; no bounds."""
    del typing, at

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        data = context.make_array(kinds[0])(context, builder, args[0]).data
        out = context.make_array(kinds[2])(context, builder, args[2]).data
        step = ir.Constant(_I64, SINGLES)
        places = _lines(builder, data, args[1], step, INTS.ir)
        lines = _turned(builder, [builder.load(place, align=4) for place in places])
        to = _lines(builder, out, ir.Constant(_I64, 0), step, INTS.ir)
        for line, place in zip(lines, to, strict=True):
            builder.store(line, place, align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, target), emit


@intrinsic  # type: ignore[untyped-decorator]
def turn_whole(
    typing: Any, x: Any, at: Any, stride: Any, squares: Any, place: Any, target: Any
) -> Any:
    """Sixteen features of sixteen rows as integers of 2^-20, row by row into ``target``.

    Features lie ``stride`` apart from ``x[at]`` on. Adds their squares to the int64 from
    ``squares[place]`` on: eight of even rows, then eight of odd ones. No bounds.
    """
    del typing, at, stride, place

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        data = context.make_array(kinds[0])(context, builder, args[0]).data
        total = context.make_array(kinds[3])(context, builder, args[3]).data
        out = context.make_array(kinds[5])(context, builder, args[5]).data
        unit = ir.Constant(FLOATS.ir, [2.0**20] * SINGLES)
        halves = [
            builder.bitcast(
                builder.gep(total, [builder.add(args[4], ir.Constant(_I64, by))]),
                LONGS.ir.as_pointer(),
            )
            for by in (0, DOUBLES)
        ]
        even, odd = (builder.load(half, align=8) for half in halves)
        lines = []
        for line in _lines(builder, data, args[1], args[2], FLOATS.ir):
            value = _whole(builder, builder.fmul(builder.load(line, align=4), unit))
            even = _add_square(False)(builder, even, value)
            odd = _add_square(True)(builder, odd, value)
            lines.append(value)
        builder.store(even, halves[0], align=8)
        builder.store(odd, halves[1], align=8)
        to = _lines(builder, out, ir.Constant(_I64, 0), ir.Constant(_I64, SINGLES), INTS.ir)
        for line, where in zip(_turned(builder, lines), to, strict=True):
            builder.store(line, where, align=4)
        return context.get_dummy_value()

    return types.void(x, types.intp, types.intp, squares, types.intp, target), emit


@intrinsic  # type: ignore[untyped-decorator]
def add_to(typing: Any, target: Any, to: Any, source: Any, at: Any) -> Any:
    """Add sixteen int32 from ``source[at]`` on to the int64 from ``target[to]`` on; no bounds."""
    del typing, to, at

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        long = ir.VectorType(_I64, SINGLES)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        more = context.make_array(signature.args[2])(context, builder, args[2]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), long.as_pointer())
        value = builder.bitcast(builder.gep(more, [args[3]]), INTS.ir.as_pointer())
        wide = builder.sext(builder.load(value, align=4), long)
        builder.store(builder.add(builder.load(place, align=8), wide), place, align=8)
        return context.get_dummy_value()

    return types.void(target, types.intp, source, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def one_of(typing: Any, array: Any, at: Any) -> Any:
    """``array[at]`` without bounds, and without numba's provision for indices below zero."""
    del typing, at

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        return builder.load(builder.gep(data, [args[1]]))

    return array.dtype(array, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def widened(typing: Any, array: Any, at: Any) -> Any:
    """Eight float32 or int32 from ``array[at]`` on as float64; no bounds."""
    del typing, at

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        narrow = ir.VectorType(KIND[array.dtype].ir.element, DOUBLES)
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), narrow.as_pointer())
        value = builder.load(place, align=4)
        whole = array.dtype == types.int32
        return (builder.sitofp if whole else builder.fpext)(value, KIND[types.float64].ir)

    return KIND[types.float64](array, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def looked_up(typing: Any, table: Any, base: Any, index: Any, at: Any) -> Any:
    """Eight float64 ``table[base + i]``, i the eight int32 from ``index[at]`` on; no bounds."""
    del typing, base, at
    kind = KIND[types.float64]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        data = context.make_array(kinds[0])(context, builder, args[0]).data
        which = context.make_array(kinds[2])(context, builder, args[2]).data
        narrow = ir.VectorType(_I32, DOUBLES)
        place = builder.bitcast(builder.gep(which, [args[3]]), narrow.as_pointer())
        wide = builder.sext(builder.load(place, align=4), LONGS.ir)
        start = builder.ptrtoint(builder.gep(data, [args[1]]), _I64)
        one = builder.insert_element(ir.Constant(LONGS.ir, ir.Undefined), start, _I32(0))
        same = ir.Constant(ir.VectorType(_I32, DOUBLES), None)
        spread = builder.shuffle_vector(one, one, same)
        lines = builder.add(spread, builder.shl(wide, ir.Constant(LONGS.ir, [3] * DOUBLES)))
        places = ir.VectorType(data.type, DOUBLES)
        lines = builder.inttoptr(lines, places)
        masks = ir.VectorType(ir.IntType(1), DOUBLES)
        shape = ir.FunctionType(kind.ir, [places, _I32, masks, kind.ir])
        name = "llvm.masked.gather.v8f64.v8p0"
        called = cgutils.get_or_insert_function(builder.module, shape, name)
        every = ir.Constant(masks, [1] * DOUBLES)
        return builder.call(called, [lines, _I32(8), every, ir.Constant(kind.ir, None)])

    return kind(table, types.intp, index, types.intp), emit


def _root(builder: Any, value: Any) -> Any:
    function = ir.FunctionType(value.type, [value.type])
    called = cgutils.get_or_insert_function(builder.module, function, "llvm.sqrt.v8f64")
    return builder.call(called, [value])


root = _typed(KIND[types.float64], _root, 1)
"""Square roots of eight float64, correctly rounded."""
less = _typed(MASK, lambda b, x, y: b.fcmp_ordered("<", x, y), 2)
"""less(x, y) of float32: the lanes where x < y."""
equal = _typed(MASK, lambda b, x, y: b.icmp_signed("==", x, y), 2)
"""equal(x, y) of int32."""
reaches = _typed(MASK, lambda b, x, y: b.icmp_signed(">=", x, y), 2)
"""reaches(x, y) of int32: the lanes where x >= y."""
pick = _typed(None, lambda b, mask, yes, no: b.select(mask, yes, no), 3)
"""pick(mask, yes, no) lane by lane."""
least = _typed(FLOATS, lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), x, y), 2)
most = _typed(FLOATS, lambda b, x, y: b.select(b.fcmp_ordered("<", x, y), y, x), 2)
size = _typed(FLOATS, lambda b, x: _call(b, "fabs", x), 1)
"""size(x): without the sign."""
whole = _typed(INTS, _whole, 1)
"""whole(x): float32 to the nearest int32, ties to even."""
even_squares = _typed(LONGS, _add_square(False), 2)
"""even_squares(total, x): eight int64 plus the squares of the int32 in even lanes."""
odd_squares = _typed(LONGS, _add_square(True), 2)
limb = _typed(INTS, _limb, 3)
"""limb(even, odd, by): of the int64 of even and of odd lanes, 20 bits from bit ``by`` on."""
as_longs = _typed(LONGS, lambda b, x: b.bitcast(x, LONGS.ir), 1)
"""Sixteen int32, as ``as_ints`` stores them, as eight int64."""
as_ints = _typed(INTS, lambda b, x: b.bitcast(x, INTS.ir), 1)
"""Eight int64 as sixteen int32, to be stored; ``as_longs`` is the way back."""
gather = _typed(None, lambda b, mask, total, x: b.select(mask, b.add(total, x), total), 3)
"""gather(mask, total, x): integer total plus x in the lanes of the mask."""
