"""Gaussian mixture densities and the sums of an EM step over feature-major float32 blocks.

Arithmetic is float64, log-space, rows in blocks, features and components in fixed order; no
fastmath where it could change a row. Densities go through the inverse Cholesky factor, which
costs what the expanded quadratic form does and does not cancel. Sums are of terms rounded to
2^-24 first (see ``kernels.nearest``), hence exact and free of order below 5e8.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.nearest import GRID
from segpipe.values import Block, Floats, Ints

BLOCK = 256
# Only for sums of terms on the grid: those are exact, so that SIMD reassociation changes nothing.
_jit_sum = partial(jit, fastmath={"reassoc"})


@dataclass(frozen=True, slots=True, eq=False)
class EMSums:
    """Additive statistics of an E-step, taken around the means it was run with."""

    count: Floats
    """(k,) weighted responsibilities."""
    linear: Floats
    """(k, d) responsibilities times (x - mean)."""
    quadratic: Floats
    """(k, d, d) responsibilities times (x - mean)(x - mean)^T; lower triangle filled."""
    log_likelihood: float
    weight: float

    def __add__(self, other: EMSums) -> EMSums:
        return EMSums(
            self.count + other.count,
            self.linear + other.linear,
            self.quadratic + other.quadratic,
            self.log_likelihood + other.log_likelihood,
            self.weight + other.weight,
        )


@jit
def _joint(
    x: Any,
    lo: int,
    m: int,
    const: Any,
    means: Any,
    factor: Any,
    diagonal: bool,
    xc: Any,
    t: Any,
    q: Any,
    lp: Any,
) -> None:
    """lp[c, :m] = log of weight times density of component c for rows lo..lo+m."""
    k, d = means.shape
    for c in range(k):
        for j in range(d):
            row, mean, out = x[j], means[c, j], xc[j]
            for r in range(m):
                out[r] = np.float64(row[lo + r]) - mean
        for r in range(m):
            q[r] = 0.0
        for i in range(d):
            f = factor[c, i, i]
            row = xc[i]
            for r in range(m):
                t[r] = f * row[r]
            if not diagonal:
                for j in range(i):
                    g, other = factor[c, i, j], xc[j]
                    for r in range(m):
                        t[r] = t[r] + g * other[r]
            for r in range(m):
                q[r] = q[r] + t[r] * t[r]
        a = const[c]
        line = lp[c]
        for r in range(m):
            line[r] = a - 0.5 * q[r]


@jit
def _normalise(lp: Any, m: int, top: Any, lse: Any) -> None:
    """lp[c, :m] becomes the posterior; top the largest joint, lse the log density."""
    k = lp.shape[0]
    for r in range(m):
        top[r] = lp[0, r]
    for c in range(1, k):
        for r in range(m):
            top[r] = max(top[r], lp[c, r])
    for r in range(m):
        lse[r] = 0.0
    for c in range(k):
        for r in range(m):
            lp[c, r] = math.exp(lp[c, r] - top[r])
            lse[r] = lse[r] + lp[c, r]
    for c in range(k):
        for r in range(m):
            lp[c, r] = lp[c, r] / lse[r]
    for r in range(m):
        lse[r] = top[r] + math.log(lse[r])


@jit
def _posterior(
    x: Any, const: Any, means: Any, factor: Any, diagonal: bool, label: Any, p: Any, density: Any
) -> None:
    k, d = means.shape
    n = x.shape[1]
    xc, lp = np.empty((d, BLOCK)), np.empty((k, BLOCK))
    t, q, top, lse = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for lo in range(0, n, BLOCK):
        m = min(BLOCK, n - lo)
        _joint(x, lo, m, const, means, factor, diagonal, xc, t, q, lp)
        _normalise(lp, m, top, lse)
        for r in range(m):
            at = 0
            for c in range(1, k):
                if lp[c, r] > lp[at, r]:
                    at = c
            label[lo + r] = at
            p[lo + r] = lp[at, r]
            density[lo + r] = lse[r]


@_jit_sum
def _total(t: Any, m: int) -> float:
    s = 0.0
    for r in range(m):
        s += t[r]
    return s


@jit
def _sums(
    x: Any,
    w: Any,
    const: Any,
    means: Any,
    factor: Any,
    diagonal: bool,
    grid: float,
    count: Any,
    linear: Any,
    quadratic: Any,
    scalars: Any,
) -> None:
    k, d = means.shape
    n = x.shape[1]
    xc, lp, rx = np.empty((d, BLOCK)), np.empty((k, BLOCK)), np.empty(BLOCK)
    t, q, top, lse = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    for lo in range(0, n, BLOCK):
        m = min(BLOCK, n - lo)
        _joint(x, lo, m, const, means, factor, diagonal, xc, t, q, lp)
        _normalise(lp, m, top, lse)
        for r in range(m):
            t[r] = (w[lo + r] * lse[r] + grid) - grid
            q[r] = (w[lo + r] + grid) - grid
        scalars[0] += _total(t, m)
        scalars[1] += _total(q, m)
        for c in range(k):
            p = lp[c]
            most = 0.0
            for r in range(m):
                p[r] = p[r] * w[lo + r]
                most = max(most, p[r])
            if most < 1e-12:  # every term would round to zero: |x - mean|^2 <= 400
                continue
            for r in range(m):
                t[r] = (p[r] + grid) - grid
            count[c] += _total(t, m)
            for j in range(d):
                row, mean, out = x[j], means[c, j], xc[j]
                for r in range(m):
                    out[r] = np.float64(row[lo + r]) - mean
            for i in range(d):
                a = xc[i]
                for r in range(m):
                    rx[r] = p[r] * a[r]
                    t[r] = (rx[r] + grid) - grid
                linear[c, i] += _total(t, m)
                for j in range(i if diagonal else 0, i + 1):
                    b = xc[j]
                    for r in range(m):
                        t[r] = (rx[r] * b[r] + grid) - grid
                    quadratic[c, i, j] += _total(t, m)


def posterior(
    x: Block, const: Floats, means: Floats, factor: Floats, diagonal: bool
) -> tuple[Ints, Floats, Floats]:
    """Likeliest component (n,), its posterior, and the log density of each row.

    ``const`` (k,) = log weight - log sqrt det(2 pi covariance); ``factor`` (k, d, d) = inverse of
    the lower Cholesky factors; ``diagonal`` says that only their diagonals count.
    """
    n = x.shape[1]
    label, p, density = np.empty(n, np.int32), np.empty(n), np.empty(n)
    _posterior(x, const, means, factor, diagonal, label, p, density)
    return label, p, density


def em_sums(
    x: Block, w: Floats, const: Floats, means: Floats, factor: Floats, diagonal: bool
) -> EMSums:
    """E-step and the sums of the M-step; with ``diagonal`` only squares are summed."""
    k, d = means.shape
    count, linear, quadratic = np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d))
    scalars = np.zeros(2)
    _sums(x, w, const, means, factor, diagonal, GRID, count, linear, quadratic, scalars)
    return EMSums(count, linear, quadratic, float(scalars[0]), float(scalars[1]))


def em_step(
    x: Block, w: Floats | None, const: Floats, means: Floats, factor: Floats, diagonal: bool
) -> tuple[EMSums, Ints]:
    """Sums of ``em_sums`` and labels of ``posterior``, both of one E-step; w None = 1 each."""
    weights = np.ones(x.shape[1]) if w is None else w
    sums = em_sums(x, weights, const, means, factor, diagonal)
    return sums, posterior(x, const, means, factor, diagonal)[0]
