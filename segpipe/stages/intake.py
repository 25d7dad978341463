"""Intake: the source's rows, typed under our names, judged by the contract and counted."""

from __future__ import annotations

import difflib
import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property

import pyarrow as pa

from segpipe.config import Contract as ContractSection
from segpipe.config import Features, Source
from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import ConfigError, DataError, FlagError
from segpipe.features.plan import Built, Plan, Request
from segpipe.features.sets import SETS, FeatureSet
from segpipe.features.typing import sniff
from segpipe.fit.look import Found, Look
from segpipe.fit.look import merge as merge_found
from segpipe.lake.audit import Audit, merge_audits
from segpipe.lake.binding import compile_contract
from segpipe.lake.contract import BAD_WEIGHT, CARRIED, Contract
from segpipe.lake.duplicates import CollectKeys, DuplicatePlan, duplicated_rows, refuse
from segpipe.lake.staging import Writer
from segpipe.lake.tables import UNTYPED
from segpipe.schema import AS_OF
from segpipe.values import Column, StagedFile, Table

EPOCH = date(1970, 1, 1)
DAY_US = 86_400_000_000


@dataclass(frozen=True)
class Intake:
    """Rows as the run uses them; ``audit`` holds the counts."""

    table: Table
    plan: Plan
    contract: Contract
    audit: Audit
    as_of: date | None
    """The day asked for, or that of the latest time; None without a time column."""
    source: Frame | None = None
    """The rows that the contract reads, perhaps still in memory."""
    found: Found | None = None
    """The feature table's description, where the same pass could make it."""

    @cached_property
    def warnings(self) -> list[str]:
        """For the record."""
        return [*self.plan.warnings, *self.audit.warnings()]

    def rows(self, engine: Engine) -> Frame:
        """The accepted rows, lazily."""
        frame = self.source
        if frame is None:
            frame = engine.scan(self.table, self.contract.needs)
        return engine.map_batches(frame, self.contract.accept, self.contract.schema)

    def build(self, engine: Engine, featureset: FeatureSet, rows: bool = True) -> Built:
        """The feature table; without ``rows`` only how it is made."""
        frame = self.rows(engine) if rows else engine.from_batches([], self.contract.schema)
        built = featureset.build(engine, frame, self.contract.schema, self.plan)
        return replace(built, weight=self.plan.request.weight)

    def stage_rejects(self, engine: Engine, writer: Writer) -> list[StagedFile]:
        """Write the rejected rows with their reasons; nothing to do is no pass."""
        if not self.audit.rows_rejected:
            return []
        frame = engine.scan(self.table, None)
        bad = engine.map_batches(frame, self.contract.reject, self.contract.reject_schema)
        return engine.fold(bad, writer, operator.add)


def parse_day(text: str | None) -> date | None:
    """``--as-of`` as a day; ConfigError otherwise."""
    if text is None:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise FlagError(f"--as-of {text!r} is no day.", "Write it as 2011-12-09.") from None


def end_of(day: date) -> int:
    """The first microsecond after ``day``, UTC."""
    return ((day - EPOCH).days + 1) * DAY_US


def _day_of(us: int) -> date:
    try:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=us)).date()
    except OverflowError:
        raise DataError(
            "the latest time lies beyond the year 9999.",
            "Set such rows aside: contract.rules, for example \"ts < '2100-01-01'\".",
        ) from None


def keys_of(contract: ContractSection, featureset: FeatureSet) -> tuple[str, ...]:
    """The key columns: the config's, else the feature set's default."""
    return featureset.keys if contract.keys is None else tuple(contract.keys)


def plan_for(
    engine: Engine, table: Table, source: Source, contract: ContractSection, features: Features
) -> Plan:
    """What the feature set reads of this table; a mapping to an absent column is a mistake."""
    lost = {o: t for o, t in source.columns.items() if t not in table.schema.names}
    if lost:
        near = difflib.get_close_matches(next(iter(lost.values())), table.schema.names, 1)
        raise DataError(
            f"source.columns maps {lost}; the source has {table.schema.names}.",
            f"Did you mean {near[0]!r}?" if near else "Correct or remove the mapping.",
        )
    featureset = SETS[features.set]
    chosen = features.categorical
    request = Request(
        keys=keys_of(contract, featureset),
        columns=None if features.columns is None else tuple(features.columns),
        categorical=chosen if isinstance(chosen, str) else tuple(chosen),
        weight=features.weight,
    )
    if featureset.keys and not request.keys:
        raise ConfigError(
            f"contract.keys is empty, but features.set {features.set} makes one row per key.",
            f"Leave it out for the default {list(featureset.keys)}.",
        )
    unsure = featureset.unsure(table.schema, source.columns, request)
    facts = sniff(engine, engine.scan(table, unsure), unsure) if unsure else {}
    return _weighted(featureset.plan(table.schema, source.columns, request, facts), table)


def _weighted(plan: Plan, table: Table) -> Plan:
    """The plan that also reads the column of row weights, where one is asked for.

    Raises
    ------
    DataError
        The source lacks it.
    """
    weight = plan.request.weight
    if weight is None:
        return plan
    source = plan.mapping.get(weight, weight)
    if source not in table.schema.names:
        near = difflib.get_close_matches(source, table.schema.names, 1)
        raise DataError(
            f"features.weight names {weight!r}; the source has {table.schema.names}.",
            f"Did you mean {near[0]!r}?" if near else "Name a column of numbers from 0 on.",
        )
    if any(column.name == weight for column in plan.columns):
        raise ConfigError(
            f"features.weight names {weight!r}, which features.set reads as a column of its own.",
            "Name a column that says only how many rows each row stands for.",
        )
    return replace(plan, columns=(*plan.columns, Column(weight, "weight", nulls=BAD_WEIGHT)))


def compiled(
    table: Table,
    plan: Plan,
    source: Source,
    contract: ContractSection,
    day: date | None,
    carry: Sequence[str] | None,
) -> Contract:
    """The contract of this table; ``carry`` None = every source column."""
    # Without a time column --as-of names the day that the whole table stands for.
    has_time = any(c.kind == "time" for c in plan.columns)
    return compile_contract(
        table.schema,
        plan.columns,
        plan.mapping,
        [key for key in plan.request.keys if key not in plan.derived_keys],
        [(r.name, r.expr, r.action) for r in contract.rules],
        (None, end_of(day)) if day is not None and has_time else None,
        "all" if carry is None else carry,
        source.options.get("time_format"),
        source.format in UNTYPED,
    )


def unread(table: Table, plan: Plan, contract: Contract, day: date | None) -> Intake:
    """Before any row is judged; ``day``: as asked."""
    if day is not None:
        plan = replace(plan, request=replace(plan.request, as_of_end_us=end_of(day)))
    return Intake(table, plan, contract, contract.blank, day)


def take_in(
    engine: Engine,
    table: Table,
    plan: Plan,
    contract: Contract,
    day: date | None,
    duplicates: str,
    featureset: FeatureSet,
    looking: Callable[[Built], Look] | None,
) -> Intake:
    """Judge every row once; ``gates`` then decides whether the run goes on.

    Parameters
    ----------
    looking : what to describe of the feature table in the same pass, where rows make features one
        by one; None: nothing

    Raises
    ------
    DataError
        Duplicate keys, where they are not allowed.
    """
    grouped, found = bool(featureset.keys), None
    source = engine.scan(table, contract.needs, keep=looking is not None or plan.shuffles)
    if looking is None or grouped:
        audit: Audit = engine.fold(source, contract.audit, merge_audits)
    else:
        # The functions that make features of rows, from a table without rows.
        built = unread(table, plan, contract, day).build(engine, featureset, rows=False)
        first = FirstPass(contract, built.frame.work, looking(built))
        audit, found = engine.fold(source, first, merge_first)
    if contract.keys and not grouped and duplicates != "keep":
        judged = contract
        contract, audit = _without_doubles(engine, source, contract, audit, duplicates)
        found = found if contract is judged else None
    if day is None and audit.last_ts is not None:
        day = _day_of(audit.last_ts)
    if day is not None:
        plan = replace(plan, request=replace(plan.request, as_of_end_us=end_of(day)))
    return Intake(table, plan, contract, audit, day, source, found)


@dataclass(frozen=True, slots=True, eq=False)
class FirstPass:
    """Fold step: judges each batch and describes the features of what is accepted; picklable."""

    contract: Contract
    features: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    look: Look

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> tuple[Audit, Found]:
        """Audit and description of one part."""
        audits = [self.contract.blank]

        def accepted() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                audit, rows = self.contract.take(batch)
                audits[0] = audits[0].merged(audit)
                yield rows

        found = self.look(self.features(accepted()))
        return audits[0], found


def merge_first(a: tuple[Audit, Found], b: tuple[Audit, Found]) -> tuple[Audit, Found]:
    """For ``engine.fold``."""
    return merge_audits(a[0], b[0]), merge_found(a[1], b[1])


def gates(taken: Intake, max_reject_share: float, fitting: bool) -> None:
    """The contract's quality gates.

    Raises
    ------
    DataError
        Rejects above the share, a ``fail`` rule, useless required columns, one row to fit on.
    InputMissing
        No row is left to judge.
    """
    lone = taken.plan.request.keys if taken.plan.lone_key else ()
    taken.audit.check(max_reject_share, lone)
    if fitting and taken.audit.rows_used == 1:
        raise DataError(
            "the table has one usable row; nothing can be compared with it.",
            "give it more rows, or label it with a fitted model: segpipe score CONFIG --model URI.",
        )


def _without_doubles(
    engine: Engine, source: Frame, contract: Contract, audit: Audit, duplicates: str
) -> tuple[Contract, Audit]:
    rows = engine.map_batches(source, contract.accept, contract.schema)
    find = DuplicatePlan(contract.keys)
    schema = find.schema(contract.schema)
    collect = CollectKeys(schema)
    found = engine.fold(engine.relate(rows, find, schema), collect, collect.merge)
    if duplicates == "fail":
        refuse(found)
        return contract, audit
    if not found.num_rows:
        return contract, audit
    return contract.rejecting(found), audit.less_duplicates(duplicated_rows(found))


def carried_columns(
    table: Table, keep: str, grouped: bool, partition_by: Sequence[str], plan: Plan
) -> Sequence[str] | None:
    """Source columns that travel to the label table; None = all of them."""
    if keep == "all":
        if grouped:
            raise ConfigError(
                "target.keep all keeps source rows, but the feature set makes one row per key.",
                "Take features or keys.",
            )
        return None
    # As partitions they keep the source's own type: 1, not the feature's 1.0.
    return [
        name
        for name in partition_by
        if not grouped
        and name in table.schema.names
        and name not in plan.request.keys
        and name != AS_OF
    ]


@dataclass(frozen=True, slots=True, eq=False)
class Stamped:
    """Adds the constant columns that ``--partition`` fixed; picklable."""

    values: tuple[tuple[str, str], ...]
    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch with them."""
        more = [pa.repeat(pa.scalar(value), batch.num_rows) for _, value in self.values]
        return pa.RecordBatch.from_arrays([*batch.columns, *more], schema=self.schema)


def with_constants(
    engine: Engine, built: Built, partitions: Sequence[str], partition_by: Sequence[str]
) -> Built:
    """Partition columns that ``--partition`` gave and the feature table lost, as text."""
    given = dict(part.split("=", 1) for part in partitions)
    known = {name.removeprefix(CARRIED) for name in built.schema.names}
    more = tuple((n, given[n]) for n in partition_by if n in given and n not in known)
    if not more:
        return built
    schema = pa.schema([*built.schema, *(pa.field(name, pa.string()) for name, _ in more)])
    frame = engine.map_batches(built.frame, Stamped(more, schema), schema)
    return replace(built, frame=frame, schema=schema)
