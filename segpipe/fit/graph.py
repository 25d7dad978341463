"""The neighbour graph of the sample: nearest rows, and links between them, made connected."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats

GRAPH = 15
"""Neighbours that a row is linked with."""
TREE_DIMENSIONS = 8
"""Features above which comparing all pairs is faster than a search tree."""
FEW = 2048
"""Rows of which all pairs are compared before the library of search trees is even loaded."""
PAIRS = 128
"""Rows that are compared with all others at a time."""
SPARE = 8
"""Neighbours beyond those asked for that products of matrices find; ranked by exact distances."""
LEAST = 1e-9
"""Distance that coinciding rows count as."""

Rows = npt.NDArray[np.intp]


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
    rows = x.astype(np.float64)
    rows -= rows.mean(axis=1, keepdims=True)
    square, one = np.square(rows).sum(axis=0)[None, :], np.ones((1, n))
    left, right = np.concatenate([-2.0 * rows, one, square]), np.concatenate([rows, square, one])
    most = min(n, k + 1 + SPARE)
    for lo in range(0, n, PAIRS):
        part = slice(lo, min(lo + PAIRS, n))
        rough = (left[:, part].T @ right).astype(np.float32)  # squared distances
        at = np.argpartition(rough, most - 1, axis=1)[:, :most]
        value = _apart(x, part, at)
        order = np.lexsort((at, value), axis=1)[:, : k + 1]
        near[part] = np.take_along_axis(at, order, axis=1)
        far[part] = np.sqrt(np.take_along_axis(value, order, axis=1).astype(np.float64))
    return _without_self(near, far)


def _apart(x: Block, part: slice, at: Rows) -> npt.NDArray[np.float32]:
    """Squared distances (rows, m) of the rows of ``part`` to m others each; features in order."""
    total = np.zeros(at.shape, np.float32)
    for line in x:
        step = line[at] - line[part, None]
        total += step * step
    return total


def _without_self(near: Rows, far: Floats) -> tuple[Rows, Floats]:
    """Drop each row from its own neighbours (it need not come first among equals)."""
    n, k = near.shape
    own = near == np.arange(n)[:, None]
    own[~own.any(axis=1), -1] = True
    kept = ~own
    return near[kept].reshape(n, k - 1), far[kept].reshape(n, k - 1)


@dataclass(frozen=True, slots=True, eq=False)
class Links:
    """Edges of the neighbour graph, each once: rows i < j by rising i and j, how far apart."""

    i: Rows
    j: Rows
    length: Floats


def links_of(x: Block, near: Rows, radius: Floats) -> Links:
    """Links of each row with its GRAPH nearest; parts of the graph are joined where closest."""
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
    i, j = np.concatenate([i, np.array(a, np.intp)]), np.concatenate([j, np.array(b, np.intp)])
    length = np.concatenate([length, np.array(far, np.float64)])
    # Rows that are near neighbours of one another are linked once: the distance is the same.
    code, first = np.unique(np.minimum(i, j) * n + np.maximum(i, j), return_index=True)
    low, high = np.divmod(code, n)
    return Links(low, high, np.maximum(length[first], LEAST))


def spanning(links: Links, n: int, cost: Floats) -> tuple[Rows, Rows, Floats]:
    """Edges of the least spanning tree of n linked rows by ``cost`` > 0, cheapest first."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.csgraph import minimum_spanning_tree

    start = np.searchsorted(links.i, np.arange(n + 1))
    tree = minimum_spanning_tree(csr_matrix((cost, links.j, start), shape=(n, n))).tocoo()
    order = np.argsort(tree.data, kind="stable")
    return tree.row[order], tree.col[order], np.asarray(tree.data[order], np.float64)


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
