"""Counts and ratings spread over the width of their steps, before their density is looked at.

Values on a grid pile up at its points: every step between two ratings looks like a valley, and a
uniform table of answers from 1 to 5 like hundreds of groups. A count of 3 stands for a quantity
between 2.5 and 3.5. Models are fitted on the values as they are; only the evidence is spread.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.values import Block, Floats

LEVELS = 4
"""Distinct values that a grid has at least: flags and one-hot cells are no quantities."""
SHARE = 0.1
"""Distinct values per row up to which a feature is on a grid."""


def steps(x: Block, w: Floats) -> Floats:
    """(d,) usual step between the values of each feature on a grid; 0 for the others."""
    rows = _rows(x.shape[1], w)
    out = np.zeros(x.shape[0])
    for j, line in enumerate(x):
        values = np.unique(line)
        if LEVELS <= len(values) <= SHARE * rows:
            out[j] = float(np.median(np.diff(values.astype(np.float64))))
    return out


def spread(x: Block, w: Floats, most: int, seed: int) -> tuple[Block, Floats]:
    """Rows as often as they count, at most ``most``, each moved within half a step either way.

    As they were where no feature is on a grid. Rows that are equal in measured features, too, are
    copies of one row and stay together: spread along the grid alone they would be a line, which
    parts where chance leaves a gap.
    """
    step = steps(x, w)
    if not step.any():
        return x, w
    rng = np.random.default_rng([seed, x.shape[1], 77])
    rows = _copies(w, min(most, _rows(x.shape[1], w)), rng)
    moved = x[:, rows].astype(np.float64)
    measured = any(len(np.unique(line)) > SHARE * len(rows) for line in moved[step == 0])
    place = _places(moved) if measured else np.arange(len(rows))
    for j in np.flatnonzero(step):
        moved[j] += step[j] * (rng.random(len(rows)) - 0.5)[place]
    total = float(w.sum())
    return np.ascontiguousarray(moved, np.float32), np.full(len(rows), total / len(rows))


def _places(rows: Floats) -> npt.NDArray[np.intp]:
    """Of each column of (d, n): the number of the first column that equals it."""
    _, first, same = np.unique(rows, axis=1, return_index=True, return_inverse=True)
    return np.asarray(first[same.reshape(-1)], np.intp)


def _rows(n: int, w: Floats) -> int:
    """Rows that the weighted ones stand for; n if all stand for the same."""
    return n if w.min() == w.max() else max(n, round(float(w.sum() / w.min())))


def _copies(w: Floats, rows: int, rng: np.random.Generator) -> npt.NDArray[np.intp]:
    """Row numbers, each about ``rows`` w / sum w times: systematic resampling."""
    if w.min() == w.max() and rows >= len(w):
        return np.arange(len(w))
    at = (np.arange(rows) + rng.random()) / rows
    cumulated = np.cumsum(w) / w.sum()
    return np.minimum(np.searchsorted(cumulated, at, side="right"), len(w) - 1)
