"""Squared Mahalanobis distance by a triangular factor, features in order.

No BLAS: its bits depend on a row's place in the block. Small calls take a NumPy path and large
ones a compiled loop (``ellipsoid_jit``), with the same bits.
"""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np

from segpipe.kernels.nearest import Singles
from segpipe.kernels.nearest_loops import SMALL
from segpipe.values import Block, Floats


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import ellipsoid_jit

    return ellipsoid_jit


def squared(x: Block, centre: Singles, factor: Singles) -> Floats:
    """|factor (x - centre)|^2 of each row, (n,).

    Parameters
    ----------
    x : (d, n) float32
    centre : (d,)
    factor : (d, d) lower triangular
    """
    d, n = x.shape
    if d * x.size > SMALL:
        out = np.empty(n)
        _compiled().squared(x, centre, factor, out)
        return out
    away = x - centre[:, None]
    total = np.zeros(n, np.float32)
    for i in range(d):
        side = np.zeros(n, np.float32)
        for j in range(i + 1):
            side += factor[i, j] * away[j]
        total += side * side
    return total.astype(np.float64)
