"""Isolation forests as flat arrays: every tree a complete binary tree of the same depth.

Node i has children 2i+1 (value <= threshold) and 2i+2. A leaf that scikit-learn has higher up is
carried down to the last level through nodes whose threshold is infinite, so that every row takes
the same number of branch-free steps. Small calls take a NumPy path and large ones compiled loops
(``forest_jit``), with the same bits.
"""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np

from segpipe.kernels.nearest import Singles
from segpipe.values import Block, Floats, Ints

SMALL_STEPS = 1 << 21
"""Tree steps below which NumPy beats the import of numba."""


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import forest_jit

    return forest_jit


def path_lengths(x: Block, feature: Ints, threshold: Singles, value: Floats) -> Floats:
    """Sum over trees (n,) of the value of the leaf that each row falls into.

    Parameters
    ----------
    x : (d, n) float32
    feature, threshold : (trees, 2^depth - 1) of the inner nodes, level by level
    value : (trees, 2^depth) of the leaves
    """
    trees, inner = feature.shape
    depth = inner.bit_length()
    n = x.shape[1]
    total = np.zeros(n)
    if trees * depth * n > SMALL_STEPS:
        _compiled().path_lengths(x, feature, threshold, value, depth, total)
        return total
    rows = np.arange(n)
    for t in range(trees):
        node = np.zeros(n, np.intp)
        for _ in range(depth):
            right = x[feature[t, node], rows] > threshold[t, node]
            node = 2 * node + 1 + right
        total += value[t, node - inner]
    return total
