"""Nearest centres and the sums of a Lloyd step over feature-major float32 blocks.

Everything here is single-threaded and releases the GIL: callers thread over parts. Small calls
take a NumPy path and large ones compiled loops (``nearest_jit``), with the same bits.

**Distances** to decide by are |x|^2 + (|c|^2 - 2 c x) in float32, each step a fused multiply-add,
features in order: one rounding wherever it is compiled, and NumPy does the same in float64.
Squared errors are taken from float64 or integers, never from these.

**Sums are exact in any order.** Without weights, features count in units of 2^-20 (what they are
multiples of) and squared norms in units of 2^-40, as integers. With weights each term is first
rounded to a fixed binary grid (2^-24 for weights and weighted features, 2^-16 plus 2^-40 for
squared errors) by adding and subtracting a constant; sums of such terms are exact float64 integers
in units of the grid, below 5e8 (weights, features) and 1.3e11 (squared errors). So parts may be
merged in any order. Squared errors are added up about the centres' nearest multiples of 2^-20;
``Sums.errors`` moves them to the centres themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest_loops as loops
from segpipe.kernels import nearest_small
from segpipe.kernels.nearest_small import Longs
from segpipe.values import Block, Floats, Ints

Singles = npt.NDArray[np.float32]


def _magic(bits: int) -> float:
    """The constant c for which (t + c) - c rounds t to a multiple of 2^-bits."""
    return 1.5 * 2.0 ** (52 - bits)


UNIT = 2.0**20
GRID, COARSE, FINE = _magic(24), _magic(16), _magic(40)


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """What a Lloyd step needs of its rows; a commutative, exactly associative merge."""

    count: Floats
    """(k,) weight per centre."""
    linear: Floats
    """(k, d) weighted feature sums."""
    squared: Floats
    """(2, k) weighted squared errors about ``on_grid(centres)``, coarse and fine part."""
    centres: Floats | None = None
    """(k, d) what the rows were assigned to; None = on the grid already, or a sum of nothing."""

    def __add__(self, other: Sums) -> Sums:
        return Sums(
            self.count + other.count,
            self.linear + other.linear,
            carried(self.squared + other.squared),
            other.centres if self.centres is None else self.centres,
        )

    @property
    def errors(self) -> Floats:
        """(k,) weighted squared distances to each centre."""
        about = self.squared[0] + self.squared[1]
        if self.centres is None:
            return np.asarray(about)
        point = on_grid(self.centres)
        shift = point - self.centres  # |x - c|^2 = |x - p|^2 + 2 (x - p)(p - c) + |p - c|^2
        cross = (shift * (self.linear - self.count[:, None] * point)).sum(axis=1)
        moved = about + 2.0 * cross + self.count * np.square(shift).sum(axis=1)
        return np.asarray(np.maximum(moved, 0.0))

    @property
    def inertia(self) -> float:
        """Weighted squared distances of all rows to their centres."""
        return float(self.errors.sum())


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


def carried(squared: Floats) -> Floats:
    """The same sums with the fine part in 0..2^-16, so that equal sums have equal bits."""
    whole = np.floor(squared[1] * 2.0**16) * 2.0**-16
    return np.array([squared[0] + whole, squared[1] - whole])


def on_grid(centres: Floats) -> Floats:
    """The nearest multiples of 2^-20."""
    points: Floats = np.rint(np.asarray(centres, np.float64) * UNIT) / UNIT
    return points


def distances(x: Block, points: npt.NDArray[np.floating[Any]]) -> Singles:
    """Squared float32 distances (m, n) of every row to each of m points, features in order."""
    p = np.ascontiguousarray(points, np.float32)
    if p.shape[0] * x.size > loops.SMALL:
        out = np.empty((p.shape[0], x.shape[1]), np.float32)
        for i in range(p.shape[0]):
            loops.plain().squared_distances(x, 0, x.shape[1], p[i], out[i])
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
    group : (m,) int32 label of each centre, ascending; None = the centre's number.

    Returns
    -------
    label (n,) int32 (the lowest of equally near ones), best (n,), second (n,) float32; second is
    inf where there is one label only.
    """
    found = _scan(x, np.ascontiguousarray(centres, np.float64), None, starts=_starts(group))
    return (found[0] if group is None else group[found[0]]), found[1], found[2]


def _starts(group: Ints | None) -> Ints | None:
    """(m,) the first centre of each centre's group."""
    if group is None:
        return None
    new = np.flatnonzero(np.r_[True, group[1:] != group[:-1]])
    return np.repeat(new, np.diff(new, append=len(group))).astype(np.int32)


def _empty(n: int) -> tuple[Ints, Singles, Singles]:
    return np.empty(n, np.int32), np.empty(n, np.float32), np.empty(n, np.float32)


def _scan(
    x: Block,
    centres: Floats,
    sums: Longs | None,
    far: bool = True,
    starts: Ints | None = None,
) -> tuple[Ints, Singles, Singles, bool]:
    """Label, best and second (which may be empty unless ``far``); adds to the integer sums.

    True unless a feature does not fit.
    """
    if loops.pays(len(centres) * x.size):
        label, (_, best, second) = np.empty(x.shape[1], np.int32), _empty(x.shape[1] if far else 0)
        into = np.empty((0, 0), np.int64) if sums is None else sums
        x = np.ascontiguousarray(x)
        # Lots of centres are filled up with some that are infinitely far.
        padded = None if starts is None else np.append(starts, np.zeros(4, np.int32))
        lloyd = loops.step().lloyd
        if lloyd(x, centres, False, label, best, second, into, padded):
            return label, best, second, True
        lloyd(x, centres, False, label, best, second, np.empty((0, 0), np.int64), padded)
        return label, best, second, False
    label, best, second = nearest_small.least(x, centres, starts)
    return label, best, second, sums is None or nearest_small.add_rows(x, label, sums)


def _total(x: Block, label: Ints, sums: Longs) -> bool:
    """Add labelled rows to the integer sums; False if a feature does not fit."""
    if not loops.pays(x.size):
        return nearest_small.add_rows(x, label, sums)
    _, best, second = _empty(0)
    label = np.ascontiguousarray(label, np.int32)
    none = np.empty((0, x.shape[0]))
    x = np.ascontiguousarray(x)
    return bool(loops.step().lloyd(x, none, True, label, best, second, sums, None))


def _zeros(k: int, d: int) -> Longs:
    """Integer sums of nothing: noise and k centres by features, squared norm and count."""
    return np.zeros((k + 1, (d + 19) // 16 * 16), np.int64)


def _from_integers(sums: Longs, centres: Floats, large: bool) -> Sums:
    k, d = centres.shape
    if large:
        exact = np.empty((2, k))
        loops.sums().squared(sums, centres, exact)
    else:
        exact = nearest_small.squared(sums, centres)
    return Sums(sums[1:, d + 3].astype(np.float64), sums[1:, :d] / UNIT, exact, centres)


def squared_error(x: Block, label: Ints, centres: Floats) -> Floats:
    """Float64 squared distance (n,) of each row to its own label's centre; 0 for noise (-1)."""
    c = np.ascontiguousarray(centres, np.float64)
    out = np.zeros(x.shape[1])
    if x.size > loops.SMALL:
        label = np.ascontiguousarray(label, np.int32)
        loops.errors().squared_error(np.ascontiguousarray(x), label, c, out)
        return out
    member = label >= 0
    for j in range(x.shape[0]):
        step = np.where(member, x[j].astype(np.float64) - c[label, j], 0.0)
        out += step * step
    return out


def moments(x: Block, w: Floats | None, label: Ints, k: int) -> tuple[Floats, Floats]:
    """Exact weights (k,) and weighted feature sums (k, d) per label; noise (-1) is left out.

    ``w`` None = every row weighs 1, which is faster.
    """
    d = x.shape[0]
    if w is None:
        sums = _zeros(k, d)
        if _total(x, label, sums):
            return sums[1:, d + 3].astype(np.float64), sums[1:, :d] / UNIT
        w = np.ones(x.shape[1])
    count, linear = np.zeros(k), np.zeros((k, d))
    if x.size > loops.SMALL:
        loops.plain().moments(x, w, np.ascontiguousarray(label, np.int32), GRID, count, linear)
        return count, linear
    at = label + 1
    count += np.bincount(at, (w + GRID) - GRID, k + 1)[1:]
    for j in range(d):
        linear[:, j] = np.bincount(at, (w * x[j] + GRID) - GRID, k + 1)[1:]
    return count, linear


def add_up(x: Block, w: Floats | None, label: Ints, centres: Floats) -> Sums:
    """Exact sums of rows already labelled; noise (-1) is left out. ``w`` None = 1 each."""
    centres = np.ascontiguousarray(centres, np.float64)
    k, d = centres.shape
    if w is None and _on_integers(centres):
        sums = _zeros(k, d)
        if _total(x, label, sums):
            return _from_integers(sums, centres, loops.pays(x.size))
    return _weighted(x, np.ones(x.shape[1]) if w is None else w, label, centres)


def assign(x: Block, centres: Floats, w: Floats | None = None) -> Assigned:
    """One Lloyd step of a block: labels, both distances, and the exact sums of ``add_up``.

    Parameters
    ----------
    x : (d, n) float32
    centres : (k, d), compared as float32
    w : (n,) weights; None = 1 each, which is one pass instead of several.
    """
    centres = np.ascontiguousarray(centres, np.float64)
    sums = _zeros(*centres.shape) if w is None and _on_integers(centres) else None
    label, best, second, fits = _scan(x, centres, sums)
    return Assigned(label, best, second, _summed(x, centres, w, label, sums if fits else None))


def step(x: Block, centres: Floats, w: Floats | None = None) -> tuple[Ints, Sums]:
    """Labels and sums of ``assign``, without memory for the distances: a fifth faster."""
    centres = np.ascontiguousarray(centres, np.float64)
    sums = _zeros(*centres.shape) if w is None and _on_integers(centres) else None
    label, _, _, fits = _scan(x, centres, sums, far=False)
    return label, _summed(x, centres, w, label, sums if fits else None)


def _summed(x: Block, centres: Floats, w: Floats | None, label: Ints, sums: Longs | None) -> Sums:
    """From the integer sums; without them from the rows."""
    if sums is not None:
        return _from_integers(sums, centres, loops.pays(len(centres) * x.size))
    return _weighted(x, np.ones(x.shape[1]) if w is None else w, label, centres)


def _on_integers(centres: Floats) -> bool:
    return bool(np.abs(centres).max(initial=0.0) <= nearest_small.LARGEST)


def _weighted(x: Block, w: Floats, label: Ints, centres: Floats) -> Sums:
    k = centres.shape[0]
    count, linear = moments(x, w, label, k)
    error = squared_error(x, label, on_grid(centres))
    squared = np.zeros((2, k))
    if x.size > loops.SMALL:
        label = np.ascontiguousarray(label, np.int32)
        loops.plain().errors(w, label, error, COARSE, FINE, squared)
        return Sums(count, linear, carried(squared), centres)
    e = w * error
    big = (e + COARSE) - COARSE
    squared[0] = np.bincount(label + 1, big, k + 1)[1:]
    squared[1] = np.bincount(label + 1, ((e - big) + FINE) - FINE, k + 1)[1:]
    return Sums(count, linear, carried(squared), centres)


def described(x: Block, centres: Floats, group: Ints | None = None) -> tuple[Ints, Floats, Floats]:
    """What the label table says of each row: the label, how clear it is, and how far it lies.

    Parameters
    ----------
    group : as of ``nearest``

    Returns
    -------
    label (n,) int32, clearness (n,) 1 - d1/d2 in 0..1, and the Euclidean distance (n,) to the
    nearest centre, d1, from the float64 squared error; d2 is to the nearest of another label.
    """
    c = np.ascontiguousarray(centres, np.float64)
    near, _, second, _ = _scan(x, c, None, starts=_starts(group))
    label = near if group is None else group[near]
    if x.size > loops.SMALL:
        clear, distance = np.empty(len(near)), np.empty(len(near))
        loops.errors().described(np.ascontiguousarray(x), near, c, second, clear, distance)
        return label, clear, distance
    error = squared_error(x, near, c)
    return label, clearness(error, second), np.sqrt(error)


def clearness(best: Singles | Floats, second: Singles) -> Floats:
    """1 - d1/d2 in 0..1 from squared distances; 1 where there is no other segment."""
    b, s = best.astype(np.float64), second.astype(np.float64)
    ratio = np.divide(b, s, out=np.ones_like(b), where=s > 0)
    return np.clip(1.0 - np.sqrt(ratio), 0.0, 1.0)


def lloyd_sums(x: Block, w: Floats | None, centres: Floats) -> Sums:
    """Assign each row to its nearest centre and add up: one exact Lloyd step's statistics."""
    return step(x, centres, w)[1]
