"""Compiled posteriors and sums of ``kernels.mixture``, in registers of eight rows; no fastmath.

Rows that fill up a block's last register have weight 0.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.mixture_e_jit import (
    BLOCK,
    STRIDE,
    TAME,
    joint_diagonal,
    joint_full,
    normalise,
    shifts,
    take,
)
from segpipe.kernels.nearest import GRID
from segpipe.kernels.simd import add, div, fma, load, mul, odd, splat, store, sub

TAME_WEIGHT = 1024.0
"""Up to this weight, and TAME for |x| and |mean|, a block's sums stay on the grid inside one
accumulator: 8 rows of a lane add up to less than 2^27."""
LIKELIHOOD_GRID = 1.5 * 2.0**32
"""Log likelihoods are added up on a coarser grid, 2^-20: exact up to 8e9 nats."""


@jit
def posterior(
    x: Any, const: Any, means: Any, factor: Any, diagonal: bool, label: Any, p: Any, density: Any
) -> None:
    """Fill label, its posterior and the log density; means and factor are padded."""
    k, d = means.shape
    n = x.shape[1]
    xd, lp, shift = np.zeros((d, STRIDE)), np.empty((k, STRIDE)), np.empty((k, d))
    top, total, name = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK, np.int32)
    shifts(factor, means, shift)
    for lo in range(0, n, BLOCK):
        m = min(BLOCK, n - lo)
        hi = -(-m // 8) * 8
        take(x, lo, m, xd)
        if diagonal:
            joint_diagonal(xd, m, const, factor, shift, lp)
        else:
            joint_full(xd, m, const, factor, shift, lp)
        normalise(lp, hi, top, total, name)
        for r in range(m):
            label[lo + r] = name[r]
            p[lo + r] = 1.0 / total[r]
            density[lo + r] = top[r] + math.log(total[r])


@jit
def _add(into: Any, at: int, sums: Any) -> None:
    """Take the grid's constant off an accumulator and add it, lane by lane: exact."""
    store(into, at, add(load(into, at), sub(sums, splat(GRID))))


@jit
def _first(xd: Any, p: Any, mean: Any, lo: int, hi: int, dev: Any, rx: Any, linear: Any) -> None:
    """Fill dev = x - mean and rx = p dev, last bit set; add the sums of rx to linear (d, 8)."""
    for i in range(0, len(mean), 4):
        ma, mb, mc, md = splat(mean[i]), splat(mean[i + 1]), splat(mean[i + 2]), splat(mean[i + 3])
        sa = sb = sc = sd = splat(GRID)
        for r in range(lo, hi, 8):
            share, at = load(p, r), i * STRIDE + r
            a, b = sub(load(xd, at), ma), sub(load(xd, at + STRIDE), mb)
            c, d = sub(load(xd, at + 2 * STRIDE), mc), sub(load(xd, at + 3 * STRIDE), md)
            store(dev, at, a)
            store(dev, at + STRIDE, b)
            store(dev, at + 2 * STRIDE, c)
            store(dev, at + 3 * STRIDE, d)
            a, b, c, d = (
                odd(mul(share, a)),
                odd(mul(share, b)),
                odd(mul(share, c)),
                odd(mul(share, d)),
            )
            store(rx, at, a)
            store(rx, at + STRIDE, b)
            store(rx, at + 2 * STRIDE, c)
            store(rx, at + 3 * STRIDE, d)
            sa, sb, sc, sd = add(sa, a), add(sb, b), add(sc, c), add(sd, d)
        _add(linear, i * 8, sa)
        _add(linear, i * 8 + 8, sb)
        _add(linear, i * 8 + 16, sc)
        _add(linear, i * 8 + 24, sd)


@jit
def _second(dev: Any, rx: Any, lo: int, hi: int, quadratic: Any) -> None:
    """Add the products of rx and dev to quadratic (d, d, 8), lower triangle in 4 x 4 tiles."""
    d = quadratic.shape[0]
    for i in range(0, d, 4):
        for j in range(0, i + 4, 4):
            s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = splat(GRID)
            s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = splat(GRID)
            for r in range(lo, hi, 8):
                a, b = i * STRIDE + r, j * STRIDE + r
                u0, u1 = load(rx, a), load(rx, a + STRIDE)
                u2, u3 = load(rx, a + 2 * STRIDE), load(rx, a + 3 * STRIDE)
                v = load(dev, b)
                s00, s10 = fma(u0, v, s00), fma(u1, v, s10)
                s20, s30 = fma(u2, v, s20), fma(u3, v, s30)
                v = load(dev, b + STRIDE)
                s01, s11 = fma(u0, v, s01), fma(u1, v, s11)
                s21, s31 = fma(u2, v, s21), fma(u3, v, s31)
                v = load(dev, b + 2 * STRIDE)
                s02, s12 = fma(u0, v, s02), fma(u1, v, s12)
                s22, s32 = fma(u2, v, s22), fma(u3, v, s32)
                v = load(dev, b + 3 * STRIDE)
                s03, s13 = fma(u0, v, s03), fma(u1, v, s13)
                s23, s33 = fma(u2, v, s23), fma(u3, v, s33)
            at = (i * d + j) * 8
            _add(quadratic, at, s00)
            _add(quadratic, at + 8, s01)
            _add(quadratic, at + 16, s02)
            _add(quadratic, at + 24, s03)
            at += d * 8
            _add(quadratic, at, s10)
            _add(quadratic, at + 8, s11)
            _add(quadratic, at + 16, s12)
            _add(quadratic, at + 24, s13)
            at += d * 8
            _add(quadratic, at, s20)
            _add(quadratic, at + 8, s21)
            _add(quadratic, at + 16, s22)
            _add(quadratic, at + 24, s23)
            at += d * 8
            _add(quadratic, at, s30)
            _add(quadratic, at + 8, s31)
            _add(quadratic, at + 16, s32)
            _add(quadratic, at + 24, s33)


@jit
def _squares(xd: Any, p: Any, mean: Any, lo: int, hi: int, linear: Any, quadratic: Any) -> None:
    """``_first`` and the diagonal of ``_second`` at once; quadratic (1, d, 8)."""
    d = len(mean)
    for i in range(0, d, 2):
        mu, mv = splat(mean[i]), splat(mean[i + 1])
        s = t = u = v = splat(GRID)
        for r in range(lo, hi, 8):
            share = load(p, r)
            a, b = sub(load(xd, i * STRIDE + r), mu), sub(load(xd, (i + 1) * STRIDE + r), mv)
            e, f = odd(mul(share, a)), odd(mul(share, b))
            s, t, u, v = add(s, e), add(t, f), fma(e, a, u), fma(f, b, v)
        _add(linear, i * 8, s)
        _add(linear, i * 8 + 8, t)
        _add(quadratic, i * 8, u)
        _add(quadratic, i * 8 + 8, v)


@jit
def _gridded(values: Any, hi: int, grid: float, into: Any) -> None:
    """Add values rounded one by one to into (8,)."""
    constant, s = splat(grid), splat(0.0)
    for r in range(0, hi, 8):
        s = add(s, sub(add(load(values, r), constant), constant))
    store(into, 0, add(load(into, 0), s))


@jit
def _weigh(
    w: Any, lo: int, m: int, top: Any, total: Any, share: Any, level: Any, scalars: Any
) -> bool:
    """Fill share: weight over total, 0 for padding; add log likelihood and weight to scalars.

    Whether all weights are tame.
    """
    hi = -(-m // 8) * 8
    most = 0.0
    for r in range(m):
        share[r] = w[lo + r] if len(w) else 1.0
        most = share[r] if share[r] > most else most
        level[r] = share[r] * (top[r] + math.log(total[r]))
    for r in range(m, hi):
        share[r] = 0.0
        level[r] = 0.0
    _gridded(level, hi, LIKELIHOOD_GRID, scalars[0])
    _gridded(share, hi, GRID, scalars[1])
    for r in range(0, hi, 8):
        store(share, r, div(load(share, r), load(total, r)))
    return bool(most <= TAME_WEIGHT)


@jit
def sums(
    x: Any,
    w: Any,
    const: Any,
    means: Any,
    factor: Any,
    diagonal: bool,
    label: Any,
    count: Any,
    linear: Any,
    quadratic: Any,
    scalars: Any,
) -> None:
    """Fill label and add to count (k, 8), linear (k, d, 8), quadratic (k, d, d, 8), scalars (2, 8).

    A sum is kept lane by lane: row r of a block in lane r % 8. With ``diagonal`` quadratic holds
    squares only, (k, 1, d, 8). ``w`` of length 0 means 1 each.
    """
    k, d = means.shape
    n = x.shape[1]
    xd, lp, shift = np.zeros((d, STRIDE)), np.empty((k, STRIDE)), np.empty((k, d))
    dev, rx = np.empty((d, STRIDE)), np.empty((d, STRIDE))
    top, total, name = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK, np.int32)
    share, level = np.empty(BLOCK), np.empty(BLOCK)
    shifts(factor, means, shift)
    near = np.abs(means).max() <= TAME
    for lo in range(0, n, BLOCK):
        m = min(BLOCK, n - lo)
        hi = -(-m // 8) * 8
        tame = take(x, lo, m, xd) and near
        if diagonal:
            joint_diagonal(xd, m, const, factor, shift, lp)
        else:
            joint_full(xd, m, const, factor, shift, lp)
        normalise(lp, hi, top, total, name)
        for r in range(m):
            label[lo + r] = name[r]
        tame = _weigh(w, lo, m, top, total, share, level, scalars) and tame
        # Elsewhere a block could leave the range in which an accumulator is on the grid.
        step = BLOCK if tame else 8
        for c in range(k):
            p = lp[c]
            most = 0.0
            for r in range(hi):
                p[r] = p[r] * share[r]
                most = p[r] if p[r] > most else most
            if tame and most < 1e-11:  # every term would round to zero: |x - mean|^2 <= 1024
                continue
            _gridded(p, hi, GRID, count[c])
            for at in range(0, hi, step):
                end = min(at + step, hi)
                if diagonal:
                    _squares(xd, p, means[c], at, end, linear[c], quadratic[c])
                else:
                    _first(xd, p, means[c], at, end, dev, rx, linear[c])
                    _second(dev, rx, at, end, quadratic[c])
