"""Cells of a log as text: one spelling for what TSV and JSON lines write differently."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc


def one_chunk(column: pa.ChunkedArray) -> pa.Array:
    """The column's values in one array."""
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def filled(column: pa.Array, marks: pa.Array) -> pa.Array:
    """Null where a mark of a missing value stands."""
    missing = pc.is_in(column, marks)
    if not pc.any(missing).as_py():
        return column
    return pc.if_else(missing, pa.scalar(None, pa.string()), column)


EXACT = 2.0**53
"""Whole numbers below it are the same as integers and as floats."""


def _digits(column: Any) -> pa.Array:
    """Floats as text; whole ones in digits, as a column of integers alone would be spelt."""
    text = column.cast(pa.string())
    if not pc.any(pc.match_substring(text, "e+")).as_py():
        return text
    whole = pc.and_(pc.equal(pc.floor(column), column), pc.less(pc.abs(column), EXACT))
    digits = pc.if_else(whole, column, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(digits, text)


def as_text(column: Any) -> pa.Array:
    """A column that Arrow read from JSON, as TSV would spell it: T and F, sets with commas."""
    kind = column.type
    if pa.types.is_null(kind):
        return pa.nulls(len(column), pa.string())
    if pa.types.is_floating(kind):
        return _digits(column)
    if pa.types.is_boolean(kind):
        return pc.if_else(column, "T", "F")
    if pa.types.is_list(kind):
        values = as_text(column.values)
        lists = pa.ListArray.from_arrays(column.offsets, values, mask=pc.is_null(column))
        joined = pc.binary_join(lists, ",")
        return pc.if_else(pc.equal(pc.list_value_length(column), 0), None, joined)
    return column.cast(pa.string())
