"""Rescore: label new rows with a fitted model and its frozen calibration, in one pass."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.engines.protocol import Engine
from segpipe.features.plan import Built
from segpipe.features.sets import SETS
from segpipe.lake.audit import Audit, merge_audits
from segpipe.lake.contract import Contract
from segpipe.lake.publish import Target
from segpipe.lake.staging import Writer
from segpipe.lake.uris import absolute
from segpipe.meter import Meter
from segpipe.models.fitted import Fitted
from segpipe.schema import AS_OF
from segpipe.scoring.tally import Tally, TallyStep, merge_tallies
from segpipe.scoring.watch import Watch
from segpipe.stages import intake, narrate, orders, publish, register
from segpipe.stages.deliver import Job, commit, set_aside
from segpipe.stages.publish import Presented
from segpipe.values import StagedFile, Weighing


def at_once(
    contract: Contract, duplicates: str, grouped: bool, day: date | None, by: Sequence[str]
) -> bool:
    """Whether one pass suffices: rows are labelled one by one, under a day known beforehand."""
    unkeyed = not contract.keys or duplicates == "keep"
    return not grouped and unkeyed and (day is not None or AS_OF not in by)


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """What one pass over new rows brings."""

    audit: Audit
    tally: Tally
    files: list[StagedFile]

    def __add__(self, other: Outcome) -> Outcome:
        return Outcome(
            merge_audits(self.audit, other.audit),
            merge_tallies(self.tally, other.tally),
            self.files + other.files,
        )


@dataclass(frozen=True, slots=True, eq=False)
class RescoreStep:
    """Fold step: judges, labels, counts and writes the rows of one part; picklable."""

    contract: Contract
    features: Callable[[Iterable[pa.RecordBatch]], Iterator[pa.RecordBatch]]
    count: TallyStep
    present: Presented
    writer: Writer | None
    """None: only the counts are wanted."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Outcome:
        """Audit, tally and files of the part; the label table's rows are gone through once."""
        audits, counting = [self.contract.blank], self.count.begin()

        def accepted() -> Iterator[pa.RecordBatch]:
            for batch in batches:
                audit, rows = self.contract.take(batch)
                audits[0] = audits[0].merged(audit)
                yield rows

        def labelled() -> Iterator[pa.RecordBatch]:
            for batch in self.features(accepted()):
                if batch.num_rows:
                    said = self.present.say(batch)
                    assert said.x is not None  # nothing of these rows was known
                    counting.add(batch, said.x, said.labels, said.score)
                    if self.writer is not None:
                        yield self.present.table(batch, said)

        if self.writer is None:
            files: list[StagedFile] = list(labelled())
        else:
            files = self.writer(labelled())
        return Outcome(audits[0], counting.tally(), files)


def counting(built: Built, fitted: Fitted) -> TallyStep:
    """Sizes and inertia of new rows under a fitted model, and how many its threshold flags."""
    edges = np.empty(0) if fitted.calibration is None else np.array([fitted.calibration.threshold])
    shown = tuple(dict.fromkeys([*built.keys, *built.shown]))
    weight = None
    if built.weight is not None:  # no sums in original units, so the largest one is not asked for
        weight = Weighing(built.weight, fitted.weight_scale or 1.0, np.inf)
    beyond = None
    if fitted.strata is not None and fitted.calibration is not None:
        edges, beyond = np.zeros(1), (fitted.strata, fitted.calibration)
    watch = Watch((), np.empty(0), fitted.detector, edges, 1, shown, weight=weight, beyond=beyond)
    return TallyStep(fitted.scaler, fitted.model, watch)


def reuse(job: Job) -> tuple[Fitted, Tally]:
    """Take the fitted model as it is; one pass counts what it says of these rows."""
    with job.meter.stage("score"):
        fitted = register.load_fitted(str(job.order.model))
        register.check_same_features(fitted, job.order.config.features.set, job.built.schema.names)
        tally = job.engine.fold(job.built.frame, counting(job.built, fitted), merge_tallies)
        narrate.scored(job.notes, fitted, tally, absolute(str(job.order.model)))
    return fitted, tally


def rescore(
    order: orders.Order,
    meter: Meter,
    notes: dict[str, Any],
    target: Target,
    engine: Engine,
    taken: intake.Intake,
) -> None:
    """Judge, label, count and write every row in one pass; the gates decide on the commit."""
    c, by = order.config, order.config.target.partition_by
    with meter.stage("score"):
        built = intake.with_constants(
            engine, taken.build(engine, SETS[c.features.set], rows=False), order.partitions, by
        )
        fitted = register.load_fitted(str(order.model))
        register.check_same_features(fitted, c.features.set, built.schema.names)
        day = taken.as_of
        present = publish.presenter(
            built, fitted, orders.keep_of(c), by, order.run_id, day, day is not None
        )
        writer = None if order.dry_run else publish.writer_of(target, order.run_id, by, present)
        step = RescoreStep(
            taken.contract, built.frame.work, counting(built, fitted), present, writer
        )
        done = engine.fold(engine.scan(taken.table, taken.contract.needs), step, operator.add)
        taken = replace(taken, audit=done.audit)
        narrate.counts(notes, taken)
        intake.gates(taken, c.contract.max_reject_share, fitting=False)
        narrate.scored(notes, fitted, done.tally, absolute(str(order.model)))
    if order.dry_run:
        notes["status"] = "dry_run"
        return
    job = Job(order, meter, notes, target, engine, taken, built, None)
    set_aside(job)
    commit(job, fitted, done.tally, done.files, present)
