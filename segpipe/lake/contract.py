"""The data contract: typed columns under our names, bad rows set aside with a reason.

Of the rows within the window, every one is either accepted or rejected with exactly one reason;
rows outside it are in no count.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError
from segpipe.lake import convert
from segpipe.lake.audit import Audit, ColumnFacts, audit_rows
from segpipe.lake.convert import Converted, Mask, mask
from segpipe.lake.duplicates import rows_with_keys
from segpipe.lake.expr import Expr
from segpipe.lake.zeekheader import BAD_LINE, arrow_type, as_declared
from segpipe.schema import REASON, line_of

CARRIED = "source__"
"""Carried source columns bear this prefix beside the typed ones, which may share their name."""
NULL_KEY = "null_key"
NULL_VALUE = "null_value"
DUPLICATE = "duplicate_key"
BAD_WEIGHT = "bad_weight"
UNFIT = {
    "number": "not_a_number",
    "money": "not_an_amount",
    "time": "not_a_time",
    "weight": BAD_WEIGHT,
}
"""Reason per kind for a value that is there but cannot be read as the kind."""

_PLAIN: Mapping[str, Callable[[pa.Array], Converted]] = {
    "money": convert.to_money,
    "number": convert.to_number,
    "weight": convert.to_weight,
    "text": convert.to_text,
}
_LARGEST = 2**63 - 1
Action = Literal["reject", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Rule:
    """A named row rule; null passes, as in SQL CHECK."""

    name: str
    expr: Expr
    action: Action


@dataclass(frozen=True, slots=True)
class Bound:
    """One of our columns and the source column that it comes from."""

    name: str
    source: str
    kind: str
    required: bool
    nulls: str
    stored: pa.DataType
    result: pa.DataType


@dataclass(frozen=True, slots=True)
class Contract:
    """How source batches become typed rows; picklable. ``compile_contract`` makes one."""

    source: pa.Schema
    columns: tuple[Bound, ...]
    keys: tuple[str, ...]
    rules: tuple[Rule, ...]
    carried: tuple[str, ...]
    window: tuple[int | None, int | None] | None
    time_column: str | None
    time_format: str | None
    untyped: bool
    duplicated: pa.RecordBatch | None = None
    """Keys whose rows are all rejected (``rejecting``)."""

    @property
    def names(self) -> tuple[str, ...]:
        """Our columns that the source has, in output order."""
        return tuple(column.name for column in self.columns)

    @property
    def reads(self) -> tuple[str, ...]:
        """Source columns that ``audit`` needs."""
        bound = {column.name: column.source for column in self.columns}
        used = [bound.get(name, name) for rule in self.rules for name in sorted(rule.expr.columns)]
        line = line_of(self.source)
        return tuple(dict.fromkeys([*bound.values(), *used, *([line] if line else [])]))

    @property
    def needs(self) -> tuple[str, ...]:
        """Source columns that ``accept`` needs: ``reads`` and the carried ones."""
        return tuple(dict.fromkeys([*self.reads, *self.carried]))

    @property
    def schema(self) -> pa.Schema:
        """Of accepted rows: keys, typed columns, then ``source__<name>`` in the source's types.

        What a log declares to be a time, a count, a set, ... is kept as such.
        """
        fields = [pa.field(column.name, column.result) for column in self.columns]
        fields += [
            pa.field(CARRIED + name, arrow_type(self.source.field(name))) for name in self.carried
        ]
        return pa.schema(fields)

    @property
    def reject_schema(self) -> pa.Schema:
        """Of rejected rows: every source column as it was, and the reason."""
        kept = [field for field in self.source if field.name != REASON]
        return pa.schema([*kept, pa.field(REASON, pa.string(), nullable=False)])

    def accept(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The good rows of ``batch`` (columns ``needs``), typed, with ``schema``."""
        return self._accepted(batch, self.judge(batch))

    def take(self, batch: pa.RecordBatch) -> tuple[Audit, pa.RecordBatch]:
        """The audit of ``batch`` and its accepted rows, judged once."""
        judged = self.judge(batch)
        return audit_rows(self, judged), self._accepted(batch, judged)

    def _accepted(self, batch: pa.RecordBatch, judged: Judged) -> pa.RecordBatch:
        arrays = [judged.typed[column.name].values for column in self.columns]
        for name in self.carried:
            field = self.source.field(name)
            arrays.append(as_declared(_as(batch, name, field.type), arrow_type(field)))
        full = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        good = full if judged.good.all() else full.filter(pa.array(judged.good))
        kept = [CARRIED + name for name in self.carried]
        for name in [*self.keys, *kept]:
            _storable(good.column(name), name.removeprefix(CARRIED))
        return good

    def reject(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The bad rows of ``batch`` (all source columns) with ``reject_schema``."""
        judged = self.judge(batch)
        bad = judged.inside & (judged.reason >= 0)
        words = (
            pa.array(judged.reasons, pa.string()).take(
                pa.array(np.maximum(judged.reason, 0), pa.int64())
            )
            if judged.reasons
            else pa.nulls(batch.num_rows, pa.string())
        )
        arrays = [_as(batch, f.name, f.type) for f in self.reject_schema if f.name != REASON]
        full = pa.RecordBatch.from_arrays([*arrays, words], schema=self.reject_schema)
        return full.filter(pa.array(bad))

    def audit(self, batches: Iterator[pa.RecordBatch]) -> Audit:
        """Counts over batches of the columns ``reads``: the step of a fold."""
        total = self.blank
        for batch in batches:
            total = total.merged(audit_rows(self, self.judge(batch)))
        return total

    @property
    def blank(self) -> Audit:
        """The audit of no rows."""
        return Audit(columns=tuple(ColumnFacts(c.name, c.required) for c in self.described))

    @property
    def described(self) -> tuple[Bound, ...]:
        """Columns whose facts are counted: a weight says nothing of what the rows are."""
        return tuple(c for c in self.columns if c.kind != "weight")

    def rejecting(self, duplicated: pa.RecordBatch) -> Contract:
        """The same contract that also rejects every row with one of these keys."""
        return replace(self, duplicated=duplicated if duplicated.num_rows else None)

    def judge(self, batch: pa.RecordBatch) -> Judged:
        """Type the columns and give every row its first reason."""
        typed = {column.name: self._typed(batch, column) for column in self.columns}
        inside = self._inside(typed, batch.num_rows)
        checks = [*self._lines(batch), *self._missing(typed), *self._unfit(typed)]
        verdicts = {rule.name: self._broken(rule, batch, typed) for rule in self.rules}
        checks += [(r.name, verdicts[r.name]) for r in self.rules if r.action == "reject"]
        reason = np.full(batch.num_rows, -1, np.int32)
        for index, (_, broken) in enumerate(checks):
            reason[broken & (reason < 0)] = index
        reasons = [name for name, _ in checks]
        if self.duplicated is not None:
            # Last: only rows that pass everything else were counted as duplicates.
            rows = rows_with_keys([typed[key].values for key in self.keys], self.duplicated)
            reason[rows & (reason < 0)] = len(reasons)
            reasons.append(DUPLICATE)
        return Judged(typed, inside, reason, tuple(reasons), verdicts)

    def _typed(self, batch: pa.RecordBatch, column: Bound) -> Converted:
        array = _as(batch, column.source, column.stored)
        match column.kind:
            case "key":
                return convert.to_key(array, column.source)
            case "time":
                return convert.to_time(array, self.time_format)
        plain = _PLAIN.get(column.kind)
        return plain(array) if plain else Converted(array, np.zeros(len(array), np.bool_))

    def _inside(self, typed: Mapping[str, Converted], rows: int) -> Mask:
        inside: Mask = np.ones(rows, np.bool_)
        if self.window is None or self.time_column is None:
            return inside
        ts = typed[self.time_column].values
        known = mask(pc.is_valid(ts))
        micros: npt.NDArray[np.int64] = np.asarray(pc.fill_null(ts, 0))
        start, stop = self.window
        if start is not None:
            inside &= ~known | (micros >= start)
        if stop is not None:
            inside &= ~known | (micros < stop)
        return inside

    def _lines(self, batch: pa.RecordBatch) -> list[tuple[str, Mask]]:
        """Lines of a log that are no record."""
        line = line_of(self.source)
        return [(BAD_LINE, mask(batch.column(line).is_valid()))] if line else []

    def _missing(self, typed: Mapping[str, Converted]) -> list[tuple[str, Mask]]:
        """Nulls that are rejected, keys before values: a fixed order of reasons."""
        found = []
        strict = [column for column in self.columns if column.nulls != "keep"]
        for column in sorted(strict, key=lambda c: c.nulls != NULL_KEY):
            value, unfit = typed[column.name]
            found.append((column.nulls, mask(pc.is_null(value)) & ~unfit))
        return found

    def _unfit(self, typed: Mapping[str, Converted]) -> list[tuple[str, Mask]]:
        return [
            (UNFIT[column.kind], typed[column.name].unfit)
            for column in self.columns
            if column.nulls != "keep" and column.kind in UNFIT
        ]

    def _broken(self, rule: Rule, batch: pa.RecordBatch, typed: Mapping[str, Converted]) -> Mask:
        """Rows for which the rule is false (not null)."""
        bound = {column.name: column for column in self.columns}
        arrays = {}
        for name in rule.expr.columns:
            column = bound.get(name)
            if column is None:
                arrays[name] = _as(batch, name, self.source.field(name).type)
            elif column.kind == "money":
                # Rules speak of the source's units, not of millionths.
                stored = _as(batch, column.source, column.stored)
                arrays[name] = convert.to_number(stored).values
            elif column.kind == "time":
                arrays[name] = typed[name].values.cast(pa.timestamp("us"))
            else:
                arrays[name] = typed[name].values
        rows = (
            pa.RecordBatch.from_pydict(arrays)
            if arrays
            else pa.RecordBatch.from_arrays([pa.nulls(batch.num_rows)], names=["_"])
        )
        return mask(pc.invert(rule.expr.condition(rows, self.untyped)))


@dataclass(frozen=True, slots=True)
class Judged:
    """A batch with its verdicts; ``reason`` is an index into ``reasons``, -1 for good rows."""

    typed: Mapping[str, Converted]
    inside: Mask
    reason: npt.NDArray[np.int32]
    reasons: tuple[str, ...]
    broken: Mapping[str, Mask]
    """Per rule, whatever its action: rows that break it."""

    @property
    def good(self) -> Mask:
        """Rows within the window without a reason."""
        return self.inside & (self.reason < 0)


def _storable(values: pa.Array, name: str) -> None:
    """Refuse what the label table could not hold, before anything is fitted.

    Raises
    ------
    DataError
        An unsigned integer beyond int64: Delta and Spark have no type for it.
    """
    if not pa.types.is_uint64(values.type):
        return
    high = pc.max(values).as_py()
    if high is not None and high > _LARGEST:
        raise DataError(
            f"column {name!r} is uint64 and holds {high}; tables keep integers up to {_LARGEST}.",
            "write it as text in the source, or leave it out: target.keep: features.",
        )


def _as(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    array = batch.column(batch.schema.get_field_index(name))
    # Engines' own readers hand over other string types than the schema says.
    return array if array.type == kind else array.cast(kind)
