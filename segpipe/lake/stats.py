"""File statistics for a Delta log: least, greatest and nulls of the flat columns."""

from __future__ import annotations

import json
import math
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.lake.columnar import plain

_STAT_TEXT = 32
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


INDEXED = 32
"""Columns that files are skipped by: Delta's own default, delta.dataSkippingNumIndexedCols."""


class Stats:
    """Delta file statistics of the first flat columns: least, greatest and nulls."""

    def __init__(self, columns: int = INDEXED) -> None:
        self.columns = columns
        self.rows = 0
        self.nulls: dict[str, int] = {}
        self.low: dict[str, Any] = {}
        self.high: dict[str, Any] = {}
        self.unbounded: set[str] = set()

    def add(self, table: pa.Table) -> None:
        """Take in the rows of ``table``."""
        self.rows += table.num_rows
        first = slice(self.columns)
        for name, column in zip(table.column_names[first], table.columns[first], strict=True):
            if pa.types.is_nested(column.type):
                continue
            self.nulls[name] = self.nulls.get(name, 0) + column.null_count
            if not _ordered(plain(column.type)):
                self.unbounded.add(name)
                continue
            for values in column.chunks:
                if name not in self.unbounded and values.null_count < len(values):
                    self._bound(name, *_extremes(values))

    def _bound(self, name: str, low: Any, high: Any) -> None:
        if isinstance(low, float) and not (math.isfinite(low) and math.isfinite(high)):
            # JSON has no NaN, and a bound that leaves NaN out would prune rows wrongly.
            self.unbounded.add(name)
            return
        self.low[name] = min(low, self.low.get(name, low))
        self.high[name] = max(high, self.high.get(name, high))

    def json(self) -> str:
        """As the ``stats`` of a Delta add action."""
        low = {n: _stat(v, False) for n, v in self.low.items() if n not in self.unbounded}
        high = {n: _stat(v, True) for n, v in self.high.items() if n not in self.unbounded}
        kept = [n for n in low if low[n] is not None and high[n] is not None]
        return json.dumps(
            {
                "numRecords": self.rows,
                "minValues": {n: low[n] for n in kept},
                "maxValues": {n: high[n] for n in kept},
                "nullCount": self.nulls,
            }
        )


def _extremes(values: pa.Array) -> tuple[Any, Any]:
    """Least and greatest value; NaN if a float is NaN."""
    if pa.types.is_dictionary(values.type):
        values = values.dictionary.take(values.indices.unique().drop_null())
    if pa.types.is_floating(values.type):
        # NumPy's, since NaN comes through, and they are ten times as fast as Arrow's.
        numbers = values.drop_null().to_numpy()
        return float(numbers.min()), float(numbers.max())
    try:
        found = pc.min_max(values).as_py()
    except (OverflowError, ValueError):
        # A time beyond the year 9999, or before the year 1.
        return math.nan, math.nan
    return found["min"], found["max"]


def _ordered(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_string(kind)
        or pa.types.is_date32(kind)
        or pa.types.is_timestamp(kind)
    )


def _stat(value: Any, upper: bool) -> int | float | str | None:
    if isinstance(value, datetime):
        # Delta keeps milliseconds: round outwards, so that no row falls outside its bounds.
        value = value.astimezone(UTC) if value.tzinfo else value.replace(tzinfo=UTC)
        millis = (value - _EPOCH) // timedelta(milliseconds=1)
        if upper and timedelta(milliseconds=millis) < value - _EPOCH:
            millis += 1
        try:
            shown = _EPOCH + timedelta(milliseconds=millis)
        except OverflowError:
            # The last millisecond of the year 9999, which many a table writes for "never".
            return None
        return shown.replace(tzinfo=None).isoformat(timespec="milliseconds") + "Z"
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, str):
        return value if len(value) <= _STAT_TEXT else None
    return value if isinstance(value, int | float) else None
