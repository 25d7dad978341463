"""Compiled E-step of ``kernels.mixture``, in registers of eight rows; no fastmath.

Blocks are filled up to whole registers, so that every row goes through the same instructions.
Matrices are padded to multiples of four features with zeros.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.simd import add, choose, fma, load, splat, store, sub
from segpipe.kernels.simd_math import exponential

BLOCK = 64
"""Rows worked on at a time: at d = 16 the deviations and their shares stay in 48 KiB."""
STRIDE = BLOCK + 8
"""From feature to feature of a block: a power of two would put all of them in two cache sets."""
TILE = 32
"""Rows whose factors are in registers at a time: four vectors."""
TAME = 16.0
"""Features up to here are tame: see ``mixture_jit``."""


@jit
def take(x: Any, lo: int, m: int, xd: Any) -> bool:
    """Fill xd (d, STRIDE): rows lo..lo+m in float64, then zeros; whether they are tame."""
    least = most = splat(0.0)
    for j in range(x.shape[0]):
        row, out = x[j], xd[j]
        for r in range(m):
            out[r] = np.float64(row[lo + r])
        for r in range(m, STRIDE):
            out[r] = 0.0
        for r in range(0, m, 8):
            v = load(out, r)
            least, most = choose(v, least, v, least), choose(most, v, v, most)
    ends = np.empty(16)
    store(ends, 0, least)
    store(ends, 8, most)
    return bool(ends.max() <= TAME and ends.min() >= -TAME)


@jit
def joint_full(xd: Any, m: int, const: Any, factor: Any, shift: Any, lp: Any) -> None:
    """Fill lp[c, :m]: log of weight times density of component c."""
    k, d = shift.shape
    for c in range(k):
        half, top = splat(-0.5), splat(const[c])
        for r in range(0, m, TILE):
            qa = qb = qc = qd = splat(0.0)
            for i in range(0, d, 4):
                a0 = b0 = c0 = d0 = splat(shift[c, i])
                a1 = b1 = c1 = d1 = splat(shift[c, i + 1])
                a2 = b2 = c2 = d2 = splat(shift[c, i + 2])
                a3 = b3 = c3 = d3 = splat(shift[c, i + 3])
                for j in range(i + 4):
                    at = j * STRIDE + r
                    xa, xb = load(xd, at), load(xd, at + 8)
                    xc, xe = load(xd, at + 16), load(xd, at + 24)
                    f = splat(factor[c, i, j])
                    a0, b0, c0, d0 = fma(f, xa, a0), fma(f, xb, b0), fma(f, xc, c0), fma(f, xe, d0)
                    f = splat(factor[c, i + 1, j])
                    a1, b1, c1, d1 = fma(f, xa, a1), fma(f, xb, b1), fma(f, xc, c1), fma(f, xe, d1)
                    f = splat(factor[c, i + 2, j])
                    a2, b2, c2, d2 = fma(f, xa, a2), fma(f, xb, b2), fma(f, xc, c2), fma(f, xe, d2)
                    f = splat(factor[c, i + 3, j])
                    a3, b3, c3, d3 = fma(f, xa, a3), fma(f, xb, b3), fma(f, xc, c3), fma(f, xe, d3)
                qa = fma(a3, a3, fma(a2, a2, fma(a1, a1, fma(a0, a0, qa))))
                qb = fma(b3, b3, fma(b2, b2, fma(b1, b1, fma(b0, b0, qb))))
                qc = fma(c3, c3, fma(c2, c2, fma(c1, c1, fma(c0, c0, qc))))
                qd = fma(d3, d3, fma(d2, d2, fma(d1, d1, fma(d0, d0, qd))))
            at = c * STRIDE + r
            store(lp, at, fma(half, qa, top))
            store(lp, at + 8, fma(half, qb, top))
            store(lp, at + 16, fma(half, qc, top))
            store(lp, at + 24, fma(half, qd, top))


@jit
def joint_diagonal(xd: Any, m: int, const: Any, factor: Any, shift: Any, lp: Any) -> None:
    """``joint_full`` with the diagonals (k, 1, d) of the factors alone."""
    k, d = shift.shape
    for c in range(k):
        half, top = splat(-0.5), splat(const[c])
        for r in range(0, m, TILE):
            qa = qb = qc = qd = splat(0.0)
            for i in range(d):
                f, s, at = splat(factor[c, 0, i]), splat(shift[c, i]), i * STRIDE + r
                a, b = fma(f, load(xd, at), s), fma(f, load(xd, at + 8), s)
                e, g = fma(f, load(xd, at + 16), s), fma(f, load(xd, at + 24), s)
                qa, qb, qc, qd = fma(a, a, qa), fma(b, b, qb), fma(e, e, qc), fma(g, g, qd)
            at = c * STRIDE + r
            store(lp, at, fma(half, qa, top))
            store(lp, at + 8, fma(half, qb, top))
            store(lp, at + 16, fma(half, qc, top))
            store(lp, at + 24, fma(half, qd, top))


@jit
def normalise(lp: Any, m: int, top: Any, total: Any, label: Any) -> None:
    """Turn lp into e^(lp - top); top: the largest joint, label: whose; total: their sum."""
    k = lp.shape[0]
    for r in range(m):
        top[r] = lp[0, r]
        label[r] = 0
    for c in range(1, k):
        line = lp[c]
        for r in range(m):
            label[r] = c if line[r] > top[r] else label[r]
            top[r] = line[r] if line[r] > top[r] else top[r]
    for r in range(0, m, 8):
        most, s = load(top, r), splat(0.0)
        for c in range(k):
            e = exponential(sub(load(lp, c * STRIDE + r), most))
            store(lp, c * STRIDE + r, e)
            s = add(s, e)
        store(total, r, s)


@jit
def shifts(factor: Any, means: Any, shift: Any) -> None:
    """Fill shift: - factor mean; the factor is then applied to rows, not deviations."""
    k, d = shift.shape
    for c in range(k):
        for i in range(d):
            s = 0.0
            if factor.shape[1] == 1:
                s = factor[c, 0, i] * means[c, i]
            else:
                for j in range(i + 1):
                    s += factor[c, i, j] * means[c, j]
            shift[c, i] = -s
