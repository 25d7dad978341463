"""Compiled float64 squared errors of ``kernels.nearest``, and what is said of a row by them.

Thirty-two rows at a time, eight to a vector; the loop for the rest does what a lane does, so that
a row's bits do not depend on its place. No fused multiply-adds: NumPy has none in float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.nearest_lanes import looked_up, root, widened
from segpipe.kernels.simd import DOUBLES as LANES
from segpipe.kernels.simd import add, choose, div, mul, splat, store, sub

STEP = 4 * LANES
"""Rows whose errors are held in registers, enough to keep chains of additions busy."""


@jit
def by_feature(centres: Any) -> Any:
    """Centres feature by feature, each after a zero for noise: label g is at g + 1."""
    k, d = centres.shape
    table = np.zeros(d * (k + 1))
    for j in range(d):
        table[j * (k + 1) + 1 : (j + 1) * (k + 1)] = centres[:, j]
    return table


@jit
def square(flat: Any, at: int, table: Any, base: int, label: Any, r: int, total: Any) -> Any:
    """Total plus the squared step of eight rows from their centres in one feature."""
    step = sub(widened(flat, at), looked_up(table, base, label, r))
    return add(total, mul(step, step))


@jit
def errors(flat: Any, n: int, d: int, table: Any, label: Any, r: int) -> Any:
    """Squared errors of STEP rows from r on; 0 for noise."""
    none = splat(0.0)
    a, b, c, e = none, none, none, none
    at, base = r, 1
    for _ in range(d):
        a = square(flat, at, table, base, label, r, a)
        b = square(flat, at + 8, table, base, label, r + 8, b)
        c = square(flat, at + 16, table, base, label, r + 16, c)
        e = square(flat, at + 24, table, base, label, r + 24, e)
        at += n
        base += len(table) // d
    return (
        choose(widened(label, r), none, none, a),
        choose(widened(label, r + 8), none, none, b),
        choose(widened(label, r + 16), none, none, c),
        choose(widened(label, r + 24), none, none, e),
    )


@jit
def error(x: Any, r: int, label: Any, centres: Any) -> float:
    """Squared error of row r; 0 for noise."""
    total = 0.0
    if label[r] >= 0:
        for j in range(len(x)):
            step = np.float64(x[j, r]) - centres[label[r], j]
            total += step * step
    return total


@jit
def squared_error(x: Any, label: Any, centres: Any, out: Any) -> None:
    """Float64 squared distance of each row to its own centre; 0 for noise."""
    d, n = x.shape
    flat, table = x.reshape(d * n), by_feature(centres)
    for r in range(0, n - STEP + 1, STEP):
        a, b, c, e = errors(flat, n, d, table, label, r)
        store(out, r, a)
        store(out, r + 8, b)
        store(out, r + 16, c)
        store(out, r + 24, e)
    for r in range(n // STEP * STEP, n):
        out[r] = error(x, r, label, centres)


@jit
def tell(best: Any, second: Any, r: int, clear: Any, distance: Any) -> None:
    """1 - d1/d2 and d1 of eight rows."""
    none, one = splat(0.0), splat(1.0)
    other = widened(second, r)
    ratio = choose(none, other, div(best, other), one)
    value = sub(one, root(ratio))
    store(clear, r, choose(value, none, none, value))
    store(distance, r, root(best))


@jit
def described(x: Any, label: Any, centres: Any, second: Any, clear: Any, distance: Any) -> None:
    """1 - d1/d2 (0 / 0 and more than 1 count as 1) and d1 of each row."""
    d, n = x.shape
    flat, table = x.reshape(d * n), by_feature(centres)
    for r in range(0, n - STEP + 1, STEP):
        a, b, c, e = errors(flat, n, d, table, label, r)
        tell(a, second, r, clear, distance)
        tell(b, second, r + 8, clear, distance)
        tell(c, second, r + 16, clear, distance)
        tell(e, second, r + 24, clear, distance)
    for r in range(n // STEP * STEP, n):
        best, other = error(x, r, label, centres), np.float64(second[r])
        ratio = best / other if other > 0 else 1.0
        clear[r] = max(1.0 - np.sqrt(ratio), 0.0)
        distance[r] = np.sqrt(best)
