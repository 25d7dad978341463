"""Hartigan's dip: how far a weighted sample is from the nearest unimodal distribution.

Written from J. A. Hartigan and P. M. Hartigan, "The dip test of unimodality", Annals of
Statistics 13 (1985), section 3: shrink the modal interval by comparing the greatest convex
minorant and the least concave majorant of the empirical distribution function.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any

import numpy as np

from segpipe.values import Floats

SMALL = 20_000
"""Distinct values up to which plain Python, 35 ms, is taken rather than the start of numba, 0.5 s:
the distances of 200 rows."""


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import dip_jit

    return dip_jit


def dip_loop(
    x: Any, below: Any, upto: Any, minorant: Any, majorant: Any, lower: Any, upper: Any
) -> float:
    """Twice the dip, in units of the distribution function; x strictly ascending.

    All are sequences of the same length, the last four to be overwritten: knots (integers) and
    values of the two polygons. Lists and, compiled, arrays give the same bits.
    """

    def hull(y: Any, lo: int, hi: int, sign: float, knots: Any) -> int:
        """Knots of the convex minorant (sign 1) or concave majorant (-1) of points lo..hi."""
        m = 0
        for i in range(lo, hi + 1):
            while m >= 2:
                a, b = knots[m - 2], knots[m - 1]
                turn = (y[b] - y[a]) * (x[i] - x[a]) - (y[i] - y[a]) * (x[b] - x[a])
                if sign * turn < 0:
                    break
                m -= 1
            knots[m] = i
            m += 1
        return m

    def interpolate(y: Any, knots: Any, m: int, lo: int, hi: int, out: Any) -> None:
        """Values of the polygon through the knots at points lo..hi."""
        s = 0
        for i in range(lo, hi + 1):
            while s + 2 < m and knots[s + 1] < i:
                s += 1
            if m == 1 or knots[s] == i:
                out[i] = y[knots[s]]
            else:
                a, b = knots[s], knots[s + 1]
                out[i] = y[a] + (y[b] - y[a]) * (x[i] - x[a]) / (x[b] - x[a])

    lo, hi = 0, len(x) - 1
    found = 0.0
    while lo < hi:
        mg = hull(below, lo, hi, 1.0, minorant)
        ml = hull(upto, lo, hi, -1.0, majorant)
        interpolate(below, minorant, mg, lo, hi, lower)
        interpolate(upto, majorant, ml, lo, hi, upper)
        d, new_lo, new_hi = -1.0, lo, hi
        j = 0
        for i in range(mg):  # widest gap at a knot of the minorant
            while majorant[j] < minorant[i]:
                j += 1
            gap = upper[minorant[i]] - lower[minorant[i]]
            if gap > d:
                d, new_lo, new_hi = gap, minorant[i], majorant[j]
        j = 0
        for i in range(ml):  # or at a knot of the majorant
            while j + 1 < mg and minorant[j + 1] <= majorant[i]:
                j += 1
            gap = upper[majorant[i]] - lower[majorant[i]]
            if gap > d:
                d, new_lo, new_hi = gap, minorant[j], majorant[i]
        if d <= found:
            return found
        # Without the ends: a jump there is allowed as long as the mode may be there.
        for i in range(lo, new_lo):
            found = max(found, upto[i] - lower[i])
        for i in range(new_hi + 1, hi + 1):
            found = max(found, upper[i] - below[i])
        if d <= found or (new_lo == lo and new_hi == hi):
            return found
        lo, hi = new_lo, new_hi
    return found


def dip(x: Floats, w: Floats | None = None) -> float:
    """Dip of a (weighted) sample, 0 (one value) to 1/4; at least 1/(2n) for n distinct values.

    ``x`` (n,) in any order; ``w`` (n,) positive weights, None = 1 each.
    """
    values, group = np.unique(np.asarray(x, np.float64), return_inverse=True)
    mass = np.bincount(group, w, len(values))
    upto = np.cumsum(mass) / mass.sum()
    below = np.r_[0.0, upto[:-1]]
    n = len(values)
    if n <= SMALL:
        knots: list[list[int]] = [[0] * n, [0] * n]
        room: list[list[float]] = [[0.0] * n, [0.0] * n]
        cells = values.tolist(), below.tolist(), upto.tolist()
        return 0.5 * dip_loop(*cells, *knots, *room)
    at, polygons = np.empty((2, n), np.int64), np.empty((2, n))
    return 0.5 * float(_compiled().dip_loop(values, below, upto, *at, *polygons))


def dip_p(x: Floats, w: Floats | None = None) -> float:
    """P-value of the dip against the uniform (the least favourable unimodal) distribution.

    From a table of simulated quantiles of sqrt(n) dip, interpolated in n and in log p; weights
    count as their effective number of rows (sum w)^2 / sum w^2. Deterministic; smallest 0.0005.
    Fewer than four rows or values cannot show a dip: 1.
    """
    n = float(len(x)) if w is None else float(w.sum() ** 2 / (w * w).sum())
    if n < 4 or len(np.unique(x)) < 4:
        return 1.0
    scaled = dip(x, w) * np.sqrt(n)
    at = np.clip(np.interp(np.log(n), np.log(ROWS), np.arange(len(ROWS))), 0, len(ROWS) - 1)
    low = min(int(at), len(ROWS) - 2)
    line = QUANTILES[low] + (at - low) * (QUANTILES[low + 1] - QUANTILES[low])
    if scaled <= line[0]:
        return 1.0
    return float(np.exp(np.interp(scaled, line, np.log(TAILS))))


TAILS = np.array([1.0, 0.9, 0.5, 0.2, 0.1, 0.05, 0.025, 0.01, 0.005, 0.001, 0.0005])
"""P-values of the table's columns."""
ROWS = np.array(
    [4.0, 6.0, 8.0, 10.0, 15.0, 20.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0]
)
# 40,000 uniform samples per line (16,000 beyond 1,000 rows) from default_rng(1985), this dip.
QUANTILES = np.array(
    [
        [0.2500, 0.2500, 0.2500, 0.3137, 0.3742, 0.4136, 0.4401, 0.4615, 0.4725, 0.4877, 0.4904],
        [0.2041, 0.2041, 0.3025, 0.3660, 0.3896, 0.4035, 0.4290, 0.4700, 0.4977, 0.5343, 0.5440],
        [0.1768, 0.2317, 0.3146, 0.3552, 0.4016, 0.4357, 0.4617, 0.4919, 0.5066, 0.5478, 0.5677],
        [0.1581, 0.2468, 0.3095, 0.3755, 0.4118, 0.4404, 0.4656, 0.5024, 0.5262, 0.5715, 0.5868],
        [0.1448, 0.2492, 0.3235, 0.3840, 0.4250, 0.4587, 0.4878, 0.5250, 0.5478, 0.5959, 0.6128],
        [0.1694, 0.2543, 0.3279, 0.3950, 0.4340, 0.4692, 0.5002, 0.5365, 0.5630, 0.6174, 0.6366],
        [0.1750, 0.2598, 0.3370, 0.4056, 0.4465, 0.4831, 0.5186, 0.5587, 0.5852, 0.6403, 0.6646],
        [0.1742, 0.2671, 0.3453, 0.4162, 0.4590, 0.4961, 0.5294, 0.5695, 0.5951, 0.6631, 0.6979],
        [0.1777, 0.2741, 0.3549, 0.4276, 0.4707, 0.5087, 0.5457, 0.5888, 0.6210, 0.6744, 0.6977],
        [0.1608, 0.2804, 0.3621, 0.4358, 0.4807, 0.5210, 0.5599, 0.6063, 0.6378, 0.6997, 0.7273],
        [0.1786, 0.2858, 0.3684, 0.4425, 0.4892, 0.5303, 0.5690, 0.6110, 0.6406, 0.7006, 0.7297],
        [0.1793, 0.2880, 0.3710, 0.4464, 0.4942, 0.5362, 0.5730, 0.6193, 0.6501, 0.7199, 0.7558],
        [0.1972, 0.2907, 0.3732, 0.4492, 0.4951, 0.5373, 0.5737, 0.6250, 0.6516, 0.7155, 0.7554],
        [0.1968, 0.2920, 0.3765, 0.4526, 0.5011, 0.5416, 0.5812, 0.6272, 0.6613, 0.7311, 0.7440],
    ]
)
"""sqrt(n) dip by rows (``ROWS``) and p-value (``TAILS``)."""
