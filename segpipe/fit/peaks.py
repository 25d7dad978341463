"""The tree of the peaks of a density: how high each stands, and where it meets a higher one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segpipe.fit.graph import GRAPH, LEAST, Links, Rows, spanning
from segpipe.values import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Merges:
    """Per lower peak where it was lost: itself, the higher one, its prominence, its weight."""

    lower: Rows
    higher: Rows
    ends: Rows
    """(m, 2) rows on either side of the pass."""
    drop: Floats
    held: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Tree:
    """Density at one scale and the order in which its peaks meet."""

    scale: int
    spread: float
    """One over the standard deviation of a log density."""
    spots: float
    """Independent densities that the rows amount to."""
    dimension: float
    reach: Floats
    """(n,) distance of the last row that a density was taken from."""
    height: Floats
    up: Rows
    """(n,) the highest neighbour, or the row itself."""
    links: Links
    level: Floats
    """Of each link: density where it is least."""
    merges: Merges


def tree_of(k: int, near: Rows, radius: Floats, links: Links, w: Floats, d: int) -> Tree:
    """Density from ``k`` rows each, of d features and weights ``w`` (n,), and its peaks."""
    n = len(near)
    reach = np.maximum(radius[:, k - 1], LEAST)
    dimension = _dimension(radius[:, :k], d)
    mass = w + w[near[:, : k - 1]].sum(axis=1)
    height = np.log(mass) - dimension * np.log(reach)
    # A link longer than both reaches crosses emptier space than its ends show.
    crossing = dimension * (
        np.log(np.maximum(reach[links.i], reach[links.j])) - np.log(links.length)
    )
    level = np.minimum(height[links.i], height[links.j]) + np.minimum(crossing, 0.0)
    top = float(height.max()) + 1.0
    i, j, cost = spanning(links, n, top - level)
    merges = _merges(height, i, j, top - cost, w)
    around = near[:, : min(GRAPH, k)]
    best = around[np.arange(n), np.argmax(height[around], axis=1)]
    up = np.where(height[best] > height, best, np.arange(n))
    equal = float(w.sum() ** 2 / np.square(w).sum()) / n  # 1: rows of the same weight
    # One feature: no way leads around a dent, and peak and pass are both one density of chance.
    size = k * equal / (2.0 if d == 1 else 1.0)
    return Tree(k, float(np.sqrt(size)), n / k, dimension, reach, height, up, links, level, merges)


def _merges(height: Floats, i: Rows, j: Rows, level: Floats, w: Floats) -> Merges:
    """Peaks by falling level of the edges: the lower of two that meet ends there."""
    n = len(height)
    up = list(range(n))
    own, held = height.tolist(), w.tolist()
    found: list[tuple[int, int, int, int, float, float]] = []

    def find(a: int) -> int:
        while up[a] != a:
            up[a] = up[up[a]]
            a = up[a]
        return a

    for a, b, at in zip(i.tolist(), j.tolist(), level.tolist(), strict=True):
        p, q = find(a), find(b)
        if (own[p], -p) < (own[q], -q):
            p, q = q, p
        found.append((q, p, a, b, own[q] - at, held[q]))
        up[q] = p
        held[p] += held[q]
    lower, higher, one, other, drop, weight = (np.array(c) for c in zip(*found, strict=True))
    ends = np.stack([one, other], axis=1)
    return Merges(lower, higher, ends, drop.astype(np.float64), weight.astype(np.float64))


def labels_of(height: Floats, up: Rows, merges: Merges, keep: npt.NDArray[np.bool_]) -> Ints:
    """Modes of the rows: uphill to a peak, and from one that is not kept to the one it met."""
    to = np.arange(len(height))
    gone = ~keep
    to[merges.lower[gone]] = merges.higher[gone]
    # Merges come by falling level: a peak ends later than its tributaries.
    for q in merges.lower[::-1].tolist():
        to[q] = to[to[q]]
    peak = up.copy()
    while not np.array_equal(peak, peak[peak]):
        peak = peak[peak]
    peaks, label = np.unique(to[peak], return_inverse=True)
    rank = np.empty(len(peaks), np.int32)
    rank[np.lexsort((peaks, -height[peaks]))] = np.arange(len(peaks), dtype=np.int32)
    return np.asarray(rank[label], np.int32)


def passes(label: Ints, links: Links, level: Floats) -> Floats:
    """(k,) level of the highest pass out of each mode; -inf where there is none."""
    out = np.full(int(label.max()) + 1, -np.inf)
    cross = label[links.i] != label[links.j]
    np.maximum.at(out, label[links.i[cross]], level[cross])
    np.maximum.at(out, label[links.j[cross]], level[cross])
    return out


def _dimension(radius: Floats, d: int) -> float:
    """How fast neighbours become more with distance: Levina & Bickel 2004, averaged as MacKay."""
    far = np.maximum(radius[:, -1:], LEAST)
    steps = np.log(far / np.maximum(radius[:, :-1], LEAST)).sum(axis=1)
    mean = float(steps.mean()) / max(radius.shape[1] - 2, 1)
    return float(np.clip(1.0 / max(mean, 1e-6), 1.0, d))
