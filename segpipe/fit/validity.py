"""DBCV, the density-based validity of a clustering, at bounded cost.

Moulavi, Jaskowiak, Campello, Zimek, Sander, SDM 2014, with Euclidean distances as in hdbscan;
core distances in log space, so that many dimensions neither overflow nor turn into NaN.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.values import Block, Floats, Ints

NEAR = 1e-6
"""Distances count as at least this: identical rows have no density of their own."""
FEWEST = 4
"""Rows drawn of every cluster at least."""


def dbcv(x: Block, labels: Ints, w: Floats, *, rows: int = 2000, seed: int = 0) -> float:
    """Density-based validity in [-1, 1]; noise (-1) counts as weight without validity.

    Parameters
    ----------
    x : (d, n)
    labels : (n,) -1 = noise
    w : (n,) weights: every cluster's validity counts by its share of the table
    rows : at most so many are compared, drawn per label; cost O(rows^2 d)

    Returns
    -------
    -1.0 when there are fewer than two clusters.
    """
    names = [int(g) for g in np.unique(labels) if g >= 0]
    if len(names) < 2:
        return -1.0
    rng = np.random.RandomState(seed)
    total = float(w.sum())
    points: list[Floats] = []
    share: list[float] = []
    for g in names:
        member = np.flatnonzero(labels == g)
        held = float(w[member].sum())
        share.append(held / total)
        size = max(FEWEST, int(rows * held / total))
        if len(member) > size:
            # By weight: a sample that shows rare places more often must not look sparser for it.
            member = rng.choice(member, size, replace=False, p=w[member] / held)
        points.append(np.ascontiguousarray(x[:, member].T, np.float64))
    graphs = [_graph(p) for p in points]
    validity = 0.0
    for i, (core, inner, sparseness) in enumerate(graphs):
        separation = np.inf
        for j, (other, other_inner, _) in enumerate(graphs):
            if i != j:
                apart = _distances(points[i][inner], points[j][other_inner])
                own = np.maximum(core[inner][:, None], other[other_inner][None, :])
                separation = min(separation, float(np.maximum(apart, own).min()))
        validity += share[i] * (separation - sparseness) / max(separation, sparseness)
    return validity


def _distances(a: Floats, b: Floats) -> Floats:
    total = np.zeros((len(a), len(b)))
    for j in range(a.shape[1]):
        total += (a[:, j][:, None] - b[:, j][None, :]) ** 2
    return np.maximum(np.sqrt(total), NEAR)


def _graph(points: Floats) -> tuple[Floats, npt.NDArray[np.intp], float]:
    """All-points core distances, inner nodes of the spanning tree, its longest inner edge."""
    from scipy.sparse.csgraph import minimum_spanning_tree

    n, d = points.shape
    if n == 1:
        return np.full(1, NEAR), np.zeros(1, np.intp), NEAR
    apart = _distances(points, points)
    power = -d * np.log(apart)
    np.fill_diagonal(power, -np.inf)
    top = power.max(axis=1)
    mean = top + np.log(np.exp(power - top[:, None]).sum(axis=1) / (n - 1))
    core = np.exp(-mean / d)
    mutual = np.maximum(apart, np.maximum(core[:, None], core[None, :]))
    np.fill_diagonal(mutual, 0.0)
    tree = minimum_spanning_tree(mutual).tocoo()
    degree = np.bincount(np.concatenate([tree.row, tree.col]), minlength=n)
    inner = np.flatnonzero(degree > 1)
    edges = (degree[tree.row] > 1) & (degree[tree.col] > 1)
    if len(inner) == 0 or not edges.any():  # a star or a pair has no inner edge
        return core, np.arange(n), float(tree.data.max())
    return core, inner, float(tree.data[edges].max())
