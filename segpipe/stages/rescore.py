"""Rescore: label new rows with a fitted model and its frozen calibration, in one pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa

from segpipe.features.plan import Built
from segpipe.lake.audit import Audit, merge_audits
from segpipe.lake.contract import Contract
from segpipe.lake.staging import Writer
from segpipe.models.fitted import Fitted
from segpipe.schema import AS_OF
from segpipe.scoring.tally import Tally, TallyStep, Watch, merge_tallies
from segpipe.stages.publish import Presented
from segpipe.values import StagedFile


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
                    counting.add(batch, said.x, said.labels.segment, said.score)
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
    watch = Watch((), np.empty(0), fitted.detector, edges, 1, shown)
    return TallyStep(fitted.scaler, fitted.model, watch)
