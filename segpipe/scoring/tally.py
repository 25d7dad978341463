"""One exact, order-free summary of all rows: sizes, sums, inertia, score histogram, top scores.

Every part is an integer, a sum of terms on a fixed binary grid, or a selection of extremes with
ties broken by content: the tally is equal for any partitioning and any order of the rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.kernels import nearest as kernel
from segpipe.kernels.totals import Counts
from segpipe.models.scaler import Scaler
from segpipe.scoring.watch import Scores, Totals, Unusual, Watch, no_scores
from segpipe.values import Block, Floats, Labels, SegmentModel

CENTRED = ("kmeans", "bisecting", "agglomerative", "gmm")
"""Kinds whose rows are meant to lie around one centre: inertia says something."""
TOP = 100_000
"""Scores kept exactly, at least (800 kB a task)."""
MOST_TOP = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """Bounded state; index 0 of per-segment arrays is noise (-1), index i + 1 segment i."""

    rows: Counts
    """(k + 1,)."""
    linear: Floats
    """(k + 1, d) sums of scaled features."""
    squared: Floats
    """(2, k) squared distances to the assigned centre in the block, coarse and fine part."""
    totals: Totals
    scores: Scores
    mass: Floats | None = None
    """(k + 1,) weight, as ``Weighing`` scales it, where rows have weights; ``linear``, ``squared``
    and the totals are weighted then."""

    @property
    def total(self) -> int:
        """Rows seen."""
        return int(self.rows.sum())

    @property
    def present(self) -> Counts:
        """(k + 1, numeric columns) rows with a finite value."""
        return self.totals.present

    @property
    def raw_sums(self) -> Floats:
        """(k + 1, numeric columns) sums in original units."""
        return np.asarray(self.totals.raw[0] + self.totals.raw[1])

    @property
    def means(self) -> Floats:
        """(k + 1, numeric columns) means in original units; NaN where there is no value."""
        return self.totals.means

    @property
    def histogram(self) -> Counts:
        """See ``Scores``."""
        return self.scores.histogram

    @property
    def top(self) -> Floats:
        """See ``Scores``."""
        return self.scores.top

    @property
    def unusual(self) -> tuple[Unusual, ...]:
        """See ``Scores``."""
        return self.scores.unusual

    def inertia(self, model: SegmentModel, unit: float) -> float | None:
        """Squared distances in scaled space; None for models without centres."""
        if model.kind not in CENTRED or model.k == 0:
            return None
        return float(self.squared[0].sum() + self.squared[1].sum()) * unit * unit

    def reordered(self, order: npt.NDArray[np.intp]) -> Tally:
        """The tally once segment ``order[i]`` is renamed to i."""
        rows = np.append(0, order + 1)
        raw, mass = self.totals.raw[:, rows], self.totals.mass
        totals = Totals(raw, self.totals.present[rows], None if mass is None else mass[:, rows])
        return Tally(
            self.rows[rows], self.linear[rows], self.squared[:, order], totals, self.scores,
            None if self.mass is None else self.mass[rows],
        )  # fmt: skip


def tally_of(
    sums: kernel.Sums, totals: Totals, scores: Scores, rows: Counts | None = None
) -> Tally:
    """The tally of rows of which none is noise, from the sums of a Lloyd or EM step.

    ``rows``: (k,) of each segment, where the sums are weighted.
    """
    counted = np.rint(sums.count).astype(np.int64) if rows is None else rows
    linear = np.vstack([np.zeros((1, sums.linear.shape[1])), sums.linear])
    mass = None if rows is None else np.append(0.0, sums.count)
    return Tally(np.append(0, counted), linear, sums.squared, totals, scores, mass)


@dataclass(frozen=True, slots=True, eq=False)
class TallyStep:
    """Folds the batches of one partition, labelled by ``model``; picklable."""

    scaler: Scaler
    model: SegmentModel
    watch: Watch

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Tally:
        """Tally of all rows of ``batches``, which may be none."""
        counting = self.begin()
        for batch in batches:
            if batch.num_rows:
                x = self.scaler.transform(batch)
                counting.add(batch, x, self.model.label(x))
        return counting.tally()

    def begin(self) -> Counting:
        """For the rows of one part."""
        return Counting(self)


class Counting:
    """The tally of one part, while its rows pass."""

    def __init__(self, step: TallyStep) -> None:
        k, d = step.model.k, step.scaler.width
        self._model, self._watching = step.model, step.watch.begin(k)
        self._rows, self._linear = np.zeros(k + 1, np.int64), np.zeros((k + 1, d))
        self._squared = np.zeros((2, k))
        self._weight = step.watch.weight
        self._mass = None if self._weight is None else np.zeros(k + 1)

    def add(
        self, batch: pa.RecordBatch, x: Block, labels: Labels, score: Floats | None = None
    ) -> None:
        """Take in a batch, its block, its labels and its scores, where they are known."""
        model, segment = self._model, labels.segment
        at, w = segment + np.int32(1), None if self._weight is None else self._weight.of(batch)
        count, sums = kernel.moments(x, w, at, model.k + 1)
        if self._mass is None:
            self._rows += np.rint(count).astype(np.int64)
        else:
            self._rows += np.bincount(at, minlength=model.k + 1)
            self._mass += count
        self._linear += sums
        if model.kind in CENTRED and model.k:
            own = kernel.add_up(x, w, segment, model.centres).squared
            self._squared = kernel.carried(self._squared + own)
        self._watching.add(batch, x, segment, score)
        self._watching.label(labels)

    def tally(self) -> Tally:
        """What was counted."""
        noted, k = self._watching.noted(), self._model.k
        return Tally(
            self._rows,
            self._linear,
            self._squared,
            noted.totals or Totals(np.zeros((2, k + 1, 0)), np.zeros((k + 1, 0), np.int64)),
            noted.scores or no_scores(),
            self._mass,
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
        kernel.carried(a.squared + b.squared),
        a.totals + b.totals,
        a.scores + b.scores,
        None if a.mass is None or b.mass is None else a.mass + b.mass,
    )
