"""Distance to a measure over micro-clusters: how far a row must look to see a share of the data.

Chazal, Cohen-Steiner, Mérigot 2011; Gu, Akoglu, Rinaldo, NeurIPS 2019 (outlier detection with it).
Single-threaded, GIL released. Small calls take a NumPy path and large ones compiled loops
(``mass_jit``), with the same bits; a row's result does not depend on its place in the block.
"""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
import numpy.typing as npt

from segpipe.kernels.nearest import Singles
from segpipe.kernels.nearest_loops import SMALL
from segpipe.values import Block, Floats

LANES = 16
"""The compiled loop takes multiples of this many micro-clusters."""


NEAR = 24
"""Micro-clusters among which the usual mass is looked for first: it holds .05 of 128 on average
within seven."""


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import mass_jit

    return mass_jit


def _distances(x: Block, centres: Floats, spread: Floats) -> Singles:
    """(k, n) mean squared distance to the members of each micro-cluster, features in order."""
    c = centres.astype(np.float32)
    total = np.zeros((c.shape[0], x.shape[1]), np.float32)
    for j in range(x.shape[0]):
        step = x[j][None, :] - c[:, j][:, None]
        total += step * step
    return np.asarray(total + spread.astype(np.float32)[:, None])


def _padded(centres: Floats, share: Floats, spread: Floats) -> tuple[Singles, Floats, Singles]:
    """Feature-major centres, filled up to whole registers with clusters infinitely far away."""
    k, d = centres.shape
    width = -(-k // LANES) * LANES
    wide = np.zeros((d, width), np.float32)
    wide[:, :k] = centres.T
    far = np.full(width, np.inf, np.float32)
    far[:k] = spread
    empty = np.zeros(width)
    empty[:k] = share
    return wide, empty, far


def mean_square(x: Block, centres: Floats, share: Floats, spread: Floats, mass: float) -> Floats:
    """Mean squared distance (n,) of each row to the nearest ``mass`` of the data.

    Parameters
    ----------
    x : (d, n) float32
    centres : (k, d) micro-cluster means
    share : (k,) their shares of the data, summing to 1
    spread : (k,) mean squared distance of their members to the mean
    mass : share of the data to look at, in (0, 1]
    """
    n = x.shape[1]
    if centres.shape[0] * x.size > SMALL:
        out = np.empty(n)
        padded = _padded(centres, share, spread)
        _compiled().mean_square(x, *padded, len(share), mass, out)
        return out
    d2 = _distances(x, centres, spread)
    total, left = np.zeros(n), np.full(n, mass)
    order = np.argsort(d2, axis=0, kind="stable")
    for at in order:
        take = np.minimum(share[at], left)
        total += take * d2[at, np.arange(n)].astype(np.float64)
        left -= take
        if not left.any():
            break
    return total / mass


def usual_place(x: Block, centres: Floats, share: Floats, spread: Floats, mass: float) -> Floats:
    """(d, n) mean of the nearest ``mass`` of the data: what a row is unusual against.

    For a few flagged rows; NumPy only.
    """
    d2 = np.ascontiguousarray(_distances(x, centres, spread).T)
    k, few = len(share), min(NEAR, len(share))
    near = np.sort(np.argpartition(d2, few - 1, axis=1)[:, :few], axis=1)
    place, left = _gathered(d2, near, centres, share, mass)
    # Rows among clusters so small that the nearest few do not hold the mass.
    short = np.flatnonzero(left > 0)
    if len(short) and few < k:
        every = np.broadcast_to(np.arange(k), (len(short), k))
        place[short], _ = _gathered(d2[short], every, centres, share, mass)
    return np.ascontiguousarray(place.T)


def _gathered(
    d2: Singles, near: npt.NDArray[np.intp], centres: Floats, share: Floats, mass: float
) -> tuple[Floats, Floats]:
    """(n, d) mean of the mass over the clusters ``near`` (n, m), and the mass that was missing."""
    n = len(d2)
    order = np.argsort(np.take_along_axis(d2, near, axis=1), axis=1, kind="stable")
    left, seen, place = np.full(n, mass), np.zeros(n), np.zeros((n, centres.shape[1]))
    for at in np.take_along_axis(near, order, axis=1).T:
        take = np.minimum(share[at], left)
        left -= take
        seen += take
        place += take[:, None] * centres[at]
        if not left.any():
            break
    return place / seen[:, None], left
