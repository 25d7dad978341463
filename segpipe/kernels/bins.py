"""Histogram bins of uneven width: where each score lies between ascending edges.

Small calls take a NumPy path and large ones compiled loops (``bins_jit``), with the same bits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from segpipe.values import Floats

CELLS = 1 << 14
SMALL = 1 << 14
"""Rows below which NumPy beats the import of numba."""


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import bins_jit

    return bins_jit


@dataclass(frozen=True, slots=True, eq=False)
class Bins:
    """Counts by bin; bin i holds edges[i - 1] <= score < edges[i]."""

    edges: Floats
    """(m,) ascending."""
    start: npt.NDArray[np.int32]
    """(``CELLS`` + 1,) edges that lie in even cells before each cell: what is left to search."""

    @classmethod
    def of(cls, edges: Floats) -> Bins:
        """Bins between ``edges``, which may be none."""
        cells = _cells(edges, edges)
        start = np.searchsorted(cells, np.arange(CELLS + 1), side="left")
        return cls(edges, start.astype(np.int32))

    def add(self, score: Floats, histogram: npt.NDArray[np.int64]) -> None:
        """Count each finite score in ``histogram``, (m + 1,), in place."""
        if len(score) <= SMALL or not len(self.edges):
            found = np.searchsorted(self.edges, score, side="right")
            histogram += np.bincount(found, minlength=len(histogram))
            return
        _compiled().add(score, self.edges, self.start, *_scale(self.edges), histogram)

    def interpolate(self, score: Floats, heights: Floats) -> Floats:
        """(n,) piecewise linear through (edges, heights); 0 below the first, flat after the last.

        ``heights`` : (m,) with m >= 1.
        """
        last = len(self.edges) - 1
        steps = np.diff(self.edges)
        slopes = np.append(np.diff(heights) / np.where(steps > 0, steps, 1.0), 0.0)
        if len(score) <= SMALL:
            at = np.searchsorted(self.edges, score, side="right") - 1
            place = np.maximum(at, 0)
            inside = slopes[place] * (score - self.edges[place]) + heights[place]
            found = np.where(at >= last, heights[last], inside)
            return np.where(at < 0, 0.0, found)
        out = np.empty(len(score))
        low, factor = _scale(self.edges)
        _compiled().interpolate(score, self.edges, self.start, low, factor, heights, slopes, out)
        return out


def _scale(edges: Floats) -> tuple[float, float]:
    """Of score to cell: (score - low) * factor."""
    span = float(edges[-1] - edges[0])
    return float(edges[0]), CELLS / span if span > 0 and np.isfinite(CELLS / span) else 0.0


def _cells(score: Floats, edges: Floats) -> npt.NDArray[np.int64]:
    """Cell of each score: non-decreasing, so that no edge of an earlier cell lies above it."""
    if not len(edges):
        return np.zeros(len(score), np.int64)
    low, factor = _scale(edges)
    return np.clip((score - low) * factor, 0.0, CELLS - 1.0).astype(np.int64)
