"""Compiled loop of ``kernels.forest``; no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

TILE = 256
"""Rows that go down one tree together: tree and rows stay in the first-level cache."""


@jit
def path_lengths(x: Any, feature: Any, threshold: Any, value: Any, depth: int, total: Any) -> None:
    """Add to ``total`` the leaf values of each row, tree by tree."""
    d, n = x.shape
    trees, inner = feature.shape
    tile = np.empty(d * TILE, np.float32)
    node = np.empty(TILE, np.int32)
    one = np.int32(1)
    for lo in range(0, n, TILE):
        m = min(TILE, n - lo)
        for j in range(d):
            for r in range(m):
                tile[j * TILE + r] = x[j, lo + r]
        for t in range(trees):
            f, cut, leaf = feature[t], threshold[t], value[t]
            for r in range(m):
                node[r] = 0
            for _ in range(depth):
                for r in range(m):
                    at = node[r]
                    right = np.int32(tile[f[at] * np.int32(TILE) + np.int32(r)] > cut[at])
                    node[r] = at + at + one + right
            for r in range(m):
                total[lo + r] += leaf[node[r] - inner]
