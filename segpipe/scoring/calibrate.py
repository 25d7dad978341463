"""Thresholds and meanings of scores, from the histogram and the highest scores of *all* rows.

A sample's threshold misses a 0.1 % tail by more than 10 % in 15 % of runs; the tally's does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt

from segpipe.kernels.totals import Counts
from segpipe.models.calibration import Calibration, Tail, survival
from segpipe.models.weighted import quantiles
from segpipe.values import Floats

BINS = 4096
BULK, BEYOND = 2048, 256
KEPT = 4096
"""Highest scores that the calibration keeps exactly."""
FORMS = (
    (0.0, 1.0),
    *((i / 20, 1.0) for i in range(1, 11)),
    *((0.0, 1.0 + i / 20) for i in range(1, 21)),
    *((-i / 10, 1.0) for i in range(1, 31)),
)
"""(shape, power) of the tails that compete: exponential, heavier, lighter, lighter by and by."""
COARSE = 16
"""Scales of the grid that are passed over before the peak of the likelihood is looked for."""
FROM, TO = 0.5, 0.95
"""The null is fitted between these quantiles: below lies the bulk, above may lie the outliers."""


def score_edges(score: Floats, w: Floats) -> Floats:
    """Ascending bin edges, at most ``BINS`` - 1, from a weighted sample's scores (n >= 1).

    Half of them are quantiles up to .9; then a constant ratio of tail shares (0.6 % of the
    rows above, so the flagged share can be met closely); then as far again beyond the sample.
    """
    rare = 0.5 / len(score)
    tail = BINS - 1 - BULK - BEYOND
    shares = 1.0 - np.geomspace(0.1, rare, tail) if rare < 0.1 else np.empty(0)
    at = np.append(np.linspace(0.0, 0.9, BULK), shares)
    inner = np.array(quantiles(score, w, tuple(at)))
    top = float(score.max())
    reach = max(top - float(np.median(inner)), 1e-6)
    beyond = top + reach * np.arange(1, BEYOND + 1) / BEYOND
    return np.unique(np.concatenate([inner, beyond]))


class Counted(Protocol):
    """Scores of all rows, counted."""

    @property
    def histogram(self) -> Counts:
        """(edges + 1,) rows per bin."""
        ...

    @property
    def top(self) -> Floats:
        """The highest scores, ascending."""
        ...

    @property
    def total(self) -> int:
        """Rows."""
        ...


def calibrate(
    tally: Counted, edges: Floats, threshold: Mapping[str, float], method: str
) -> Calibration:
    """Freeze the score distribution of all rows and the threshold.

    Parameters
    ----------
    tally : of at least one row, with ``edges`` as its bin edges
    threshold : one of {"contamination": share}, {"fdr": q}, {"top_n": rows}
    method : the detector's name
    """
    below = np.cumsum(tally.histogram[:-1]).astype(np.int64)
    rows = tally.total
    asked = tuple((name, float(value)) for name, value in threshold.items())
    tail = _fit_tail(edges, below, rows, tally.top)
    draft = Calibration(method, rows, edges, below, tally.top[-KEPT:], tail, float("inf"), 0, asked)
    scores, reached = _steps(tally, edges, below)
    (name, value) = asked[0]
    if name == "fdr":
        # Benjamini-Hochberg 1995: the lowest score whose expected false share is still <= q.
        good = np.flatnonzero(draft.p(scores) * rows <= value * reached)
        chosen = int(good[0]) if len(good) else len(scores) - 1
    else:
        wanted = min(value, rows) if name == "top_n" else value * rows
        miss = np.abs(reached - wanted)
        chosen = len(miss) - 1 - int(np.argmin(miss[::-1]))  # of equals the fewer flags
    return Calibration(
        method,
        rows,
        edges,
        below,
        tally.top[-KEPT:],
        tail,
        float(scores[chosen]),
        int(reached[chosen]),
        asked,
    )


def _steps(
    tally: Counted, edges: Floats, below: npt.NDArray[np.int64]
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """Ascending candidate thresholds and the exact rows at or above each; the last flags nobody."""
    rows, top = tally.total, tally.top
    scores, first = np.unique(top, return_index=True)
    reached = len(top) - first
    if len(top) < rows:
        # Rows that tie with the lowest kept score may have been dropped: it is no exact step.
        scores, reached = scores[1:], reached[1:]
        coarse = edges < top[0] if len(top) else np.ones(len(edges), bool)
        scores = np.concatenate([edges[coarse], scores])
        reached = np.concatenate([rows - below[coarse], reached])
    over = np.nextafter(top[-1] if len(top) else edges[-1], np.inf)
    return np.append(scores, over), np.append(reached, 0).astype(np.int64)


def _fit_tail(edges: Floats, below: npt.NDArray[np.int64], rows: int, top: Floats) -> Tail:
    """Maximum likelihood of the binned excess between the two quantiles, censored above."""
    complete = len(top) == rows
    start, stop = _at(edges, below, rows, FROM, top), _at(edges, below, rows, TO, top)
    share = 1.0 - _below(edges, below, start, top if complete else None) / rows
    knots = np.unique(np.append(edges[(edges > start) & (edges < stop)], [start, stop]))
    if len(knots) < 3:
        # At least 45 % of the rows score the same: all that lies above has to be the null.
        above = top[top > start]
        spread = float((above - start).mean()) if len(above) else 1.0
        return Tail(start, share, max(spread, 1e-9))
    under = np.array([_below(edges, below, s, top if complete else None) for s in knots])
    count = np.append(np.diff(under), rows - under[-1]).astype(np.float64)
    excess = knots - start
    middle = float(count.sum() and (count[:-1] @ (excess[1:] + excess[:-1]) / 2) / count.sum())
    middle = max(middle, float(excess[-1]) / 20, 1e-9)
    scales = np.geomspace(middle / 10, middle * 20, 400)
    best, fitted = -np.inf, Tail(start, share, middle)
    for shape, power in FORMS:

        def fits(at: npt.NDArray[np.intp], shape: float = shape, power: float = power) -> Floats:
            bend = float(excess[-1]) / scales[at, None]
            reach = survival(excess[None, :] / scales[at, None], shape, power, bend)
            cell = np.append(reach[:, :-1] - reach[:, 1:], reach[:, -1:], axis=1)
            return np.asarray((count[None, :] * np.log(np.maximum(cell, 1e-300))).sum(axis=1))

        # The likelihood has one peak along the scale: it is found on every COARSE-th, then near it.
        some = np.arange(0, len(scales), COARSE)
        peak = int(some[np.argmax(fits(some))])
        near = np.arange(max(peak - COARSE, 0), min(peak + COARSE + 1, len(scales)))
        fit = fits(near)
        i = int(np.argmax(fit))
        if fit[i] > best:
            best, scale = float(fit[i]), float(scales[near[i]])
            fitted = Tail(start, share, scale, shape, power, float(excess[-1]) / scale)
    return fitted


def _at(edges: Floats, below: npt.NDArray[np.int64], rows: int, share: float, top: Floats) -> float:
    """The score below which ``share`` of the rows lie; exact when all scores are kept."""
    if len(top) == rows:
        return float(top[min(int(share * rows), rows - 1)])
    return float(edges[min(int(np.searchsorted(below, share * rows)), len(edges) - 1)])


def _below(
    edges: Floats, below: npt.NDArray[np.int64], score: float, every: Floats | None
) -> float:
    if every is not None:
        return float(np.searchsorted(every, score, side="left"))
    return float(np.interp(score, edges, below))
