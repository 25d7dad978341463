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


@intrinsic  # type: ignore[untyped-decorator]
def fetch(typing: Any, array: Any, at: Any) -> Any:
    """Ask for the cache line of ``array[at]``; no bounds, nothing changes."""
    del typing, at

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        place = builder.bitcast(builder.gep(data, [args[1]]), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [place.type, _I32, _I32, _I32])
        called = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(called, [place, _I32(0), _I32(3), _I32(1)])
        return context.get_dummy_value()

    return types.void(array, types.intp), emit


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


@intrinsic  # type: ignore[untyped-decorator]
def turn(typing: Any, source: Any, at: Any, stride: Any, target: Any) -> Any:
    """Transpose 16 x 16 int32: lines ``stride`` apart from ``source[at]`` on, into ``target``.

    Each of four rounds interleaves line i with line i + 8; no bounds.
    """
    del typing, at, stride

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kinds = signature.args
        data = context.make_array(kinds[0])(context, builder, args[0]).data
        out = context.make_array(kinds[3])(context, builder, args[3]).data
        lines = []
        where = args[1]
        for _ in range(SINGLES):
            place = builder.bitcast(builder.gep(data, [where]), INTS.ir.as_pointer())
            lines.append(builder.load(place, align=4))
            where = builder.add(where, args[2])
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
        for i, line in enumerate(lines):
            place = builder.gep(out, [ir.Constant(_I64, i * SINGLES)])
            builder.store(line, builder.bitcast(place, INTS.ir.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(source, types.intp, types.intp, target), emit


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


less = _typed(MASK, lambda b, x, y: b.fcmp_ordered("<", x, y), 2)
"""less(x, y) of float32: the lanes where x < y."""
equal = _typed(MASK, lambda b, x, y: b.icmp_signed("==", x, y), 2)
"""equal(x, y) of int32."""
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
no_longs = _typed(LONGS, lambda b, x: b.bitcast(x, LONGS.ir), 1)
"""Eight int64 zeros from sixteen int32 zeros."""
gather = _typed(None, lambda b, mask, total, x: b.select(mask, b.add(total, x), total), 3)
"""gather(mask, total, x): integer total plus x in the lanes of the mask."""
