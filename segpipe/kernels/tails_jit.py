"""Compiled loop of ``kernels.tails``; no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

TILE = 1024
"""Rows whose sums stay in the first-level cache while the features pass."""


@jit
def looked_up(x: Any, table: Any, cells: int, middle: int, total: Any) -> None:
    """Add each feature's value to ``total``, feature by feature."""
    d, n = x.shape
    per = np.float32(cells)
    for lo in range(0, n, TILE):
        hi = min(lo + TILE, n)
        for j in range(d):
            row, steps = x[j], table[j]
            for r in range(lo, hi):
                total[r] += steps[np.int32(np.floor(row[r] * per)) + middle]
