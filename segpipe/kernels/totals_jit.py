"""Compiled loop of ``kernels.totals``, with the bits of its NumPy path."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

LANES = 8
"""Accumulators per group: neighbours of one group do not wait for each other's addition."""


@jit
def add_column(values: Any, at: Any, grid: float, sums: Any, present: Any) -> None:
    """See ``kernels.totals.add_column``; every sum is exact, so lanes may be added in any order.

    Takes 1 from ``present`` for each value that is not finite.
    """
    groups = len(present)
    total = np.zeros((groups, LANES))
    size = len(values) // LANES * LANES
    for i in range(0, size, LANES):
        for lane in range(LANES):
            value = np.float64(values[i + lane])
            # The difference is NaN for NaN and for both infinities, and 0 otherwise.
            known = value - value == 0.0
            total[at[i + lane], lane] += ((value if known else 0.0) + grid) - grid
            if not known:
                present[at[i + lane]] -= 1
    for i in range(size, len(values)):
        value = np.float64(values[i])
        known = value - value == 0.0
        total[at[i], 0] += ((value if known else 0.0) + grid) - grid
        if not known:
            present[at[i]] -= 1
    for g in range(groups):
        for lane in range(LANES):
            sums[g] += total[g, lane]
