"""Compiled loop of ``kernels.totals``, with the bits of its NumPy path."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

LANES = 4
"""Accumulators per group: neighbours of one group do not wait for each other's addition."""


@jit
def add_column(
    values: Any, at: Any, limit: float, coarse: float, fine: float, sums: Any, present: Any
) -> None:
    """See ``kernels.totals.add_column``; every sum is exact, so lanes may be added in any order."""
    groups = len(present)
    big, small = np.zeros((groups, LANES)), np.zeros((groups, LANES))
    rows = np.zeros((groups, LANES), np.int64)
    for i in range(len(values)):
        value = np.float64(values[i])
        # The difference is NaN for NaN and for both infinities, and 0 otherwise.
        known = value - value == 0.0
        inside = min(max(value, -limit), limit) if known else 0.0
        g, lane = at[i], i % LANES
        part = (inside + coarse) - coarse
        big[g, lane] += part
        small[g, lane] += ((inside - part) + fine) - fine
        rows[g, lane] += known
    for g in range(groups):
        for lane in range(LANES):
            sums[0, g] += big[g, lane]
            sums[1, g] += small[g, lane]
            present[g] += rows[g, lane]
