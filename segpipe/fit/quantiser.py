"""How many centres a quantiser needs, where nothing natural is looked for: palettes."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from segpipe.fit.kmeans import fit_kmeans, subset
from segpipe.kernels.nearest import lloyd_sums
from segpipe.values import Block, Floats

LEFT = 0.1
"""Share of the variance that may be left: 7 colours of a photograph, 3 of a grey one."""
SIZE_ROWS, SIZE_STARTS = 20_000, 3


def left_over(x: Block, w: Floats, k_max: int, seed: int) -> dict[int, float]:
    """Share of the variance that each number of centres leaves, up to the first that is enough.

    A quantiser needs no valleys between its cells; photographs seldom have any.
    """
    few = subset(x.shape[1], SIZE_ROWS, seed)
    xs, ws = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    centres = ((ws * xs.astype(np.float64)).sum(axis=1) / ws.sum())[None, :]
    total = lloyd_sums(xs, ws, centres).inertia
    left = {1: 1.0 if total > 0 else 0.0}
    while left[len(left)] > LEFT and len(left) < min(k_max, xs.shape[1]):
        k = len(left) + 1
        centres = fit_kmeans(xs, ws, k, SIZE_STARTS, seed).centres
        left[k] = lloyd_sums(xs, ws, centres).inertia / total
    return left


def enough(left: Mapping[int, float]) -> int:
    """The smallest number that leaves at most ``LEFT``; else the largest tried."""
    return next((k for k, share in left.items() if share <= LEFT), max(left))
