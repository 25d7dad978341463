"""Compiled loop of ``kernels.mass``; sixteen rows at a time, one per lane, no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.simd import SINGLES, add, choose, load, mul, splat, store, sub


@jit
def _distances(tile: Any, centres: Any, spread: Any, dist: Any) -> None:
    """Mean squared distance of each row to the members of every micro-cluster, features in order.

    Four clusters at a time share the loads of the rows.
    """
    d, k = centres.shape
    for c in range(0, k, 4):
        qa = qb = qc = qd = splat(np.float32(0.0))
        for j in range(d):
            row, x = centres[j], load(tile, j * SINGLES)
            a, b = sub(x, splat(row[c])), sub(x, splat(row[c + 1]))
            e, f = sub(x, splat(row[c + 2])), sub(x, splat(row[c + 3]))
            qa, qb = add(qa, mul(a, a)), add(qb, mul(b, b))
            qc, qd = add(qc, mul(e, e)), add(qd, mul(f, f))
        at = c * SINGLES
        store(dist, at, add(qa, splat(spread[c])))
        store(dist, at + SINGLES, add(qb, splat(spread[c + 1])))
        store(dist, at + 2 * SINGLES, add(qc, splat(spread[c + 2])))
        store(dist, at + 3 * SINGLES, add(qd, splat(spread[c + 3])))


@jit
def _nearest(dist: Any, k: int, near: Any, which: Any) -> None:
    """Each row's nearest cluster (the lowest of equally near ones) and its distance.

    Four quarters are looked through side by side: one would wait for its own comparisons.
    """
    step = k // 4 * SINGLES
    da = db = dc = dd = splat(np.float32(np.inf))
    ia = ib = ic = ie = splat(np.float32(0.0))  # numbers below 2^24 are exact in float32
    c, one = splat(np.float32(0.0)), splat(np.float32(1.0))
    for at in range(0, step, SINGLES):
        a, b = load(dist, at), load(dist, at + step)
        e, f = load(dist, at + 2 * step), load(dist, at + 3 * step)
        ia, ib = choose(a, da, c, ia), choose(b, db, c, ib)
        ic, ie = choose(e, dc, c, ic), choose(f, dd, c, ie)
        da, db = choose(a, da, a, da), choose(b, db, b, db)
        dc, dd = choose(e, dc, e, dc), choose(f, dd, f, dd)
        c = add(c, one)
    ib, ic, ie = add(ib, c), add(add(ic, c), c), add(add(add(ie, c), c), c)
    ia, da = choose(db, da, ib, ia), choose(db, da, db, da)
    ic, dc = choose(dd, dc, ie, ic), choose(dd, dc, dd, dc)
    store(which, 0, choose(dc, da, ic, ia))
    store(near, 0, choose(dc, da, dc, da))


@jit
def mean_square(
    x: Any, centres: Any, share: Any, spread: Any, clusters: int, mass: float, out: Any
) -> None:
    """``out[r]``: see ``kernels.mass``; centres (d, k), ``clusters`` of them, filled up to 16."""
    d, n = x.shape
    k = centres.shape[1]
    tile, dist = np.zeros((d, SINGLES), np.float32), np.empty((k, SINGLES), np.float32)
    near, which = np.empty(SINGLES, np.float32), np.empty(SINGLES, np.float32)
    total, left = np.empty(SINGLES), np.empty(SINGLES)
    for lo in range(0, n, SINGLES):
        m = min(SINGLES, n - lo)
        for j in range(d):
            row, kept = x[j], tile[j]
            for r in range(m):
                kept[r] = row[lo + r]
        for r in range(SINGLES):
            total[r] = 0.0
            left[r] = mass
        _distances(tile, centres, spread, dist)
        for _ in range(clusters):
            _nearest(dist, k, near, which)
            most = 0.0
            for r in range(SINGLES):
                at = np.int64(which[r])
                take = min(share[at], left[r])
                total[r] += take * np.float64(near[r])
                left[r] -= take
                most = max(most, left[r])
                dist[at, r] = np.inf
            if most <= 0.0:
                break
        for r in range(m):
            out[lo + r] = total[r] / mass
