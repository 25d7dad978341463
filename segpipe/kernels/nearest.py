"""Nearest centres and the sums of a Lloyd step over feature-major float32 blocks.

Everything here is single-threaded and releases the GIL: callers thread over parts. Small calls
take a NumPy path and large ones compiled loops (``nearest_jit``), with the same bits.

**Sums are exact in any order.** Each term is first rounded to a fixed binary grid (2^-24 for
weights and weighted features, 2^-16 plus 2^-40 for squared errors) by adding and subtracting a
constant; sums of such terms are exact float64 integers in units of the grid, below 5e8 (weights,
features) and 1.3e11 (squared errors), so parts may be merged in any order. Features on their
2^-20 grid with integer weights are not changed at all.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.values import Block, Floats, Ints

Singles = npt.NDArray[np.float32]
SMALL = 1 << 18
"""Multiply-adds below which NumPy beats the import of numba (a third of a second, once)."""


def _magic(bits: int) -> float:
    """The constant c for which (t + c) - c rounds t to a multiple of 2^-bits."""
    return 1.5 * 2.0 ** (52 - bits)


GRID, COARSE, FINE = _magic(24), _magic(16), _magic(40)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a Lloyd step needs of its rows; a commutative, exactly associative merge."""

    count: Floats
    """(k,) weight per centre."""
    linear: Floats
    """(k, d) weighted feature sums."""
    squared: Floats
    """(2, k) weighted squared errors, coarse and fine part."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count, self.linear + other.linear, self.squared + other.squared
        )

    @property
    def errors(self) -> Floats:
        """(k,) weighted squared distances to each centre."""
        return np.asarray(self.squared[0] + self.squared[1])

    @property
    def inertia(self) -> float:
        """Weighted squared distances of all rows to their centres."""
        return float(self.squared[0].sum() + self.squared[1].sum())


@dataclass(frozen=True, slots=True, eq=False)
class Assigned:
    """One Lloyd step over a block: what ``nearest`` says of its rows, and their sums."""

    label: Ints
    """(n,) nearest centre, the lowest of equally near ones."""
    best: Singles
    """(n,) squared distance to it."""
    second: Singles
    """(n,) squared distance to the nearest other centre; inf if there is none."""
    sums: Sums


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import nearest_jit

    return nearest_jit


def distances(x: Block, points: npt.NDArray[np.floating[Any]]) -> Singles:
    """Squared float32 distances (m, n) of every row to each of m points, features in order."""
    p = np.ascontiguousarray(points, np.float32)
    if p.shape[0] * x.size > SMALL:
        out = np.empty((p.shape[0], x.shape[1]), np.float32)
        for i in range(p.shape[0]):
            _compiled().squared_distances(x, 0, x.shape[1], p[i], out[i])
        return out
    total = np.zeros((p.shape[0], x.shape[1]), np.float32)
    for j in range(x.shape[0]):
        step = x[j][None, :] - p[:, j][:, None]
        total += step * step
    return total


def nearest(x: Block, centres: Floats, group: Ints | None = None) -> tuple[Ints, Singles, Singles]:
    """Label, squared distance to the nearest centre, and to the nearest centre of another label.

    Parameters
    ----------
    x : (d, n) float32
    centres : (m, d), compared as float32
    group : (m,) label of each centre, ascending; None = the centre's number.

    Returns
    -------
    label (n,) int32 (the lowest of equally near ones), best (n,), second (n,) float32; second is
    inf where there is one label only.
    """
    c = np.ascontiguousarray(centres, np.float32)
    m, n = c.shape[0], x.shape[1]
    groups = np.arange(m, dtype=np.int32) if group is None else np.asarray(group, np.int32)
    if m * x.size > SMALL:
        label = np.empty(n, np.int32)
        best, second = np.empty(n, np.float32), np.empty(n, np.float32)
        _compiled().nearest(x, c, groups, label, best, second)
        return label, best, second
    d2 = distances(x, c)
    names = groups
    if group is not None:
        starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]])
        d2 = np.minimum.reduceat(d2, starts, axis=0)
        names = groups[starts]
    at = np.argmin(d2, axis=0)
    rows = np.arange(n)
    best = d2[at, rows]
    d2[at, rows] = np.inf
    return names[at].astype(np.int32), best, d2.min(axis=0)


def squared_error(x: Block, label: Ints, centres: Floats) -> Floats:
    """Float64 squared distance (n,) of each row to its own label's centre; 0 for noise (-1)."""
    c = np.ascontiguousarray(centres, np.float64)
    out = np.zeros(x.shape[1])
    if x.size > SMALL:
        _compiled().squared_error(x, np.ascontiguousarray(label, np.int32), c, out)
        return out
    member = label >= 0
    for j in range(x.shape[0]):
        step = np.where(member, x[j].astype(np.float64) - c[label, j], 0.0)
        out += step * step
    return out


def moments(x: Block, w: Floats | None, label: Ints, k: int) -> tuple[Floats, Floats]:
    """Exact weights (k,) and weighted feature sums (k, d) per label; noise (-1) is left out.

    ``w`` None = every row weighs 1.
    """
    d = x.shape[0]
    w = np.ones(x.shape[1]) if w is None else w
    count, linear = np.zeros(k), np.zeros((k, d))
    if x.size > SMALL:
        _compiled().moments(x, w, np.ascontiguousarray(label, np.int32), GRID, count, linear)
        return count, linear
    at = label + 1
    count += np.bincount(at, (w + GRID) - GRID, k + 1)[1:]
    for j in range(d):
        linear[:, j] = np.bincount(at, (w * x[j] + GRID) - GRID, k + 1)[1:]
    return count, linear


def add_up(x: Block, w: Floats | None, label: Ints, centres: Floats) -> Sums:
    """Exact sums of rows already labelled; noise (-1) is left out. ``w`` None = 1 each."""
    k = centres.shape[0]
    w = np.ones(x.shape[1]) if w is None else w
    count, linear = moments(x, w, label, k)
    error = squared_error(x, label, centres)
    squared = np.zeros((2, k))
    if x.size > SMALL:
        label = np.ascontiguousarray(label, np.int32)
        _compiled().errors(w, label, error, COARSE, FINE, squared)
        return Sums(count, linear, squared)
    e = w * error
    big = (e + COARSE) - COARSE
    squared[0] = np.bincount(label + 1, big, k + 1)[1:]
    squared[1] = np.bincount(label + 1, ((e - big) + FINE) - FINE, k + 1)[1:]
    return Sums(count, linear, squared)


def assign(x: Block, centres: Floats, w: Floats | None = None) -> Assigned:
    """One Lloyd step of a block: labels, both distances, and the exact sums of ``add_up``.

    Parameters
    ----------
    x : (d, n) float32
    centres : (k, d), compared as float32
    w : (n,) weights; None = 1 each, which is faster.
    """
    label, best, second = nearest(x, centres)
    return Assigned(label, best, second, add_up(x, w, label, centres))


def described(x: Block, centres: Floats) -> tuple[Ints, Floats, Floats]:
    """What the label table says of each row: the label, how clear it is, and how far it lies.

    Returns
    -------
    label (n,) int32, clearness (n,) 1 - d1/d2 in 0..1, and the Euclidean distance (n,) to the
    label's centre from the float64 squared error.
    """
    label, best, second = nearest(x, centres)
    return label, clearness(best, second), np.sqrt(squared_error(x, label, centres))


def clearness(best: Singles, second: Singles) -> Floats:
    """1 - d1/d2 in 0..1 from squared distances; 1 where there is no other segment."""
    b, s = best.astype(np.float64), second.astype(np.float64)
    ratio = np.divide(b, s, out=np.ones_like(b), where=s > 0)
    return np.clip(1.0 - np.sqrt(ratio), 0.0, 1.0)


def lloyd_sums(x: Block, w: Floats | None, centres: Floats) -> Sums:
    """Assign each row to its nearest centre and add up: one exact Lloyd step's statistics."""
    return assign(x, centres, w).sums
