"""What the contract found: counts per reason and the facts that quality gates ask for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError, InputMissing

if TYPE_CHECKING:
    from segpipe.lake.contract import Contract, Judged


@dataclass(frozen=True, slots=True)
class ColumnFacts:
    """One of our columns: nulls, unreadable values (rows in), least and greatest (rows used)."""

    name: str
    required: bool
    missing: int = 0
    unfit: int = 0
    low: Any = None
    high: Any = None

    def merged(self, other: ColumnFacts) -> ColumnFacts:
        """Facts of both parts."""
        lows = [v for v in (self.low, other.low) if v is not None]
        highs = [v for v in (self.high, other.high) if v is not None]
        return ColumnFacts(
            self.name,
            self.required,
            self.missing + other.missing,
            self.unfit + other.unfit,
            min(lows, default=None),
            max(highs, default=None),
        )


def _added(left: Mapping[str, int], right: Mapping[str, int]) -> dict[str, int]:
    return {key: left.get(key, 0) + right.get(key, 0) for key in {**left, **right}}


@dataclass(frozen=True, slots=True)
class Audit:
    """Counts of rows within the window; rows_used + rows_rejected = rows_in."""

    rows_in: int = 0
    rows_used: int = 0
    rejected: Mapping[str, int] = field(default_factory=dict)
    warned: Mapping[str, int] = field(default_factory=dict)
    failed: Mapping[str, int] = field(default_factory=dict)
    first_ts: int | None = None
    last_ts: int | None = None
    """Least and greatest time of used rows, microseconds UTC."""
    columns: tuple[ColumnFacts, ...] = ()

    @property
    def rows_rejected(self) -> int:
        """Rows with a reason."""
        return sum(self.rejected.values())

    def merged(self, other: Audit) -> Audit:
        """Counts of both parts."""
        firsts = [t for t in (self.first_ts, other.first_ts) if t is not None]
        lasts = [t for t in (self.last_ts, other.last_ts) if t is not None]
        return Audit(
            self.rows_in + other.rows_in,
            self.rows_used + other.rows_used,
            _added(self.rejected, other.rejected),
            _added(self.warned, other.warned),
            _added(self.failed, other.failed),
            min(firsts, default=None),
            max(lasts, default=None),
            tuple(a.merged(b) for a, b in zip(self.columns, other.columns, strict=True)),
        )

    def less_duplicates(self, rows: int) -> Audit:
        """The counts once ``rows`` used rows are rejected as ``duplicate_key``."""
        return replace(
            self,
            rows_used=self.rows_used - rows,
            rejected=_added(self.rejected, {"duplicate_key": rows} if rows else {}),
        )

    def warnings(self) -> list[str]:
        """One sentence each for the record: broken warn rules, empty or constant columns."""
        said = [f"{n:,} rows break rule {name}" for name, n in sorted(self.warned.items()) if n]
        for facts in self.columns:
            if facts.unfit and not facts.required:
                said.append(f"{facts.unfit:,} values of {facts.name} cannot be read: missing")
            if not facts.required and self.rows_used:
                if facts.low is None:
                    said.append(f"column {facts.name} has no value")
                elif facts.low == facts.high and self.rows_used > 1:
                    said.append(f"column {facts.name} is constant")
        return said

    def check(self, max_reject_share: float, may_be_constant: Collection[str] = ()) -> None:
        """Quality gates: InputMissing 66 without rows, DataError 65 otherwise.

        ``may_be_constant``: required columns whose single value is no mistake.
        """
        if self.rows_in == 0:
            raise InputMissing(
                "no row of the source passes source.where, --partition and the as_of window.",
                "check them against the table.",
            )
        reasons = ", ".join(f"{name} {n:,}" for name, n in sorted(self.rejected.items()) if n)
        empty = [f.name for f in self.columns if f.required and f.missing + f.unfit == self.rows_in]
        if empty:
            raise DataError(
                f"required columns {empty} have no usable value in {self.rows_in:,} rows.",
                "map other columns under source.columns.",
            )
        broken = {name: n for name, n in self.failed.items() if n}
        if broken:
            raise DataError(
                f"rows break rules whose action is fail: {broken}.",
                "repair the source, or set the rule's action to reject or warn.",
            )
        if self.rows_used == 0:
            raise DataError(
                f"all {self.rows_in:,} rows are rejected: {reasons}.", "see contract.rules."
            )
        share = self.rows_rejected / self.rows_in
        if share > max_reject_share:
            raise DataError(
                f"{self.rows_rejected:,} of {self.rows_in:,} rows ({share:.1%}) are rejected, "
                f"allowed are {max_reject_share:.1%}: {reasons}.",
                "repair the source, or raise contract.max_reject_share.",
            )
        constant = [
            f.name
            for f in self.columns
            if f.required
            and f.name not in may_be_constant
            and f.low is not None
            and f.low == f.high
        ]
        if constant and self.rows_used > 1:
            raise DataError(
                f"required columns {constant} hold one single value in {self.rows_used:,} rows.",
                "map other columns under source.columns.",
            )


def audit_rows(contract: Contract, judged: Judged) -> Audit:
    """The audit of one batch that ``contract`` judged."""
    good, everything = judged.good, bool(judged.good.all())
    counts = np.bincount(
        judged.reason[judged.inside & (judged.reason >= 0)], minlength=len(judged.reasons)
    )
    rejected: dict[str, int] = {}
    for name, n in zip(judged.reasons, counts, strict=True):
        # Several columns share a reason.
        rejected[name] = rejected.get(name, 0) + int(n)
    facts = []
    for column in contract.described:
        values, unfit = judged.typed[column.name]
        if everything and _plain(values):
            numbers = values.to_numpy()
            low, high, missing = float(numbers.min()), float(numbers.max()), 0
            if low != low:  # noqa: PLR0124 - NaN, which Arrow leaves out
                (low, high), missing = _range(values), int(np.isnan(numbers).sum())
        else:
            low, high = _range(values if everything else values.filter(pa.array(good)))
            null = np.asarray(pc.is_null(values, nan_is_null=True))
            missing = int((null & ~unfit & judged.inside).sum())
        facts.append(
            ColumnFacts(
                column.name,
                column.required,
                missing,
                int((unfit & judged.inside).sum()),
                low,
                high,
            )
        )
    counted = {rule.name: int((judged.broken[rule.name] & good).sum()) for rule in contract.rules}
    times = next((f for f in facts if f.name == contract.time_column), None)
    return Audit(
        int(judged.inside.sum()),
        int(good.sum()),
        rejected,
        {r.name: counted[r.name] for r in contract.rules if r.action == "warn"},
        {r.name: counted[r.name] for r in contract.rules if r.action == "fail"},
        None if times is None else times.low,
        None if times is None else times.high,
        tuple(facts),
    )


def _plain(values: pa.Array) -> bool:
    """Floats without nulls: NumPy tells their ends, and whether one is NaN, in one look."""
    return bool(pa.types.is_floating(values.type) and len(values) and not values.null_count)


def _range(values: pa.Array) -> tuple[Any, Any]:
    if pa.types.is_nested(values.type):
        # Lists have no order; whether they are constant is not asked.
        return (0, 1) if len(values) > values.null_count else (None, None)
    if pa.types.is_timestamp(values.type):
        # Python knows the years 1 to 9999 only.
        values = values.cast(pa.int64())
    found = pc.min_max(values).as_py()
    return found["min"], found["max"]


def merge_audits(left: Audit, right: Audit) -> Audit:
    """For ``engine.fold``."""
    return left.merged(right)
