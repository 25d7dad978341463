"""What HDBSCAN would find, from the neighbour graph alone: whether the library is worth calling.

Campello, Moulavi, Sander 2013 on the links between near neighbours rather than on all pairs, whose
spanning tree they contain but for long edges. It takes hundredths of a second, where loading
hdbscan and scikit-learn takes one; models are always fitted by the library.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.fit.graph import GRAPH, links_of, neighbours, spanning
from segpipe.values import Block, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Linkage:
    """Single linkage of n rows by mutual reachability: join ``i`` makes node n + i."""

    left: list[int]
    right: list[int]
    density: list[float]
    """One over the reachability at which the two were joined."""
    size: list[int]
    """(2 n - 1,) rows of every node."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.left) + 1


def linkage_of(x: Block, near: int) -> Linkage:
    """Single linkage of distinct rows (d, n); ``near``: the neighbour whose distance is the core's.

    n must be above ``near`` and GRAPH.
    """
    at, radius = neighbours(x, max(near, GRAPH))
    links = links_of(x, at, radius)
    n, core = x.shape[1], radius[:, near - 1]
    mutual = np.maximum(np.maximum(core[links.i], core[links.j]), links.length)
    i, j, reach = spanning(links, n, mutual)
    node, up = list(range(n)), list(range(n))
    size, left, right = [1] * n, [], []

    def find(a: int) -> int:
        while up[a] != a:
            up[a] = up[up[a]]
            a = up[a]
        return a

    for a, b in zip(i.tolist(), j.tolist(), strict=True):
        p, q = find(a), find(b)
        left.append(node[p])
        right.append(node[q])
        size.append(size[node[p]] + size[node[q]])
        up[q] = p
        node[p] = len(size) - 1
    return Linkage(left, right, (1.0 / reach).tolist(), size)


def clusters(linkage: Linkage, least: int) -> Ints:
    """(n,) cluster by excess of mass of each row, -1 = noise; ``least``: rows of a cluster.

    The root is no cluster, as by default in the library.
    """
    n = linkage.rows
    root = 2 * n - 2
    # Per condensed cluster: node where it begins, density there, excess of mass, children.
    starts, births, mass = [root], [0.0], [0.0]
    children: list[list[int]] = [[]]
    todo = [(root, 0)]
    while todo:
        node, own = todo.pop()
        if node < n:
            continue
        pair = linkage.left[node - n], linkage.right[node - n]
        density = linkage.density[node - n]
        large = [c for c in pair if linkage.size[c] >= least]
        gone = (
            linkage.size[node] if len(large) != 1 else linkage.size[node] - linkage.size[large[0]]
        )
        mass[own] += (density - births[own]) * gone
        if len(large) == 1:
            todo.append((large[0], own))
        for c in large if len(large) == 2 else []:
            children[own].append(len(starts))
            todo.append((c, len(starts)))
            starts.append(c)
            births.append(density)
            mass.append(0.0)
            children.append([])
    best = list(mass)
    kept = [True] * len(mass)
    for c in range(len(mass) - 1, -1, -1):  # children come after their parents
        below = sum(best[child] for child in children[c])
        if children[c] and (below > mass[c] or c == 0):
            kept[c], best[c] = False, below
    label = np.full(n, -1, np.int32)
    open_ = list(children[0])
    found = 0
    while open_:
        c = open_.pop()
        if kept[c]:
            label[_leaves(linkage, starts[c])] = found
            found += 1
        else:
            open_ += children[c]
    return label


def _leaves(linkage: Linkage, node: int) -> list[int]:
    n, rows, todo = linkage.rows, [], [node]
    while todo:
        at = todo.pop()
        if at < n:
            rows.append(at)
        else:
            todo += [linkage.left[at - n], linkage.right[at - n]]
    return rows
