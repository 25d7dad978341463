"""Compiled scan of ``nearest_tile_jit``: distances of a tile's rows, the least and the next.

Sixty-four rows and four centres at a time: sixteen sums in registers, each of its own rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.nearest_lanes import fetch, least, less, most, one_of, pick, reaches
from segpipe.kernels.simd import add, fma, load, splat, store

STEP = 64
"""Rows worked on at a time, in four vectors; tiles are multiples of it."""
INF = np.float32(np.inf)
ZERO = np.float32(0.0)


@jit
def shared(centres: Any) -> Any:
    """Centres times -2 by four, and the last by two, feature by feature; their squared norms.

    Those that fill up the last lot are infinitely far.
    """
    k, d = centres.shape
    fours = (k + 1) // 4 * 4
    lots = fours + (2 if k > fours else 0)
    out, square = np.zeros(lots * d, np.float32), np.full(lots, INF)
    for c in range(k):
        lot, by = (c // 4 * 4, 4) if c < fours else (fours, 2)
        total = 0.0
        for j in range(d):
            value = np.float32(centres[c, j])
            total += np.float64(value) * np.float64(value)
            out[lot * d + j * by + c - lot] = np.float32(-2.0) * value
        square[c] = np.float32(total)
    return out, square


@jit
def four(v: Any) -> Any:
    """The vector for each of four."""
    return v, v, v, v


@jit
def take(x: Any, at: int) -> Any:
    """Four vectors from ``x[at]`` on."""
    return load(x, at), load(x, at + 16), load(x, at + 32), load(x, at + 48)


@jit
def put(x: Any, at: int, v: Any) -> None:
    """Four vectors to ``x[at]`` and on."""
    store(x, at, v[0])
    store(x, at + 16, v[1])
    store(x, at + 32, v[2])
    store(x, at + 48, v[3])


@jit
def ask(x: Any, at: int) -> None:
    """Ask for the lines of STEP values from ``x[at]`` on."""
    fetch(x, at)
    fetch(x, at + 16)
    fetch(x, at + 32)
    fetch(x, at + 48)


@jit
def fused(a: Any, b: Any, c: Any) -> Any:
    """Four times a b + c."""
    return (
        fma(a[0], b[0], c[0]),
        fma(a[1], b[1], c[1]),
        fma(a[2], b[2], c[2]),
        fma(a[3], b[3], c[3]),
    )


@jit
def nearer(v: Any, name: Any, label: Any, best: Any, second: Any) -> Any:
    """Nearest and second so far, after one more centre."""
    return pick(less(v, best), name, label), least(v, best), least(second, most(best, v))


@jit
def nearer_group(v: Any, name: Any, start: Any, label: Any, best: Any, second: Any) -> Any:
    """``nearer`` where the second is of another group; ``start``: the first of the centre's own.

    Groups follow one another, so that a label of this centre's group is one from ``start`` on.
    """
    other = pick(reaches(label, start), second, least(second, most(best, v)))
    return pick(less(v, best), name, label), least(v, best), other


@jit
def keep(v: Any, c: int, starts: Any, label: Any, best: Any, second: Any) -> Any:
    """One or the other of centre c, four times."""
    name = splat(np.int32(c))
    if starts is None:
        l0, b0, s0 = nearer(v[0], name, label[0], best[0], second[0])
        l1, b1, s1 = nearer(v[1], name, label[1], best[1], second[1])
        l2, b2, s2 = nearer(v[2], name, label[2], best[2], second[2])
        l3, b3, s3 = nearer(v[3], name, label[3], best[3], second[3])
    else:
        start = splat(one_of(starts, c))
        l0, b0, s0 = nearer_group(v[0], name, start, label[0], best[0], second[0])
        l1, b1, s1 = nearer_group(v[1], name, start, label[1], best[1], second[1])
        l2, b2, s2 = nearer_group(v[2], name, start, label[2], best[2], second[2])
        l3, b3, s3 = nearer_group(v[3], name, start, label[3], best[3], second[3])
    return (l0, l1, l2, l3), (b0, b1, b2, b3), (s0, s1, s2, s3)


@jit
def distance(v: Any, n: Any) -> Any:
    """Squared distances: what the expansion lacks, and nothing below zero; four times."""
    zero = splat(ZERO)
    return (
        most(add(v[0], n[0]), zero),
        most(add(v[1], n[1]), zero),
        most(add(v[2], n[2]), zero),
        most(add(v[3], n[3]), zero),
    )


@jit
def scan(
    x: Any,
    norm: Any,
    rows: int,
    d: int,
    centres: Any,
    square: Any,
    out: Any,
    lo: int,
    flat: Any,
    stride: int,
    soon: int,
    starts: Any,
) -> None:
    """Label, best and second (``out``, from lo on) of a tile; asks for the rows at ``soon``.

    ``starts``: of each centre the first of its group; None where each is its own.
    """
    lots = len(square)
    for r in range(0, rows, STEP):
        best = four(splat(INF))
        label, second = four(splat(np.int32(0))), best
        p = 0
        for c in range(0, lots - 3, 4):
            t, u = four(splat(square[c])), four(splat(square[c + 1]))
            v, w = four(splat(square[c + 2])), four(splat(square[c + 3]))
            at, later = r, soon + r
            for _ in range(d):
                ask(flat, later)
                lines = take(x, at)
                t = fused(lines, four(splat(one_of(centres, p))), t)
                u = fused(lines, four(splat(one_of(centres, p + 1))), u)
                v = fused(lines, four(splat(one_of(centres, p + 2))), v)
                w = fused(lines, four(splat(one_of(centres, p + 3))), w)
                later += stride
                at += rows
                p += 4
            label, best, second = keep(t, c, starts, label, best, second)
            label, best, second = keep(u, c + 1, starts, label, best, second)
            label, best, second = keep(v, c + 2, starts, label, best, second)
            label, best, second = keep(w, c + 3, starts, label, best, second)
        if lots % 4:
            t, u = four(splat(square[lots - 2])), four(splat(square[lots - 1]))
            at, later = r, soon + r
            for _ in range(d):
                ask(flat, later)
                lines = take(x, at)
                t = fused(lines, four(splat(one_of(centres, p))), t)
                u = fused(lines, four(splat(one_of(centres, p + 1))), u)
                later += stride
                at += rows
                p += 2
            label, best, second = keep(t, lots - 2, starts, label, best, second)
            label, best, second = keep(u, lots - 1, starts, label, best, second)
        n = take(norm, r)
        put(out[0], lo + r, label)
        put(out[1], lo + r, distance(best, n))
        put(out[2], lo + r, distance(second, n))
