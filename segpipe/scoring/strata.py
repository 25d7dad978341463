"""Scores counted by level of one column, so that each level has a threshold of its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.kernels.bins import Bins
from segpipe.kernels.cells import texts
from segpipe.kernels.totals import Counts
from segpipe.models.calibration import Calibration
from segpipe.models.lens import block_for
from segpipe.models.scaler import Scaler
from segpipe.models.strata import Strata, level_codes
from segpipe.scoring.calibrate import KEPT, calibrate
from segpipe.values import Detector, Floats

LEAST_ROWS = 1000
"""A level of fewer rows has no tail of its own: it goes by the whole table."""
MOST_LEVELS = 256
"""Levels with a calibration of their own, the largest; the others go by the whole table."""
MOST_VALUES = 10_000
"""Different values of the column that are counted."""

Levels = dict[str, int] | None
"""Rows per value; None once there are more than ``MOST_VALUES``."""


@dataclass(frozen=True, slots=True)
class CountLevels:
    """Fold step: rows per value of ``column``; picklable."""

    column: str

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Levels:
        """Of one part."""
        found: Levels = {}
        for batch in batches:
            pairs = texts(batch.column(self.column)).value_counts()
            values, counts = pairs.field("values").to_pylist(), pairs.field("counts").to_pylist()
            found = merge_levels(found, dict(zip(values, counts, strict=True)))
        return found


def merge_levels(a: Levels, b: Levels) -> Levels:
    """Rows per value of both, in whatever order."""
    if a is None or b is None:
        return None
    both = {level: a.get(level, 0) + b.get(level, 0) for level in a | b}
    return both if len(both) <= MOST_VALUES else None


def own_levels(levels: Mapping[str, int]) -> tuple[str, ...]:
    """Levels with a calibration of their own: large enough, the largest first, then by name."""
    large = [name for name, rows in levels.items() if rows >= LEAST_ROWS]
    return tuple(sorted(large, key=lambda name: (-levels[name], name))[:MOST_LEVELS])


@dataclass(frozen=True, slots=True, eq=False)
class LevelScores:
    """How the rows of one level score: what ``calibrate`` reads."""

    histogram: Counts
    top: Floats

    @property
    def total(self) -> int:
        """Rows."""
        return int(self.histogram.sum())


@dataclass(frozen=True, slots=True, eq=False)
class ScoreLevels:
    """Fold step: score histogram and highest scores per level; the last entry: all others."""

    scaler: Scaler
    detector: Detector
    edges: Floats
    column: str
    levels: tuple[str, ...]
    limit: tuple[int, ...]
    """Scores to keep exactly, per level; the others' keep none."""
    threshold: float
    """Of the whole table: the others' rows at or above it are counted."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> tuple[list[LevelScores], int]:
        """Of one part, and how many rows of other levels are flagged."""
        bins, flagged = Bins.of(self.edges), 0
        found = [self._none() for _ in self.levels]
        for batch in batches:
            if not batch.num_rows:
                continue
            x = self.scaler.transform(batch)
            score = self.detector.score(block_for(self.detector, batch, x))
            code = level_codes(batch, self.column, self.levels)
            flagged += int((score[code < 0] >= self.threshold).sum())
            for level in np.unique(code[code >= 0]):
                own = score[code == level]
                histogram = np.zeros(len(self.edges) + 1, np.int64)
                bins.add(own, histogram)
                held = found[level]
                found[level] = LevelScores(
                    held.histogram + histogram, highest(held.top, own, self.limit[level])
                )
        return found, flagged

    def merge(
        self, a: tuple[list[LevelScores], int], b: tuple[list[LevelScores], int]
    ) -> tuple[list[LevelScores], int]:
        """Both parts' counts, in whatever order."""
        pairs = zip(a[0], b[0], self.limit, strict=True)
        both = [
            LevelScores(x.histogram + y.histogram, highest(x.top, y.top, limit))
            for x, y, limit in pairs
        ]
        return both, a[1] + b[1]

    def _none(self) -> LevelScores:
        return LevelScores(np.zeros(len(self.edges) + 1, np.int64), np.empty(0))


def highest(a: Floats, b: Floats, limit: int) -> Floats:
    """The ``limit`` highest of both, ascending."""
    return np.sort(np.concatenate([a, b]))[-limit:]


def limits(levels: Mapping[str, int], own: tuple[str, ...], share: float) -> tuple[int, ...]:
    """Scores to keep per level so that a contamination of ``share`` is met exactly."""
    return tuple(max(KEPT, int(share * levels[name]) + 1) for name in own)


def stratify(
    column: str,
    own: tuple[str, ...],
    scores: list[LevelScores],
    edges: Floats,
    threshold: Mapping[str, float],
    whole: Calibration,
) -> Strata:
    """A calibration per level, each with the asked threshold."""
    done = tuple(calibrate(level, edges, threshold, whole.method) for level in scores)
    return Strata(column, own, done)
