"""Agglomerative clustering of large tables: Ward over some hundred weighted micro-clusters."""

from __future__ import annotations

import numpy as np

from segpipe.errors import ConfigError, DataError
from segpipe.fit.kmeans import fit_kmeans
from segpipe.kernels import nearest as kernel
from segpipe.models.merged import MergedModel, merged
from segpipe.values import Block, Floats, Ints

MICRO = 300
EXACT_ROWS = 20_000
"""Rows of the sample up to which Ward's tree is of the rows themselves."""
LINKAGES = ("ward", "average", "complete", "single")


def fit_agglomerative(
    x: Block, w: Floats, k: int, seed: int = 0, micro: int = MICRO, linkage: str = "ward"
) -> MergedModel:
    """The tree of weighted micro-clusters, cut at k; the tree stays in the model.

    Tables of few distinct rows use these themselves, Ward up to ``EXACT_ROWS`` rows. Weighted
    Ward (Lance-Williams with masses) is what Ward on all rows does once it has formed the
    micro-clusters; scikit-learn's takes no weights, so the tree is ours. ``linkage`` is one of
    ``LINKAGES``. DataError with fewer than k distinct rows.
    """
    if linkage not in LINKAGES:
        raise ConfigError(f"linkage {linkage!r} is unknown.", f"use one of {', '.join(LINKAGES)}")
    exact = linkage == "ward" and x.shape[1] <= EXACT_ROWS and micro == MICRO
    distinct = np.unique(x.T if exact else x.T[: 50 * micro], axis=0)
    m = len(distinct) if exact else min(micro, len(distinct))
    if len(distinct) < k and x.shape[1] <= 50 * micro:
        raise DataError(
            f"{k} clusters were asked for; the sample has only {len(distinct)} distinct rows.",
            "ask for fewer (fit.k) or give more features",
        )
    m = max(m, k)
    centres = (
        np.asarray(distinct, np.float64)
        if m == len(distinct)
        else fit_kmeans(x, w, m, 1, seed).centres
    )
    label, _, _ = kernel.nearest(x, centres)
    mass, _ = kernel.moments(x, w, label, len(centres))
    if linkage == "ward":
        tree = (ward if m <= MICRO else chained_ward)(centres, mass)
    else:
        tree = linkage_tree(centres, mass, linkage)
    return merged(centres, mass, cut(tree, k), "agglomerative", linkage=tree)


def chained_ward(points: Floats, mass: Floats) -> Floats:
    """``ward`` of thousands of points: chains of nearest neighbours, O(m) memory, O(m^2 d) time.

    Murtagh 1983: Ward's cost is reducible, so that two clusters nearest to each other may be
    joined at once; sorted by height the joins are those of the plain algorithm.
    """
    m, d = points.shape
    place = np.ascontiguousarray(points.T, np.float64).copy()
    weight = np.maximum(mass.astype(np.float64), 1e-12)
    alive = np.arange(m)  # slots still in use, ascending
    chain: list[int] = []
    joins = np.empty((max(m - 1, 0), 4))
    for step in range(m - 1):
        if not chain:
            chain = [int(alive[0])]
        while True:
            top = chain[-1]
            apart = np.zeros(len(alive))
            for j in range(d):
                apart += (place[j, alive] - place[j, top]) ** 2
            cost = 2.0 * apart / (1.0 / weight[alive] + 1.0 / weight[top])
            cost[np.searchsorted(alive, top)] = np.inf
            best = int(np.argmin(cost))
            if len(chain) > 1:
                before = int(np.searchsorted(alive, chain[-2]))
                if cost[before] <= cost[best]:  # the one before is as near: the two are joined
                    best = before
                    break
            chain.append(int(alive[best]))
        low, high = sorted((chain.pop(), chain.pop()))
        both = weight[low] + weight[high]
        joins[step] = low, high, np.sqrt(cost[best]), both
        place[:, low] = (weight[low] * place[:, low] + weight[high] * place[:, high]) / both
        weight[low] = both
        alive = np.delete(alive, np.searchsorted(alive, high))
    return _named(joins, m)


def _named(joins: Floats, m: int) -> Floats:
    """Joins of slots by rising height, the slots named as SciPy names clusters."""
    order = np.argsort(joins[:, 2], kind="stable")
    name = np.arange(m)
    out = np.empty_like(joins)
    for step, row in enumerate(joins[order]):
        low, high = int(row[0]), int(row[1])
        out[step] = [*sorted((name[low], name[high])), row[2], row[3]]
        name[low] = m + step
    return out


def ward(points: Floats, mass: Floats) -> Floats:
    """SciPy-style linkage (m-1, 4) of weighted points: ids, height, mass.

    The height is sqrt(2 |A||B|/(|A|+|B|)) |mean A - mean B|, SciPy's for unit masses. O(m^3)
    vectorised over m, for a few hundred points; ties go to the lowest ids.
    """
    m = len(points)
    means, weight = points.astype(np.float64).copy(), np.maximum(mass.astype(np.float64), 1e-12)
    names = np.arange(m)
    cost = _ward_cost(means, weight, means, weight)
    cost[np.tril_indices(m)] = np.inf
    out = np.empty((max(m - 1, 0), 4))
    for step in range(m - 1):
        i, j = divmod(int(np.argmin(cost)), m)
        out[step] = [*sorted((names[i], names[j])), np.sqrt(cost[i, j]), weight[i] + weight[j]]
        means[i] = (weight[i] * means[i] + weight[j] * means[j]) / (weight[i] + weight[j])
        weight[i] += weight[j]
        names[i] = m + step
        cost[j, :] = cost[:, j] = np.inf
        alive = np.isfinite(weight)
        weight[j] = np.inf
        alive[[i, j]] = False
        rows = np.flatnonzero(alive)
        new = _ward_cost(means[i : i + 1], weight[i : i + 1], means[rows], weight[rows])[0]
        low, high = np.minimum(rows, i), np.maximum(rows, i)
        cost[low, high] = new
    return out


def linkage_tree(points: Floats, mass: Floats, linkage: str) -> Floats:
    """SciPy-style linkage (m-1, 4) by average, complete or single distance; ties as in ``ward``.

    The average is over the pairs of rows that the points stand for (UPGMA with masses).
    """
    m = len(points)
    square = np.zeros((m, m))
    for line in points.T:
        square += np.square(line[:, None] - line)
    apart, weight = np.sqrt(square), np.maximum(mass.astype(np.float64), 1e-12)
    np.fill_diagonal(apart, np.inf)
    names, out = np.arange(m), np.empty((max(m - 1, 0), 4))
    for step in range(m - 1):
        i, j = sorted(divmod(int(np.argmin(apart)), m))
        both = weight[i] + weight[j]
        out[step] = [*sorted((names[i], names[j])), apart[i, j], both]
        if linkage == "average":
            new = (weight[i] * apart[i] + weight[j] * apart[j]) / both
        else:
            new = (np.maximum if linkage == "complete" else np.minimum)(apart[i], apart[j])
        # What was joined before is infinitely far from everything and stays so.
        new[np.isinf(apart[i]) | np.isinf(apart[j])] = np.inf
        apart[i], apart[:, i] = new, new
        apart[j], apart[:, j] = np.inf, np.inf
        weight[i], names[i] = both, m + step
    return out


def cut(tree: Floats, k: int) -> Ints:
    """Group (m,) of each leaf when the tree is cut into k, numbered by their first leaf."""
    m = len(tree) + 1
    root = np.arange(2 * m - 1)
    for step in range(m - k):
        root[[int(tree[step, 0]), int(tree[step, 1])]] = m + step
    top = np.arange(2 * m - 1)
    for node in range(2 * m - 2, -1, -1):
        top[node] = node if root[node] == node else top[root[node]]
    _, first, group = np.unique(top[:m], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int32)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int32)
    return np.asarray(rank[group], np.int32)


def _ward_cost(a: Floats, wa: Floats, b: Floats, wb: Floats) -> Floats:
    apart = np.zeros((len(a), len(b)))
    for j in range(a.shape[1]):
        apart += (a[:, j][:, None] - b[:, j][None, :]) ** 2
    return np.asarray(2.0 * apart / (1.0 / wa[:, None] + 1.0 / wb[None, :]))
