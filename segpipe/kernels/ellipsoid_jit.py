"""Compiled loop of ``kernels.ellipsoid``; sixteen rows at a time, one per lane, no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.simd import SINGLES, add, load, mul, splat, store


@jit
def squared(x: Any, centre: Any, factor: Any, out: Any) -> None:
    """``out[r]``: see ``kernels.ellipsoid``; four sides share the loads of the rows."""
    d, n = x.shape
    wide = (d + 3) // 4 * 4
    sides = np.zeros((wide, wide), np.float32)
    sides[:d, :d] = factor
    away, near = np.zeros((wide, SINGLES), np.float32), np.empty(SINGLES, np.float32)
    zero = splat(np.float32(0.0))
    for lo in range(0, n, SINGLES):
        m = min(SINGLES, n - lo)
        for j in range(d):
            row, kept, middle = x[j], away[j], centre[j]
            for r in range(m):
                kept[r] = row[lo + r] - middle
        total = zero
        for i in range(0, wide, 4):
            a = b = c = e = zero
            p, q, s, t = sides[i], sides[i + 1], sides[i + 2], sides[i + 3]
            for j in range(i + 4):
                at = load(away, j * SINGLES)
                a, b = add(a, mul(splat(p[j]), at)), add(b, mul(splat(q[j]), at))
                c, e = add(c, mul(splat(s[j]), at)), add(e, mul(splat(t[j]), at))
            total = add(add(add(add(total, mul(a, a)), mul(b, b)), mul(c, c)), mul(e, e))
        store(near, 0, total)
        for r in range(m):
            out[lo + r] = near[r]
