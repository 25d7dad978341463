"""Vectors of fixed width as values in compiled loops: what LLVM's vectoriser does not find itself.

Eight float64 or sixteen float32 or int32 (one AVX-512 register; two on AVX2) with the operations
of IEEE 754 lane by lane, so that a row's bits do not depend on its lane. ``fma`` rounds once
wherever it is compiled: hardware without it calls a routine that gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, errors, types
from numba.extending import intrinsic, models, register_model

DOUBLES, SINGLES = 8, 16
"""Lanes of a vector of float64, and of float32 and int32."""

_I32, _I64 = ir.IntType(32), ir.IntType(64)


class Vector(types.Type):  # type: ignore[misc]
    """A vector as numba's type inference sees it."""

    def __init__(self, scalar: Any, element: Any, lanes: int) -> None:
        self.scalar = scalar
        self.ir = ir.VectorType(element, lanes)
        super().__init__(f"vector({scalar}, {lanes})")


class _Model(models.PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.ir)


register_model(Vector)(_Model)
KIND = {
    types.float64: Vector(types.float64, ir.DoubleType(), DOUBLES),
    types.float32: Vector(types.float32, ir.FloatType(), SINGLES),
    types.int32: Vector(types.int32, _I32, SINGLES),
}

_LETTERS = {types.float32: "f32", types.int32: "i32"}
"""How LLVM's names of functions spell them."""


def _place(context: Any, builder: Any, signature: Any, args: Any, vector: Any) -> Any:
    data = context.make_array(signature.args[0])(context, builder, args[0]).data
    return builder.bitcast(builder.gep(data, [args[1]]), vector.ir.as_pointer())


def _contiguous(array: Any) -> None:
    if array.layout != "C":
        raise errors.TypingError("vectors are loaded from and stored to contiguous arrays only")


@intrinsic  # type: ignore[untyped-decorator]
def load(typing: Any, array: Any, at: Any) -> Any:
    """Lanes of a contiguous array from its ``at``-th element on, in memory order; no bounds."""
    del typing, at
    _contiguous(array)
    vector = KIND[array.dtype]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args, vector)
        return builder.load(place, align=array.dtype.bitwidth // 8)

    return vector(array, types.intp), emit


@intrinsic  # type: ignore[untyped-decorator]
def store(typing: Any, array: Any, at: Any, value: Any) -> Any:
    """Write lanes where ``load`` would read them; no bounds."""
    del typing, at
    _contiguous(array)

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        place = _place(context, builder, signature, args, value)
        builder.store(args[2], place, align=array.dtype.bitwidth // 8)
        return context.get_dummy_value()

    return types.void(array, types.intp, value), emit


@intrinsic  # type: ignore[untyped-decorator]
def gather(typing: Any, array: Any, index: Any) -> Any:
    """Elements of a contiguous array of float32 or int32 at an int32 index per lane; no bounds."""
    del typing
    _contiguous(array)
    vector = KIND[array.dtype]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        data = context.make_array(signature.args[0])(context, builder, args[0]).data
        kind, size = vector.ir, array.dtype.bitwidth // 8
        wide, mask = ir.VectorType(_I64, kind.count), ir.VectorType(ir.IntType(1), kind.count)
        none = ir.Constant(wide, ir.Undefined)
        first = builder.insert_element(none, builder.ptrtoint(data, _I64), _I32(0))
        same = builder.shuffle_vector(
            first, none, ir.Constant(ir.VectorType(_I32, kind.count), None)
        )
        away = builder.mul(builder.sext(args[1], wide), ir.Constant(wide, [size] * kind.count))
        pointers = ir.VectorType(ir.PointerType(kind.element), kind.count)
        places = builder.inttoptr(builder.add(same, away), pointers)
        name = f"llvm.masked.gather.v{kind.count}{_LETTERS[array.dtype]}.v{kind.count}p0"
        taken = ir.FunctionType(kind, [pointers, _I32, mask, kind])
        function = cgutils.get_or_insert_function(builder.module, taken, name)
        every = ir.Constant(mask, [1] * kind.count)
        return builder.call(function, [places, _I32(size), every, ir.Constant(kind, ir.Undefined)])

    return vector(array, index), emit


@intrinsic  # type: ignore[untyped-decorator]
def splat(typing: Any, scalar: Any) -> Any:
    """A float64, float32 or int32 in every lane."""
    del typing
    vector = KIND[scalar]

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del context, signature
        none = ir.Constant(vector.ir, ir.Undefined)
        one = builder.insert_element(none, args[0], _I32(0))
        first = ir.Constant(ir.VectorType(_I32, vector.ir.count), None)
        return builder.shuffle_vector(one, none, first)

    return vector(scalar), emit


@intrinsic  # type: ignore[untyped-decorator]
def choose(typing: Any, a: Any, b: Any, yes: Any, no: Any) -> Any:
    """Lanes of yes where a < b, of no elsewhere; a and b of one kind, yes and no of one kind."""
    del typing, b, no

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del context, signature
        return builder.select(builder.fcmp_ordered("<", *args[:2]), *args[2:])

    return yes(a, a, yes, yes), emit


@intrinsic  # type: ignore[untyped-decorator]
def some(typing: Any, a: Any, b: Any) -> Any:
    """Whether a <= b in any lane."""
    del typing, b

    def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        del context, signature
        lanes = builder.fcmp_ordered("<=", *args)
        bits = ir.IntType(a.ir.count)
        return builder.icmp_unsigned("!=", builder.bitcast(lanes, bits), bits(0))

    return types.boolean(a, a), emit


def _lanewise(make: Callable[..., Any], operands: int) -> Any:
    """Operation on vectors of one kind: ``make(builder, kind, *operands)``."""

    def signed(kind: Any) -> Any:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            del context, signature
            return make(builder, kind.ir, *args)

        return kind(*[kind] * operands), emit

    # numba counts the parameters of what it is given.
    of: dict[int, Callable[..., Any]] = {
        1: lambda _, a: signed(a),
        2: lambda _, a, _b: signed(a),
        3: lambda _, a, _b, _c: signed(a),
    }
    return intrinsic(of[operands])


def _fma(builder: Any, kind: Any, *operands: Any) -> Any:
    name = f"llvm.fma.v{kind.count}f{64 if kind.count == DOUBLES else 32}"
    function = ir.FunctionType(kind, [kind] * 3)
    return builder.call(cgutils.get_or_insert_function(builder.module, function, name), operands)


def _raise_exponent(builder: Any, kind: Any, value: Any, power: Any) -> Any:
    bits = ir.VectorType(_I64, kind.count)
    up = builder.shl(builder.bitcast(power, bits), ir.Constant(bits, [52] * kind.count))
    return builder.bitcast(builder.add(builder.bitcast(value, bits), up), kind)


def _odd(builder: Any, kind: Any, value: Any) -> Any:
    bits = ir.VectorType(_I64, kind.count)
    raw = builder.bitcast(value, bits)
    odd = builder.or_(raw, ir.Constant(bits, [1] * kind.count))
    some = builder.fcmp_unordered("!=", value, ir.Constant(kind, None))
    return builder.bitcast(builder.select(some, odd, raw), kind)


add_whole = _lanewise(lambda builder, _, a, b: builder.add(a, b), 2)
"""Of int32."""
add = _lanewise(lambda builder, _, a, b: builder.fadd(a, b), 2)
sub = _lanewise(lambda builder, _, a, b: builder.fsub(a, b), 2)
mul = _lanewise(lambda builder, _, a, b: builder.fmul(a, b), 2)
div = _lanewise(lambda builder, _, a, b: builder.fdiv(a, b), 2)
fma = _lanewise(_fma, 3)
"""fma(a, b, c) = a b + c."""
raise_exponent = _lanewise(_raise_exponent, 2)
"""raise_exponent(v, p) of float64: v times 2 to the integer that p + 1.5 2^52 was rounded to."""
odd = _lanewise(_odd, 1)
"""Float64 with the last bit set, zeros unchanged."""
