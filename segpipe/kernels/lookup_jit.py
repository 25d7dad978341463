"""Compiled loop of ``kernels.lookup``: sixteen neighbouring rows at a time, no fastmath.

Rows are grouped by the cell whose middle is nearest, so that the sixteen open the same cells. In
an opened cell the cores are first sifted by a rough distance, |x|^2 - 2 x c + |c|^2 around the
cell's middle (one fused multiply-add per feature instead of three operations), with a bound for
its rounding; those that might be nearest are measured exactly. Which rows share a group thus
decides how long a row takes, never what is found.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.simd import (
    SINGLES,
    add,
    choose,
    fma,
    load,
    mul,
    some,
    splat,
    store,
    sub,
)

MANY = 8
"""Cores sifted together: one register of sums each."""
CHECK = 8
"""Features between looks at whether a box is already too far."""


@jit
def _prepare(cores: Any, start: Any, low: Any, high: Any) -> Any:
    """Cores row by row, cell by cell, each cell filled up to a multiple of MANY.

    First place of each cell (cells + 1,), core of each place (-1: none), middles (cells, d), cores
    less their middle (places, d), half their squares (places,), the largest square (cells,).
    """
    d, count = low.shape
    first = np.zeros(count + 1, np.int64)
    for g in range(count):
        first[g + 1] = first[g] + -(-(start[g + 1] - start[g]) // MANY) * MANY
    middle = np.empty((count, d), np.float32)
    which = np.full(first[count], -1, np.int64)
    local = np.zeros((first[count], d), np.float32)
    half = np.full(first[count], np.inf, np.float32)
    widest = np.zeros(count, np.float32)
    for g in range(count):
        for j in range(d):
            middle[g, j] = np.float32(0.5) * (low[j, g] + high[j, g])
        for i in range(start[g + 1] - start[g]):
            at, square = first[g] + i, 0.0
            which[at] = start[g] + i
            for j in range(d):
                local[at, j] = cores[j, start[g] + i] - middle[g, j]
                square += np.float64(local[at, j]) * local[at, j]
            half[at] = 0.5 * square
            widest[g] = max(widest[g], np.float32(square))
    return first, which, middle, local, half, widest


@jit
def _less(a: Any, b: Any) -> Any:
    return choose(a, b, a, b)


@jit
def _sums(tile: Any, local: Any, half: Any, at: int, sums: Any) -> Any:
    """Half the squares of MANY places plus their products with the tile's rows, and the least."""
    s0, s1, s2, s3 = splat(half[at]), splat(half[at + 1]), splat(half[at + 2]), splat(half[at + 3])
    s4, s5 = splat(half[at + 4]), splat(half[at + 5])
    s6, s7 = splat(half[at + 6]), splat(half[at + 7])
    for j in range(local.shape[1]):
        x = load(tile, j * SINGLES)
        s0, s1 = fma(x, splat(local[at, j]), s0), fma(x, splat(local[at + 1, j]), s1)
        s2, s3 = fma(x, splat(local[at + 2, j]), s2), fma(x, splat(local[at + 3, j]), s3)
        s4, s5 = fma(x, splat(local[at + 4, j]), s4), fma(x, splat(local[at + 5, j]), s5)
        s6, s7 = fma(x, splat(local[at + 6, j]), s6), fma(x, splat(local[at + 7, j]), s7)
    store(sums, 0, s0)
    store(sums, SINGLES, s1)
    store(sums, 2 * SINGLES, s2)
    store(sums, 3 * SINGLES, s3)
    store(sums, 4 * SINGLES, s4)
    store(sums, 5 * SINGLES, s5)
    store(sums, 6 * SINGLES, s6)
    store(sums, 7 * SINGLES, s7)
    s0, s1, s2, s3 = _less(s0, s1), _less(s2, s3), _less(s4, s5), _less(s6, s7)
    return _less(_less(s0, s1), _less(s2, s3))


@jit
def _homes(x: Any, middle: Any, home: Any) -> None:
    """Cell with the nearest middle for each row: roughly, it only puts neighbours together."""
    count, d = middle.shape
    n = x.shape[1]
    padded = -(-count // MANY) * MANY
    points, half = np.zeros((padded, d), np.float32), np.full(padded, np.inf, np.float32)
    for g in range(count):
        square = np.float32(0.0)
        for j in range(d):
            points[g, j] = middle[g, j]
            square += middle[g, j] * middle[g, j]
        half[g] = np.float32(0.5) * square
    tile, sums = np.zeros((d, SINGLES), np.float32), np.empty((MANY, SINGLES), np.float32)
    best = np.empty(SINGLES, np.float32)
    name = np.zeros(SINGLES, np.int64)
    for lo in range(0, n, SINGLES):
        m = min(SINGLES, n - lo)
        for j in range(d):
            for r in range(m):
                tile[j, r] = -x[j, lo + r]
        for r in range(SINGLES):
            best[r] = np.inf
        for at in range(0, padded, MANY):
            if some(_sums(tile, points, half, at, sums), load(best, 0)):
                for i in range(MANY):
                    for r in range(SINGLES):
                        if sums[i, r] < best[r]:
                            best[r] = sums[i, r]
                            name[r] = at + i
        for r in range(m):
            home[lo + r] = name[r]


@jit
def _in_order(home: Any, count: int, rows: Any) -> None:
    """Rows in order of their cells, then of their numbers."""
    n = len(home)
    place = np.zeros(count + 1, np.int64)
    for r in range(n):
        place[home[r] + 1] += 1
    for g in range(count):
        place[g + 1] += place[g]
    for r in range(n):
        rows[place[home[r]]] = r
        place[home[r]] += 1


@jit
def _near(tile: Any, low: Any, high: Any, g: int, floor: Any, best: Any) -> bool:
    """Whether any row's mutual reachability in cell g could be as small as its best so far."""
    d = tile.shape[0]
    most, zero = load(best, 0), splat(np.float32(0.0))
    box = zero
    for lo in range(0, d, CHECK):
        for j in range(lo, min(lo + CHECK, d)):
            u = load(tile, j * SINGLES)
            a, b = sub(splat(low[g, j]), u), sub(u, splat(high[g, j]))
            s = choose(a, b, b, a)
            s = choose(s, zero, zero, s)
            box = add(box, mul(s, s))
        if not some(box, most):
            return False
    least = splat(floor[g])
    return bool(some(choose(box, least, least, box), most))


@jit
def _open(
    tile: Any,
    cores: Any,
    own: Any,
    order: Any,
    which: Any,
    local: Any,
    half: Any,
    lo: int,
    hi: int,
    middle: Any,
    widest: Any,
    room: Any,
    best: Any,
    near: Any,
    number: Any,
) -> None:
    """Compare the tile's rows with the cores at places lo..hi of one cell."""
    d = tile.shape[0]
    turned, sums, square, limit = room
    q = splat(np.float32(0.0))
    for j in range(d):
        x = sub(splat(middle[j]), load(tile, j * SINGLES))
        store(turned, j * SINGLES, x)
        q = fma(x, x, q)
    # Rounding of the rough and of the exact distance together stays below (5 d + 16) 2^-24 times
    # |x|^2 + |c|^2; a sum is half a distance.
    slack = np.float32(4 * (d + 4) * 2.0**-24)
    store(square, 0, q)
    for r in range(SINGLES):
        limit[r] = (best[r] - square[r]) * np.float32(0.5) + slack * (square[r] + widest)
    for at in range(lo, hi, MANY):
        if not some(_sums(turned, local, half, at, sums), load(limit, 0)):
            continue
        for i in range(MANY):
            if which[at + i] < 0 or not some(load(sums, i * SINGLES), load(limit, 0)):
                continue
            place = which[at + i]
            reach, name = own[place], order[place]
            for r in range(SINGLES):
                if sums[i, r] > limit[r] or reach > best[r]:
                    continue
                # At the same place as the best so far: piles of equal cores are not measured.
                if near[r] == 0.0 and reach == best[r] and name > number[r]:
                    continue
                plain = np.float32(0.0)
                for j in range(d):
                    s = tile[j, r] - cores[j, place]
                    plain = plain + s * s
                mutual = max(plain, reach)
                if mutual < best[r] or (
                    mutual == best[r]
                    and (plain < near[r] or (plain == near[r] and name < number[r]))
                ):
                    best[r], near[r], number[r] = mutual, plain, name
                    limit[r] = (mutual - square[r]) * np.float32(0.5) + slack * (square[r] + widest)


@jit
def nearest_core(
    x: Any,
    cores: Any,
    own: Any,
    order: Any,
    start: Any,
    low: Any,
    high: Any,
    at: Any,
    reach: Any,
    plain: Any,
) -> None:
    """Fill ``at``, ``reach`` and ``plain``: see ``kernels.lookup``."""
    d, n = x.shape
    count = low.shape[1]
    first, which, middle, local, half, widest = _prepare(cores, start, low, high)
    lower, upper = np.empty((count, d), np.float32), np.empty((count, d), np.float32)
    for g in range(count):
        for j in range(d):
            lower[g, j], upper[g, j] = low[j, g], high[j, g]
    floor = np.full(count, np.inf, np.float32)
    for g in range(count):
        for i in range(start[g], start[g + 1]):
            floor[g] = min(floor[g], own[i])
    home, rows = np.empty(n, np.int64), np.empty(n, np.int64)
    _homes(x, middle, home)
    _in_order(home, count, rows)
    tile, turned = np.empty((d, SINGLES), np.float32), np.empty((d, SINGLES), np.float32)
    sums = np.empty((MANY, SINGLES), np.float32)
    square, limit = np.empty(SINGLES, np.float32), np.empty(SINGLES, np.float32)
    room = (turned, sums, square, limit)
    best, near = np.empty(SINGLES, np.float32), np.empty(SINGLES, np.float32)
    number = np.empty(SINGLES, np.int32)
    seen = np.full(count, -1, np.int64)
    for lo in range(0, n, SINGLES):
        m = min(SINGLES, n - lo)
        for r in range(SINGLES):
            row = rows[lo + min(r, m - 1)]  # the last row also fills the lanes left over
            for j in range(d):
                tile[j, r] = x[j, row]
            best[r], near[r], number[r] = np.inf, np.inf, 0
        for turn in range(m + count):
            g = home[rows[lo + turn]] if turn < m else turn - m
            if seen[g] == lo or (turn >= m and not _near(tile, lower, upper, g, floor, best)):
                continue
            seen[g] = lo
            _open(
                tile, cores, own, order, which, local, half, first[g], first[g + 1], middle[g],
                widest[g], room, best, near, number,
            )  # fmt: skip
        for r in range(m):
            row = rows[lo + r]
            at[row], reach[row], plain[row] = number[r], best[r], near[r]
