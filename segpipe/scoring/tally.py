"""One exact, order-free summary of all rows: sizes, sums, inertia, score histogram, top scores.

Every part is an integer, a sum of terms on a fixed binary grid, or a selection of extremes with
ties broken by content: the tally is equal for any partitioning and any order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.kernels import nearest as kernel
from segpipe.kernels.cells import numbers
from segpipe.kernels.hashing import hash_rows
from segpipe.models.scaler import Scaler
from segpipe.values import Block, Detector, Floats, Ints, SegmentModel

Counts = npt.NDArray[np.int64]

CENTRED = ("kmeans", "bisecting", "agglomerative", "gmm")
"""Kinds whose rows are meant to lie around one centre: inertia says something."""
SHOWN = 20
"""Most unusual rows kept whole, for the report."""
TOP = 100_000
"""Scores kept exactly, at least (800 kB a task)."""
MOST_TOP = 1_000_000
GRID_BITS = 26
"""Raw sums: values are split into a part of 26 bits below the column's largest and 26 more, so
that each part's sum is exact for 1e8 of the largest rows."""
ROOM = 4096.0
"""New rows may exceed the described magnitude so many times before they count as that."""


@dataclass(frozen=True, slots=True)
class Unusual:
    """One of the most unusual rows."""

    score: float
    content: int
    """Hash of ``values``: breaks ties whatever the partitioning."""
    values: tuple[tuple[str, Any], ...]
    """(column, Python value)."""


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Bounded state; index 0 of per-segment arrays is noise (-1), index i + 1 segment i."""

    rows: Counts
    """(k + 1,)."""
    linear: Floats
    """(k + 1, d) sums of scaled features."""
    squared: Floats
    """(2, k) squared distances to the assigned centre in the block, coarse and fine part."""
    raw: Floats
    """(2, k + 1, numeric columns) sums in original units, coarse and fine part."""
    present: Counts
    """(k + 1, numeric columns) rows with a finite value."""
    histogram: Counts
    """(edges + 1,) rows per score bin; bin i holds edges[i-1] <= score < edges[i]."""
    top: Floats
    """The ``limit`` highest scores, ascending; all of them if there are no more."""
    limit: int
    unusual: tuple[Unusual, ...]
    """At most ``SHOWN``, the most unusual first."""

    @property
    def total(self) -> int:
        """Rows seen."""
        return int(self.rows.sum())

    @property
    def raw_sums(self) -> Floats:
        """(k + 1, numeric columns) sums in original units."""
        return np.asarray(self.raw[0] + self.raw[1])

    def inertia(self, model: SegmentModel, unit: float) -> float | None:
        """Squared distances in scaled space; None for models without centres."""
        if model.kind not in CENTRED or model.k == 0:
            return None
        return float(self.squared[0].sum() + self.squared[1].sum()) * unit * unit


@dataclass(frozen=True, slots=True, eq=False)
class TallyStep:
    """Folds the batches of one partition; picklable."""

    scaler: Scaler
    model: SegmentModel
    detector: Detector | None
    edges: Floats
    """Ascending score bin edges (``calibrate.score_edges``); empty without a detector."""
    top: int
    """Scores to keep (``top_size``)."""
    numeric: tuple[str, ...]
    """Columns to sum in original units."""
    magnitude: Floats
    """(numeric columns) largest absolute value of each, from the description."""
    shown: tuple[str, ...]
    """Columns of the most unusual rows: keys and features."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Tally:
        """Tally of all rows of ``batches``, which may be none."""
        total = self._empty()
        waiting: list[Floats] = []
        held, least = 0, -np.inf
        for batch in batches:
            if not batch.num_rows:
                continue
            part, score = self._of(batch)
            total = merge_tallies(total, part)
            waiting.append(score[score > least])
            held += len(waiting[-1])
            if held > 2 * self.top:  # sorting every batch would cost more than scoring it
                best = _highest(np.concatenate(waiting), self.top)
                waiting, held, least = [best], len(best), best[0]
        return replace(total, top=_highest(np.concatenate([total.top, *waiting]), self.top))

    def _empty(self) -> Tally:
        k, d, m = self.model.k, self.scaler.width, len(self.numeric)
        return Tally(
            np.zeros(k + 1, np.int64),
            np.zeros((k + 1, d)),
            np.zeros((2, k)),
            np.zeros((2, k + 1, m)),
            np.zeros((k + 1, m), np.int64),
            np.zeros(len(self.edges) + 1, np.int64),
            np.empty(0),
            self.top,
            (),
        )

    def _of(self, batch: pa.RecordBatch) -> tuple[Tally, Floats]:
        """Tally of one batch, its scores beside it instead of in ``top``."""
        k, n = self.model.k, batch.num_rows
        x = self.scaler.transform(batch)
        segment = self.model.label(x).segment
        at = (segment + 1).astype(np.intp)
        linear = kernel.moments(x, np.ones(n), segment + np.int32(1), k + 1)[1]
        raw, present = self._raw(batch, at)
        histogram = np.zeros(len(self.edges) + 1, np.int64)
        score, unusual = np.empty(0), tuple[Unusual, ...]()
        if self.detector is not None:
            score = self.detector.score(x)
            found = np.searchsorted(self.edges, score, side="right")
            histogram += np.bincount(found, minlength=len(histogram))
            unusual = self._unusual(batch, score)
        part = Tally(
            np.bincount(at, minlength=k + 1).astype(np.int64),
            linear,
            self._squared(x, segment),
            raw,
            present,
            histogram,
            np.empty(0),
            self.top,
            unusual,
        )
        return part, score

    def _squared(self, x: Block, segment: Ints) -> Floats:
        if self.model.kind not in CENTRED or self.model.k == 0:
            return np.zeros((2, self.model.k))
        return kernel.add_up(x, np.ones(x.shape[1]), segment, self.model.centres).squared

    def _raw(self, batch: pa.RecordBatch, at: npt.NDArray[np.intp]) -> tuple[Floats, Counts]:
        k, m = self.model.k, len(self.numeric)
        sums, present = np.zeros((2, k + 1, m)), np.zeros((k + 1, m), np.int64)
        for j, name in enumerate(self.numeric):
            value = numbers(batch.column(name))
            finite = np.isfinite(value)
            exponent = np.ceil(np.log2(self.magnitude[j])) if self.magnitude[j] > 0 else 0.0
            limit = ROOM * 2.0**exponent
            value = np.clip(np.where(finite, value, 0.0), -limit, limit)
            grid = 2.0 ** (exponent - GRID_BITS)
            coarse = np.rint(value / grid) * grid
            fine = np.rint((value - coarse) / grid * 2.0**GRID_BITS) * (grid * 2.0**-GRID_BITS)
            sums[0, :, j] = np.bincount(at, coarse, k + 1)
            sums[1, :, j] = np.bincount(at, fine, k + 1)
            present[:, j] = np.bincount(at[finite], minlength=k + 1)
        return sums, present

    def _unusual(self, batch: pa.RecordBatch, score: Floats) -> tuple[Unusual, ...]:
        least = np.sort(score)[-min(SHOWN, len(score))]
        tied = np.flatnonzero(score >= least)
        rows = batch.select(list(self.shown)).take(pa.array(tied))
        content = hash_rows(rows, self.shown, 0)
        first = np.lexsort((content, -score[tied]))[:SHOWN]
        return tuple(
            Unusual(float(score[tied[i]]), int(content[i]), tuple(row.items()))
            for i, row in zip(first, rows.take(pa.array(first)).to_pylist(), strict=True)
        )


def top_size(threshold: Mapping[str, float], rows: int) -> int:
    """Scores to keep so that the threshold is exact where 8 MB a task allow it.

    Parameters
    ----------
    threshold : {"contamination": share} | {"fdr": q} | {"top_n": rows}
    rows : of the table
    """
    wanted = int(threshold.get("top_n", threshold.get("contamination", 0.0) * rows))
    return min(max(TOP, wanted + 1), MOST_TOP)


def merge_tallies(a: Tally, b: Tally) -> Tally:
    """The tally of both: commutative and associative to the last bit."""
    return Tally(
        a.rows + b.rows,
        a.linear + b.linear,
        a.squared + b.squared,
        a.raw + b.raw,
        a.present + b.present,
        a.histogram + b.histogram,
        _highest(np.concatenate([a.top, b.top]), a.limit),
        a.limit,
        tuple(sorted(a.unusual + b.unusual, key=lambda u: (-u.score, u.content))[:SHOWN]),
    )


def _highest(score: Floats, limit: int) -> Floats:
    if len(score) > limit:
        score = np.partition(score, len(score) - limit)[len(score) - limit :]
    return np.sort(score)
