"""Compiled loops of ``kernels.nearest``, apart so that small tables never import numba.

No fastmath: every lane does the IEEE operations that the NumPy path does, in the same order,
so both give the same bits and a row's result does not depend on its place in the block.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

BLOCK = 512
"""Rows worked on at a time: 16 float32 features of a block fill a 32 KiB first-level cache."""


@jit
def squared_distances(x: Any, lo: int, m: int, centre: Any, out: Any) -> None:
    """``out[:m]``: squared float32 distances of rows lo..lo+m to one centre, features in order."""
    d = x.shape[0]
    j = 0
    first = True
    while j + 4 <= d:  # four features per pass: a quarter of the loads and stores of ``out``
        a, b, c, e = x[j], x[j + 1], x[j + 2], x[j + 3]
        ca, cb, cc, ce = centre[j], centre[j + 1], centre[j + 2], centre[j + 3]
        if first:
            for r in range(m):
                u, v, s, t = a[lo + r] - ca, b[lo + r] - cb, c[lo + r] - cc, e[lo + r] - ce
                out[r] = ((u * u + v * v) + s * s) + t * t
        else:
            for r in range(m):
                u, v, s, t = a[lo + r] - ca, b[lo + r] - cb, c[lo + r] - cc, e[lo + r] - ce
                out[r] = (((out[r] + u * u) + v * v) + s * s) + t * t
        first = False
        j += 4
    while j < d:
        a = x[j]
        ca = centre[j]
        if first:
            for r in range(m):
                u = a[lo + r] - ca
                out[r] = u * u
        else:
            for r in range(m):
                u = a[lo + r] - ca
                out[r] = out[r] + u * u
        first = False
        j += 1


@jit
def moments(x: Any, w: Any, label: Any, grid: float, count: Any, linear: Any) -> None:
    """Add exact sums: w to count (k,), w x to linear (k, d).

    Noise goes to place 0 of the accumulators instead of a branch; four features at a time keep
    four chains of additions busy.
    """
    d, n = x.shape
    k = count.shape[0]
    total, mass = np.zeros((d, k + 1)), np.zeros(k + 1)
    at = np.empty(BLOCK, np.int64)
    t0, t1, t2, t3 = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for lo in range(0, n, BLOCK):
        m = min(BLOCK, n - lo)
        for r in range(m):
            at[r] = label[lo + r] + 1
        for r in range(m):
            mass[at[r]] += (w[lo + r] + grid) - grid
        j = 0
        while j + 4 <= d:
            a, b, c, e = x[j], x[j + 1], x[j + 2], x[j + 3]
            for r in range(m):
                v = w[lo + r]
                t0[r] = (v * np.float64(a[lo + r]) + grid) - grid
                t1[r] = (v * np.float64(b[lo + r]) + grid) - grid
                t2[r] = (v * np.float64(c[lo + r]) + grid) - grid
                t3[r] = (v * np.float64(e[lo + r]) + grid) - grid
            sa, sb, sc, se = total[j], total[j + 1], total[j + 2], total[j + 3]
            for r in range(m):
                g = at[r]
                sa[g] += t0[r]
                sb[g] += t1[r]
                sc[g] += t2[r]
                se[g] += t3[r]
            j += 4
        while j < d:
            a, sa = x[j], total[j]
            for r in range(m):
                sa[at[r]] += (w[lo + r] * np.float64(a[lo + r]) + grid) - grid
            j += 1
    for g in range(k):
        count[g] += mass[g + 1]
        for j in range(d):
            linear[g, j] += total[j, g + 1]


@jit
def errors(w: Any, label: Any, error: Any, coarse: float, fine: float, squared: Any) -> None:
    """Add w error to squared (2, k), coarse and fine part, each exact."""
    for r in range(len(label)):
        g = label[r]
        if g >= 0:
            e = w[r] * error[r]
            big = (e + coarse) - coarse
            squared[0, g] += big
            squared[1, g] += ((e - big) + fine) - fine
