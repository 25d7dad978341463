"""What is noted of rows while they pass: sums in original units, scores, the most unusual rows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import pyarrow as pa

from segpipe.kernels.bins import Bins
from segpipe.kernels.cells import floats
from segpipe.kernels.hashing import hash_rows
from segpipe.kernels.totals import Counts, add_column
from segpipe.models.calibration import Calibration
from segpipe.models.lens import block_for
from segpipe.models.strata import Strata
from segpipe.values import Block, Detector, Floats, Ints, Labels, Weighing

SHOWN = 20
"""Most unusual rows kept whole, for the report."""


@dataclass(frozen=True, slots=True)
class Unusual:
    """One of the most unusual rows."""

    score: float
    content: int
    """Hash of ``values``: breaks ties whatever the partitioning."""
    values: tuple[tuple[str, Any], ...]
    """(column, Python value)."""


@dataclass(frozen=True, slots=True, eq=False)
class Totals:
    """Sums in original units; index 0 is noise (-1), index i + 1 segment i."""

    raw: Floats
    """(2, k + 1, numeric columns) sums, coarse and fine part."""
    present: Counts
    """(k + 1, numeric columns) rows with a finite value."""
    mass: Floats | None = None
    """(2, k + 1, numeric columns) their weight, where rows have weights; ``raw`` is weighted."""

    def __add__(self, other: Totals) -> Totals:
        mass = None if self.mass is None or other.mass is None else self.mass + other.mass
        return Totals(self.raw + other.raw, self.present + other.present, mass)

    @property
    def means(self) -> Floats:
        """(k + 1, numeric columns) means in original units; NaN where there is no value."""
        over = self.present if self.mass is None else self.mass[0] + self.mass[1]
        sums = self.raw[0] + self.raw[1]
        found: Floats = np.divide(sums, over, out=np.full(sums.shape, np.nan), where=over > 0)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """How the rows score."""

    histogram: Counts
    """(edges + 1,) rows per score bin; bin i holds edges[i-1] <= score < edges[i]."""
    top: Floats
    """The ``limit`` highest scores, ascending; all of them if there are no more."""
    limit: int
    unusual: tuple[Unusual, ...]
    """At most ``SHOWN``, the most unusual first."""
    spools: tuple[str, ...] = ()
    """Per part: the file of its scores, where they were spooled."""

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            self.histogram + other.histogram,
            _highest(np.concatenate([self.top, other.top]), self.limit),
            self.limit,
            most_unusual(self.unusual + other.unusual),
            self.spools + other.spools,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Noted:
    """What a ``Watch`` notes of rows; ``totals`` or ``scores`` is None where not asked for."""

    totals: Totals | None
    scores: Scores | None

    def __add__(self, other: Noted) -> Noted:
        return Noted(_both(self.totals, other.totals), _both(self.scores, other.scores))


def _both(a: Any, b: Any) -> Any:
    return None if a is None else a + b


class Sink(Protocol):
    """Scores of one part, being kept."""

    def write(self, score: Floats) -> None:
        """Append the scores of the next rows."""
        ...

    def label(self, labels: Labels) -> None:
        """Append what the final model says of the next rows: of all of them or of none."""
        ...

    def close(self) -> str:
        """Finish; where they are."""
        ...


class Spool(Protocol):
    """Where scores are kept (``lake.spool.Spool``); picklable."""

    def open(self) -> Sink:
        """For one part."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Watch:
    """What to note of rows in passing, whatever labels them; picklable."""

    numeric: tuple[str, ...]
    """Columns to sum in original units; none: no totals."""
    magnitude: Floats
    """(numeric columns) largest absolute value of each, from the description."""
    detector: Detector | None
    edges: Floats
    """Ascending score bin edges (``calibrate.score_edges``); empty without a detector."""
    top: int
    """Scores to keep (``top_size``)."""
    shown: tuple[str, ...]
    """Columns of the most unusual rows: keys and features."""
    spool: Spool | None = None
    """Where to keep the scores of every row for the pass that writes them."""
    weight: Weighing | None = None
    """Weights of the rows in the sums; None: 1 each."""
    beyond: tuple[Strata, Calibration] | None = None
    """Count how far each row is beyond its own threshold instead of its score."""

    def begin(self, k: int) -> Watching:
        """For the rows of one part, labelled with ``k`` segments."""
        return Watching(self, k)

    def scores_only(self) -> Watch:
        """The same without the sums in original units."""
        return replace(self, numeric=(), magnitude=np.empty(0))

    def totals_only(self) -> Watch:
        """The same without the scores."""
        return replace(self, detector=None, edges=np.empty(0), spool=None)


class Watching:
    """Notes of one part's rows."""

    def __init__(self, watch: Watch, k: int) -> None:
        self._watch, self._bins = watch, Bins.of(watch.edges)
        self._raw = np.zeros((len(watch.numeric), 2, k + 1))
        self._present = np.zeros((len(watch.numeric), k + 1), np.int64)
        self._mass = None if watch.weight is None else np.zeros_like(self._raw)
        self._histogram = np.zeros(len(watch.edges) + 1, np.int64)
        self._waiting: list[Floats] = []
        self._held, self._least = 0, -np.inf
        self._unusual: tuple[Unusual, ...] = ()
        self._spool = None if watch.spool is None else watch.spool.open()

    def add(
        self, batch: pa.RecordBatch, x: Block, segment: Ints, score: Floats | None = None
    ) -> None:
        """Take in a batch, its block, its labels and its scores, where they are known."""
        watch, at = self._watch, segment + np.int32(1)
        counts = np.bincount(at, minlength=self._present.shape[1]) if watch.numeric else None
        w = None if watch.weight is None or not watch.numeric else watch.weight.of(batch)
        for j, name in enumerate(watch.numeric):
            values, sums, present = floats(batch.column(name)), self._raw[j], self._present[j]
            reach = watch.magnitude[j]
            if w is not None and watch.weight is not None and self._mass is not None:
                most = watch.weight.largest * watch.weight.scale
                known = np.where(np.isfinite(values), w, np.nan)
                add_column(known, at, most, self._mass[j], np.zeros_like(present))
                values, reach = values * w, reach * most
            add_column(values, at, reach, sums, present, counts)
        if watch.detector is None:
            return
        if score is None:
            score = watch.detector.score(block_for(watch.detector, batch, x))
        if self._spool is not None:
            self._spool.write(score)
        if watch.beyond is None:
            self._bins.add(score, self._histogram)
        else:
            strata, whole = watch.beyond
            self._bins.add(score - strata.thresholds(batch, whole), self._histogram)
        self._remember(batch, score)
        self._waiting.append(score[score > self._least])
        self._held += len(self._waiting[-1])
        if self._held > 2 * watch.top:  # sorting every batch would cost more than scoring it
            best = _highest(np.concatenate(self._waiting), watch.top)
            self._waiting, self._held, self._least = [best], len(best), best[0]

    def label(self, labels: Labels) -> None:
        """Keep the final model's labels of a batch beside its scores, where those are kept."""
        if self._spool is not None and self._watch.detector is not None:
            self._spool.label(labels)

    def noted(self) -> Noted:
        """The part's state."""
        watch = self._watch
        totals = Totals(
            np.ascontiguousarray(np.moveaxis(self._raw, 0, 2)),
            np.ascontiguousarray(self._present.T),
            None if self._mass is None else np.ascontiguousarray(np.moveaxis(self._mass, 0, 2)),
        )
        top = _highest(np.concatenate([np.empty(0), *self._waiting]), watch.top)
        spools = () if self._spool is None else (self._spool.close(),)
        scores = Scores(self._histogram, top, watch.top, self._unusual, spools)
        return Noted(
            totals if watch.numeric else None, scores if watch.detector is not None else None
        )

    def _remember(self, batch: pa.RecordBatch, score: Floats) -> None:
        """Keep the most unusual rows whole; ties with the last of them are told by content."""
        full = len(self._unusual) == SHOWN
        least = self._unusual[-1].score if full else -np.inf
        if float(score.max()) < least:
            return
        if len(score) > SHOWN:
            least = max(least, float(np.partition(score, len(score) - SHOWN)[-SHOWN]))
        tied = np.flatnonzero(score >= least)
        rows = batch.select(list(self._watch.shown)).take(pa.array(tied))
        content = hash_rows(rows, self._watch.shown, 0)
        first = np.lexsort((content, -score[tied]))[:SHOWN]
        found = tuple(
            Unusual(float(score[tied[i]]), int(content[i]), tuple(row.items()))
            for i, row in zip(first, rows.take(pa.array(first)).to_pylist(), strict=True)
        )
        self._unusual = most_unusual(self._unusual + found)


def most_unusual(rows: tuple[Unusual, ...]) -> tuple[Unusual, ...]:
    """The first ``SHOWN`` by falling score, ties by content."""
    return tuple(sorted(rows, key=lambda u: (-u.score, u.content))[:SHOWN])


def no_scores() -> Scores:
    """Of rows that nothing scores."""
    return Scores(np.zeros(1, np.int64), np.empty(0), 0, ())


def _highest(score: Floats, limit: int) -> Floats:
    if len(score) > limit:
        score = np.partition(score, len(score) - limit)[len(score) - limit :]
    return np.sort(score)
