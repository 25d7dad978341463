"""The modes of the sample: peaks of its density that no chance bump of a flat one explains.

Density by nearest neighbours, the tree of its peaks by rising edges of a neighbour graph, and a
peak that is lost in a higher one unless it stands out from the pass between them: ToMATo (Chazal,
Guibas, Oudot, Skraba, Journal of the ACM 60, 2013). The log of a density from k rows has a
standard deviation of 1/sqrt(k) whatever the density is, so that prominence has a scale of its own
and needs no tuning; how far chance reaches was simulated (``SURE``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints

SCALES = (7, 10, 14, 20, 28, 40, 56)
"""Rows that a density is taken from: few see small groups, many see shallow valleys."""
CONFIRMED = 3.0
"""Standard deviations by which the other half's rows are fewer at a pass than at the peak."""
GRAPH = 15
"""Neighbours that a row is linked with."""
FEWEST = 30
"""Distinct rows below which nothing is said of modes."""
TREE_DIMENSIONS = 8
"""Features above which comparing all pairs is faster than a search tree."""
FEW = 2048
"""Rows of which all pairs are compared before the library of search trees is even loaded."""
PAIRS = 1024
LEAST = 1e-9
BUMPS, MAYBE, LIKELY, SURE = 1.25, 0.0, 1.0, 2.2
"""Prominence in standard deviations that chance reaches: BUMPS sqrt(2 log(rows / scale)) and one
of the others on top. ``LIKELY``: about 1 of 100 draws or fewer of uniform, Gaussian, exponential or
t data in 2 to 12 dimensions have a second mode (72 of each drawn, 300 to 9,000 rows: none, but one
of the exponential); ``SURE``: of thin rings about 1 of 10, at 1,000 rows 5 of 20, and a line is no
better than a ring; ``MAYBE``: candidates that fresh rows must confirm."""

Rows = npt.NDArray[np.intp]
Check = Callable[[int, Rows, Floats], bool]
"""(peak, ends of the pass, reach of the rows) -> whether the peak is one."""


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """The peaks that stand out, and the rows that lead up to each."""

    label: Ints
    """(n,) 0..k-1 by falling height of the peak."""
    core: npt.NDArray[np.bool_]
    """(n,) rows higher than the highest pass out of their own mode: what no border blurs."""
    scale: int
    """Rows that the density was taken from."""
    dimension: float
    """Of the data as they fill space: 1 for a thin ring, whatever the number of features."""
    chance: float
    """Prominence, in standard deviations, that peaks of flat data hardly ever reach."""
    prominence: tuple[float, ...]
    """Of the modes by falling value, the highest peak not counted; then of the best that is none"""
    found: tuple[tuple[int, int], ...]
    """(scale, modes found by it)."""

    @property
    def k(self) -> int:
        """Number of modes."""
        return int(self.label.max(initial=-1)) + 1

    def row(self) -> dict[str, object]:
        """For the evidence."""
        return {
            "k": self.k,
            "scale": self.scale,
            "dimension": self.dimension,
            "chance": self.chance,
            "prominence": self.prominence,
            "core_share": float(self.core.mean()),
            "by_scale": self.found,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Distinct rows, and their modes by two bars of chance."""

    x: Block
    w: Floats
    sure: Modes
    """What no chance gap of a thin ring or band explains."""
    likely: Modes
    """What no chance bump of a filled area explains: as many as ``sure`` or more."""
    cuts: tuple[Modes, ...]
    """One per number of modes that any scale and bar gives, by rising number."""


def find_modes(x: Block, w: Floats, min_share: float = 0.0, k_max: int = 64) -> Seen | None:
    """The modes at the scale that shows most of them; None for too few rows.

    Parameters
    ----------
    x : (d, n) distinct rows
    w : (n,) rows of the table that each stands for
    min_share : peaks that fewer rows lead up to are none
    k_max : of more the most prominent are kept
    """
    n = x.shape[1]
    scales = [k for k in SCALES if k <= n // 6]
    if n < FEWEST or not scales:
        return None
    near, radius = neighbours(x, max(*scales, GRAPH))
    links = _links(x, near, radius)
    trees = [_tree(k, near, radius, links, w, x.shape[0]) for k in scales]
    cuts: dict[int, Modes] = {}

    def most(bar: float) -> Modes:
        found = [_modes(tree, w, min_share, k_max, bar) for tree in trees]
        cuts.update((m.k, m) for m in found if m.k not in cuts or m.scale > cuts[m.k].scale)
        best = max(found, key=lambda m: (m.k, m.scale))  # of equals the smoother
        return replace(best, found=tuple((m.scale, m.k) for m in found))

    sure, likely = most(SURE), most(LIKELY)
    return Seen(x, w, sure, likely, tuple(cuts[k] for k in sorted(cuts)))


def confirmed_modes(
    x: Block, w: Floats, min_share: float = 0.0, k_max: int = 64, rows: int = 10_000
) -> Seen | None:
    """Modes of half of the rows whose passes the other half confirms; None for too few rows.

    A pass that chance made in one half has no fewer rows around it than the peak in the other:
    on a thin ring, where every dent is a pass, prominence alone is no proof. Of both halves the
    one with more modes counts; at most ``rows`` are taken for either half.
    """
    parts = [np.ascontiguousarray(x[:, i::2][:, :rows]) for i in (0, 1)]
    found: list[tuple[Block, Floats, Modes]] = []
    for own in (0, 1):
        points, other = parts[own], parts[1 - own]
        mass = w[own::2][: points.shape[1]]
        scales = [k for k in SCALES if k <= points.shape[1] // 6]
        if points.shape[1] < FEWEST or not scales:
            return None
        near, radius = neighbours(points, max(*scales, GRAPH))
        links = _links(points, near, radius)
        check = partial(_confirms, points, other)
        modes = []
        for k in scales:
            tree = _tree(k, near, radius, links, mass, x.shape[0])
            modes.append(_modes(tree, mass, min_share, k_max, MAYBE, check))
        best = max(modes, key=lambda m: (m.k, m.scale))
        best = replace(best, found=tuple((m.scale, m.k) for m in modes))
        found.append((points, mass, best))
    points, mass, best = max(found, key=lambda f: f[2].k)
    return Seen(points, mass, best, best, (best,))


def _confirms(points: Block, other: Block, peak: int, ends: Rows, reach: Floats) -> bool:
    """Whether ``other`` rows are significantly fewer around the pass than around the peak."""
    i, j = ends
    middle = 0.5 * (points[:, i].astype(np.float64) + points[:, j])
    length = np.sqrt(float(np.square(points[:, i].astype(np.float64) - points[:, j]).sum()))
    around = max(float(reach[i]), float(reach[j]), 0.5 * float(length))
    places = np.stack([points[:, peak].astype(np.float64), middle])
    high, low = (kernel.distances(other, places) <= around * around).sum(axis=1).tolist()
    return bool(high - low >= CONFIRMED * float(np.sqrt(max(high + low, 1))))


def neighbours(x: Block, k: int) -> tuple[Rows, Floats]:
    """Numbers and distances (n, k) of the k nearest other rows, nearest first."""
    n = x.shape[1]
    k = min(k, n - 1)
    if x.shape[0] <= TREE_DIMENSIONS and n > FEW:
        from scipy.spatial import cKDTree

        rows = np.ascontiguousarray(x.T, np.float64)
        far, near = cKDTree(rows).query(rows, k + 1)
        return _without_self(near, far)
    near, far = np.empty((n, k + 1), np.intp), np.empty((n, k + 1))
    for lo in range(0, n, PAIRS):
        part = slice(lo, min(lo + PAIRS, n))
        d2 = kernel.distances(x, x[:, part].T)
        at = np.argpartition(d2, k, axis=1)[:, : k + 1]
        value = np.take_along_axis(d2, at, axis=1).astype(np.float64)
        order = np.lexsort((at, value), axis=1)
        near[part] = np.take_along_axis(at, order, axis=1)
        far[part] = np.sqrt(np.maximum(np.take_along_axis(value, order, axis=1), 0.0))
    return _without_self(near, far)


def _without_self(near: Rows, far: Floats) -> tuple[Rows, Floats]:
    """Drop each row from its own neighbours (it need not come first among equals)."""
    n, k = near.shape
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    kept = ~own
    return near[kept].reshape(n, k - 1), far[kept].reshape(n, k - 1)


@dataclass(frozen=True, slots=True, eq=False)
class _Links:
    """Edges of the neighbour graph, made connected."""

    i: Rows
    j: Rows
    length: Floats


def _links(x: Block, near: Rows, radius: Floats) -> _Links:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import connected_components

    n, g = len(near), min(GRAPH, near.shape[1])
    i, j = np.repeat(np.arange(n), g), near[:, :g].ravel()
    length = radius[:, :g].ravel()
    parts, of = connected_components(
        csr_matrix((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False
    )
    more: list[tuple[int, int, float]] = []
    sizes = np.bincount(of)
    # Every part but the largest is linked with whatever is nearest outside it.
    for part in np.argsort(sizes, kind="stable")[: parts - 1]:
        inside, outside = np.flatnonzero(of == part), np.flatnonzero(of != part)
        more.append(_nearest_pair(x, inside, outside))
        of[inside] = of[more[-1][1]]
    a, b, far = zip(*more, strict=True) if more else ((), (), ())
    return _Links(
        np.concatenate([i, np.array(a, np.intp)]),
        np.concatenate([j, np.array(b, np.intp)]),
        np.maximum(np.concatenate([length, np.array(far, np.float64)]), LEAST),
    )


def _nearest_pair(x: Block, inside: Rows, outside: Rows) -> tuple[int, int, float]:
    best = (0, 0, np.inf)
    others = np.ascontiguousarray(x[:, outside])
    for lo in range(0, len(inside), PAIRS):
        rows = inside[lo : lo + PAIRS]
        d2 = kernel.distances(others, x[:, rows].T)
        at = int(np.argmin(d2))
        a, b = divmod(at, len(outside))
        far = float(np.sqrt(max(float(d2[a, b]), 0.0)))
        if far < best[2]:
            best = (int(rows[a]), int(outside[b]), far)
    return best


@dataclass(frozen=True, slots=True, eq=False)
class _Tree:
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
    links: _Links
    level: Floats
    """Of each link: density where it is least."""
    merges: _Merges


def _tree(k: int, near: Rows, radius: Floats, links: _Links, w: Floats, d: int) -> _Tree:
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

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
    tree = minimum_spanning_tree(_least(csr_matrix, n, links, top - level)).tocoo()
    order = np.argsort(tree.data, kind="stable")
    merges = _merges(height, tree.row[order], tree.col[order], top - tree.data[order], w)
    around = near[:, : min(GRAPH, k)]
    best = around[np.arange(n), np.argmax(height[around], axis=1)]
    up = np.where(height[best] > height, best, np.arange(n))
    equal = float(w.sum() ** 2 / np.square(w).sum()) / n  # 1: rows of the same weight
    return _Tree(
        k, float(np.sqrt(k * equal)), n / k, dimension, reach, height, up, links, level, merges
    )


def _modes(
    tree: _Tree, w: Floats, min_share: float, k_max: int, bar: float, check: Check | None = None
) -> Modes:
    chance = BUMPS * float(np.sqrt(2.0 * np.log(max(tree.spots, 2.0)))) + bar
    drop = tree.merges.drop * tree.spread
    least = max(min_share * float(w.sum()), 0.5 * tree.scale * float(np.median(w)))
    large = tree.merges.held >= least
    keep = large & (drop >= chance)
    if check is not None:
        for i in np.flatnonzero(keep):
            keep[i] = check(int(tree.merges.lower[i]), tree.merges.ends[i], tree.reach)
    if keep.sum() >= k_max:
        keep &= drop >= np.sort(drop[keep])[keep.sum() - k_max + 1]
    label = _labels(tree.height, tree.up, tree.merges, keep)
    core = tree.height > _pass(label, tree.links, tree.level)[label]
    rest = float(drop[large & ~keep].max(initial=0.0))
    stand = (*np.sort(drop[keep])[::-1].tolist(), rest)
    return Modes(label, core, tree.scale, tree.dimension, chance, stand, ())


def _least(csr_matrix: type, n: int, links: _Links, cost: Floats) -> object:
    """Sparse symmetric costs; of an edge seen from both ends the lesser counts."""
    low, high = np.minimum(links.i, links.j), np.maximum(links.i, links.j)
    code = low.astype(np.int64) * n + high
    order = np.lexsort((cost, code))
    first = np.r_[True, np.diff(code[order]) > 0] if len(order) else np.zeros(0, bool)
    kept = order[first]
    return csr_matrix((cost[kept], (low[kept], high[kept])), shape=(n, n))


@dataclass(frozen=True, slots=True, eq=False)
class _Merges:
    """Per lower peak where it was lost: itself, the higher one, its prominence, its weight."""

    lower: Rows
    higher: Rows
    ends: Rows
    """(m, 2) rows on either side of the pass."""
    drop: Floats
    held: Floats


def _merges(height: Floats, i: Rows, j: Rows, level: Floats, w: Floats) -> _Merges:
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
    return _Merges(lower, higher, ends, drop.astype(np.float64), weight.astype(np.float64))


def _labels(height: Floats, up: Rows, merges: _Merges, keep: npt.NDArray[np.bool_]) -> Ints:
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


def _pass(label: Ints, links: _Links, level: Floats) -> Floats:
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
