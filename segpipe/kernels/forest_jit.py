"""Compiled loop of ``kernels.forest``; no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.simd import SINGLES, add_whole, choose, gather, load, splat, store

TILE = 256
"""Rows that go down one tree together: tree and rows stay in the first-level cache."""
TOP = 6
"""Levels that are walked from below without looking anything up by row."""


@jit
def _way(rows: Any, r: int, f: Any, cut: Any, i: int, left: Any, right: Any) -> Any:
    """Where rows r.. end that stand at node i, given where they end below it."""
    return choose(splat(cut[i]), load(rows, np.int64(f[i]) * TILE + r), right, left)


@jit
def _three_levels(rows: Any, r: int, f: Any, cut: Any, i: int, ends: Any, at: int) -> Any:
    """``_way`` of node i, where ``ends[at]`` on holds the ends of the nodes three levels below."""
    low, step = 4 * i + 3, SINGLES
    a = _way(rows, r, f, cut, low, load(ends, at), load(ends, at + step))
    b = _way(rows, r, f, cut, low + 1, load(ends, at + 2 * step), load(ends, at + 3 * step))
    c = _way(rows, r, f, cut, low + 2, load(ends, at + 4 * step), load(ends, at + 5 * step))
    d = _way(rows, r, f, cut, low + 3, load(ends, at + 6 * step), load(ends, at + 7 * step))
    a = _way(rows, r, f, cut, 2 * i + 1, a, b)
    c = _way(rows, r, f, cut, 2 * i + 2, c, d)
    return _way(rows, r, f, cut, i, a, c)


@jit
def _top(rows: Any, f: Any, cut: Any, ends: Any, middle: Any, node: Any) -> None:
    """Each row's node on level 6. A node's answer is chosen between those of its children.

    All 63 nodes are compared with all rows, but sixteen rows at a time and from memory in order;
    looking up the one node that a row stands at takes about four cycles per row and level.
    """
    for r in range(0, TILE, SINGLES):
        for s in range(8):
            at = s * SINGLES
            store(middle, at, _three_levels(rows, r, f, cut, 7 + s, ends, 8 * at))
        store(node, r, _three_levels(rows, r, f, cut, 0, middle, 0))


@jit
def _rest(rows: Any, where: Any, cut: Any, lanes: Any, levels: int, node: Any) -> None:
    """Each row's node so many levels below its ``node``; ``where``: of each node's feature."""
    one, two = splat(np.int32(1)), splat(np.int32(2))
    for r in range(0, TILE, SINGLES):
        row, at = add_whole(load(lanes, 0), splat(np.int32(r))), load(node, r)
        for _ in range(levels):
            value = gather(rows, add_whole(gather(where, at), row))
            twice = add_whole(at, at)
            at = choose(gather(cut, at), value, add_whole(twice, two), add_whole(twice, one))
        store(node, r, at)


@jit
def path_lengths(x: Any, feature: Any, threshold: Any, value: Any, depth: int, total: Any) -> None:
    """Add to ``total`` the leaf values of each row, tree by tree."""
    d, n = x.shape
    trees, inner = feature.shape
    tile = np.zeros(d * TILE, np.float32)
    node = np.empty(TILE, np.int32)
    ends, middle = np.empty((64, SINGLES), np.int32), np.empty((8, SINGLES), np.int32)
    for i in range(64):
        ends[i] = 63 + i
    done = TOP if depth >= TOP else 0
    lanes = np.arange(SINGLES).astype(np.int32)
    places = feature * np.int32(TILE)
    for lo in range(0, n, TILE):
        m = min(TILE, n - lo)
        for j in range(d):
            for r in range(m):
                tile[j * TILE + r] = x[j, lo + r]
        for t in range(trees):
            f, cut, leaf = feature[t], threshold[t], value[t]
            if done:
                _top(tile, f, cut, ends, middle, node)
            else:
                node[:] = 0
            _rest(tile, places[t], cut, lanes, depth - done, node)
            for r in range(m):
                total[lo + r] += leaf[node[r] - inner]
