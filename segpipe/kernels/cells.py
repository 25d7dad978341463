"""Arrow columns to plain NumPy values, the same whatever the source's type.

One table may arrive as Parquet (int64, float32, dictionary text) and as CSV (text typed by the
contract): both must give the same numbers and the same category names.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError

MISSING = "(missing)"
"""The level that null categories form."""

_EXACT = 9.2e18
"""Whole floats below this fit int64."""


def plain(column: Any) -> Any:
    """``column`` as one contiguous array, dictionaries decoded."""
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column


def numbers(column: Any) -> npt.NDArray[np.float64]:
    """(n,) float64, contiguous; null becomes NaN. Infinities stay; text is refused (DataError)."""
    column = plain(column)
    kind = column.type
    if pa.types.is_null(kind):
        return np.full(len(column), np.nan)
    if pa.types.is_boolean(kind):
        column = column.cast(pa.uint8())
    elif not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"numbers were asked for; found a column of type {kind}.")
    if column.type != pa.float64():
        # Integers beyond 2^53 round to the nearest float, as everywhere in NumPy.
        column = column.cast(pa.float64(), safe=False)
    if column.null_count:
        column = pc.fill_null(column, np.nan)
    return np.ascontiguousarray(column.to_numpy(zero_copy_only=False))


def floats(column: Any) -> npt.NDArray[Any]:
    """``numbers``, but float32 stays float32: half the bytes, and no copy where nothing is null."""
    column = plain(column)
    if pa.types.is_float32(column.type) and not column.null_count:
        values: npt.NDArray[Any] = column.to_numpy()
        return values
    return numbers(column)


def texts(column: Any) -> Any:
    """A ``pa.string`` array without nulls: whole floats read as integers, null as ``MISSING``."""
    column = plain(column)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        values = numbers(column)
        whole = np.isfinite(values) & (np.abs(values) < _EXACT)
        whole &= values == np.trunc(np.where(whole, values, 0.0))
        names = pa.array(np.where(whole, values, 0.0).astype(np.int64)).cast(pa.string())
        if not whole.all():
            other = pa.array(values, mask=np.isnan(values)).cast(pa.string())
            names = pc.if_else(pa.array(whole), names, other)
    elif pa.types.is_null(kind):
        names = pa.nulls(len(column), pa.string())
    else:
        names = column.cast(pa.string())
    return pc.fill_null(names, MISSING)


def group_codes(column: Any) -> npt.NDArray[np.int64]:
    """Number of each row's group, 0, 1, ... in order of first appearance; null is a group."""
    column = plain(column)
    encoded = column.dictionary_encode(null_encoding="encode")
    return encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)  # type: ignore[no-any-return]
