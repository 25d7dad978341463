"""The value of a row expression on an Arrow batch."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import ConfigError

Node = tuple[Any, ...]
"""("name", column) | ("literal", value) | (operator, Node, ...)."""

COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "equal",
    ast.NotEq: "not_equal",
    ast.Lt: "less",
    ast.LtE: "less_equal",
    ast.Gt: "greater",
    ast.GtE: "greater_equal",
}
_COMPARE = frozenset(COMPARISONS.values())
Value = Any
"""A pyarrow Array, or a Scalar where the expression is constant."""


@dataclass(frozen=True, slots=True)
class Rows:
    """What an expression is evaluated on; ``text`` is for messages."""

    batch: pa.RecordBatch
    untyped: bool
    text: str

    def wrong(self, what: str, hint: str) -> ConfigError:
        """The error that names this expression."""
        return ConfigError(f"expression {self.text!r} {what}.", hint)


def _column(name: str, rows: Rows) -> pa.Array:
    index = rows.batch.schema.get_field_index(name)
    if index < 0:
        raise rows.wrong(
            f"uses {name!r}, which the table lacks", f"it has {rows.batch.schema.names}."
        )
    array = rows.batch.column(index)
    kind = array.type
    if pa.types.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    if pa.types.is_floating(kind):
        array = array.cast(pa.float64())
        # NaN is a missing value everywhere in segpipe.
        return pc.if_else(pc.is_nan(array), pa.scalar(None, pa.float64()), array)
    if pa.types.is_decimal(kind) or pa.types.is_uint64(kind):
        return array.cast(pa.float64(), safe=False)
    if pa.types.is_integer(kind):
        return array.cast(pa.int64())
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return array.cast(pa.string())
    if pa.types.is_date(kind) or pa.types.is_timestamp(kind):
        return array.cast(pa.timestamp("us"), safe=False)
    return array


def _is_number(kind: pa.DataType) -> bool:
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind))


def _literal(value: bool | int | float | str | None) -> pa.Scalar:
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) >= 1 << 63:
        return pa.scalar(float(value))
    return pa.scalar(value)


def _number(value: Value, rows: Rows) -> Value:
    if _is_number(value.type) or pa.types.is_boolean(value.type) or pa.types.is_null(value.type):
        return value.cast(pa.float64(), safe=False)
    if rows.untyped and pa.types.is_string(value.type):
        return parse_numbers(value)
    raise rows.wrong(f"calculates with {value.type}", "use numeric columns.")


def parse_numbers(text: Value) -> Value:
    """Text as float64; null where it is no plain decimal number."""
    trimmed = pc.utf8_trim_whitespace(text)
    plain = pc.match_substring_regex(
        trimmed, r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
    )
    kept = pc.if_else(plain, trimmed, pa.scalar(None, pa.string()))
    # Arrow's parser takes no leading '+'.
    return pc.replace_substring_regex(kept, pattern=r"^\+", replacement="").cast(pa.float64())


def _instant(value: Value, rows: Rows) -> Value:
    """ISO text (of a literal) as a timestamp in UTC without a zone."""
    text = value.as_py() if isinstance(value, pa.Scalar) else None
    if text is None:
        raise rows.wrong("compares a time with a text column", "compare it with an ISO literal.")
    try:
        return pa.scalar(text).cast(pa.timestamp("us", "UTC")).cast(pa.timestamp("us"))
    except pa.ArrowInvalid:
        pass
    try:
        return pa.scalar(text).cast(pa.timestamp("us"))
    except pa.ArrowInvalid as error:
        raise rows.wrong(
            f"compares a time with {text!r}", "write it as 2011-12-09 or 2011-12-09 08:26:00."
        ) from error


def _align(left: Value, right: Value, rows: Rows) -> tuple[Value, Value]:
    """Both sides in one type; ConfigError 78 where text meets a number."""
    a, b = left.type, right.type
    if a == b or pa.types.is_null(a) or pa.types.is_null(b):
        return left, right
    if pa.types.is_timestamp(a) and pa.types.is_string(b):
        return left, _instant(right, rows)
    if pa.types.is_timestamp(b) and pa.types.is_string(a):
        return _instant(left, rows), right
    plain = [pa.types.is_boolean(kind) or _is_number(kind) for kind in (a, b)]
    if all(plain) or (rows.untyped and any(plain) and any(map(pa.types.is_string, (a, b)))):
        return _number(left, rows), _number(right, rows)
    raise rows.wrong(
        f"compares {a} with {b}",
        "compare text with 'text' in quotes, numbers with numbers; contract.rules see types.",
    )


def _truth(value: Value, rows: Rows) -> Value:
    if pa.types.is_boolean(value.type) or pa.types.is_null(value.type):
        return value.cast(pa.bool_())
    raise rows.wrong(
        f"takes {value.type} as a condition", "compare it with something, for example '!= 0'."
    )


def evaluate(node: Node, rows: Rows) -> Value:  # noqa: PLR0911, PLR0912 - one per operator
    """The value of ``node`` on each row; see ``expr`` for the meaning."""
    match node:
        case ("name", name):
            return _column(name, rows)
        case ("literal", value):
            return _literal(value)
        case ("not", inner):
            return pc.invert(_truth(evaluate(inner, rows), rows))
        case ("and", left, right):
            return pc.and_kleene(
                _truth(evaluate(left, rows), rows), _truth(evaluate(right, rows), rows)
            )
        case ("or", left, right):
            return pc.or_kleene(
                _truth(evaluate(left, rows), rows), _truth(evaluate(right, rows), rows)
            )
        case ("missing", inner):
            return pc.is_null(evaluate(inner, rows))
        case ("negate", inner):
            return pc.negate(_number(evaluate(inner, rows), rows))
        case ("abs", inner):
            return pc.abs(_number(evaluate(inner, rows), rows))
        case ("len", inner):
            value = evaluate(inner, rows)
            if pa.types.is_string(value.type):
                return pc.utf8_length(value).cast(pa.int64())
            if pa.types.is_list(value.type):
                return pc.list_value_length(value).cast(pa.int64())
            raise rows.wrong(f"takes len() of {value.type}", "len() is for text and lists.")
        case ("in", inner, *choices):
            value = evaluate(inner, rows)
            found: Value = pa.scalar(False)
            for choice in choices:
                found = pc.or_kleene(found, pc.equal(*_align(value, evaluate(choice, rows), rows)))
            return pc.if_else(pc.is_null(value), pa.scalar(None, pa.bool_()), found)
    operator, left, right = node[0], evaluate(node[1], rows), evaluate(node[2], rows)
    if operator in _COMPARE:
        return pc.call_function(operator, list(_align(left, right, rows)))
    left, right = _number(left, rows), _number(right, rows)
    if operator == "divide":
        zero = pc.equal(right, pa.scalar(0.0))
        right = pc.if_else(zero, pa.scalar(None, pa.float64()), right)
    return pc.call_function(operator, [left, right])
