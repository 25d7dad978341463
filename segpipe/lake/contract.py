"""The data contract: typed columns under our names, bad rows set aside with a reason.

Of the rows within the window, every one is either accepted or rejected with exactly one reason;
rows outside it are in no count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import ConfigError, DataError
from segpipe.lake import convert
from segpipe.lake.audit import Audit, ColumnFacts, audit_rows
from segpipe.lake.convert import Converted, Mask, mask
from segpipe.lake.duplicates import rows_with_keys
from segpipe.lake.expr import Expr, compile_expr
from segpipe.schema import OURS, REASON
from segpipe.values import Column

CARRIED = "source__"
"""Carried source columns bear this prefix beside the typed ones, which may share their name."""
NULL_KEY = "null_key"
NULL_VALUE = "null_value"
DUPLICATE = "duplicate_key"
UNFIT = {"number": "not_a_number", "money": "not_an_amount", "time": "not_a_time"}
"""Reason per kind for a value that is there but cannot be read as the kind."""

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
        return tuple(dict.fromkeys([*bound.values(), *used]))

    @property
    def needs(self) -> tuple[str, ...]:
        """Source columns that ``accept`` needs: ``reads`` and the carried ones."""
        return tuple(dict.fromkeys([*self.reads, *self.carried]))

    @property
    def schema(self) -> pa.Schema:
        """Of accepted rows: keys, typed columns, then ``source__<name>`` in the source's types."""
        fields = [pa.field(column.name, column.result) for column in self.columns]
        fields += [pa.field(CARRIED + name, self.source.field(name).type) for name in self.carried]
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
        arrays += [_as(batch, name, self.source.field(name).type) for name in self.carried]
        full = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        return full if judged.good.all() else full.filter(pa.array(judged.good))

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
        return Audit(columns=tuple(ColumnFacts(c.name, c.required) for c in self.columns))

    def rejecting(self, duplicated: pa.RecordBatch) -> Contract:
        """The same contract that also rejects every row with one of these keys."""
        return replace(self, duplicated=duplicated if duplicated.num_rows else None)

    def judge(self, batch: pa.RecordBatch) -> Judged:
        """Type the columns and give every row its first reason."""
        typed = {column.name: self._typed(batch, column) for column in self.columns}
        inside = self._inside(typed, batch.num_rows)
        checks = [*self._missing(typed), *self._unfit(typed)]
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
            case "money":
                return convert.to_money(array)
            case "number":
                return convert.to_number(array)
            case "text":
                return convert.to_text(array)
        return Converted(array, np.zeros(len(array), np.bool_))

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


def _as(batch: pa.RecordBatch, name: str, kind: pa.DataType) -> pa.Array:
    array = batch.column(batch.schema.get_field_index(name))
    # Engines' own readers hand over other string types than the schema says.
    return array if array.type == kind else array.cast(kind)


def compile_contract(
    schema: pa.Schema,
    columns: Sequence[Column],
    mapping: Mapping[str, str],
    keys: Sequence[str] = (),
    rules: Sequence[tuple[str, str, Action]] = (),
    window: tuple[int | None, int | None] | None = None,
    carry: Sequence[str] | Literal["all"] = (),
    time_format: str | None = None,
    untyped: bool = False,
) -> Contract:
    """Bind what a feature set asks for to what the source has.

    ``mapping``: our names to the source's. ``rules``: (name, expression, action). ``window``:
    [from, until) in microseconds UTC on the first time column. ``untyped``: a csv source. Raises
    DataError 65 for missing columns and wrong types (all of them at once), ConfigError 78 for bad
    rules and for a source column that bears one of our names.
    """
    mapped = set(mapping.values())
    taken = sorted(name for name in schema.names if name.lower() in OURS and name not in mapped)
    if taken:
        raise ConfigError(
            f"the source has columns {taken}, which are names that segpipe writes.",
            "rename them, or map them to other names under source.columns.",
        )
    asked = _with_keys(columns, keys)
    bound = _bind(asked, schema, mapping)
    names = {ours: theirs for ours, theirs in mapping.items() if theirs in schema.names}
    names |= {column.name: column.name for column in bound}
    # Ours by mapping first, then the source's own.
    known = {*schema.names, *(column.name for column in bound)}
    compiled = tuple(
        Rule(name, compile_expr(text, names, known), action) for name, text, action in rules
    )
    kept = schema.names if carry == "all" else list(carry)
    absent = [name for name in kept if name not in schema.names]
    if absent:
        raise DataError(f"columns {absent} are to be kept but the source lacks them.", "")
    contract = Contract(
        source=schema.remove_metadata(),
        columns=bound,
        keys=tuple(keys),
        rules=compiled,
        carried=tuple(name for name in kept if name.lower() not in OURS),
        window=window,
        time_column=next((column.name for column in bound if column.kind == "time"), None),
        time_format=time_format,
        untyped=untyped,
    )
    # Types that an expression cannot work with show on an empty batch.
    contract.judge(pa.RecordBatch.from_pylist([], schema=contract.source))
    return contract


def _with_keys(columns: Sequence[Column], keys: Sequence[str]) -> list[Column]:
    """Keys first, as kind key, whatever else asks for them."""
    by_name = {column.name: column for column in columns}
    clashing = [k for k in keys if k in by_name and by_name[k].kind not in ("key", "text", "any")]
    if clashing:
        kinds = {key: by_name[key].kind for key in clashing}
        raise ConfigError(
            f"contract.keys names {clashing}, which the feature set reads as {kinds}.",
            "choose other keys, or map the key column to a second name under source.columns.",
        )
    first = [Column(key, "key", required=True, nulls=NULL_KEY) for key in keys]
    return first + [column for column in columns if column.name not in set(keys)]


def _bind(
    asked: Sequence[Column], schema: pa.Schema, mapping: Mapping[str, str]
) -> tuple[Bound, ...]:
    bound, missing, wrong = [], [], []
    for column in asked:
        source = mapping.get(column.name, column.name)
        if source not in schema.names:
            # An explicit mapping to a column that is not there is a mistake even if optional.
            if column.required or column.name in mapping:
                missing.append(
                    column.name if source == column.name else f"{column.name} ({source})"
                )
            continue
        stored = schema.field(source).type
        if not convert.fits(stored, column.kind):
            wrong.append(f"{source!r} is {stored}, asked is {column.kind}")
            continue
        result = convert.result_type(stored, column.kind)
        bound.append(
            Bound(column.name, source, column.kind, column.required, column.nulls, stored, result)
        )
    if missing:
        raise DataError(
            f"the source lacks required columns {missing}; it has {schema.names}.",
            "map them under source.columns.",
        )
    if wrong:
        raise DataError(
            f"columns of a wrong type: {'; '.join(wrong)}.",
            "map other columns under source.columns, or convert them in the source.",
        )
    return tuple(bound)
