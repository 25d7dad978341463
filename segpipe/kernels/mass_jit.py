"""Compiled loop of ``kernels.mass``; vectorised over the micro-clusters of one row, no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

TAKEN = np.int32(0x7FFFFFFF)
LANES = 16


@jit
def _distances(x: Any, r: int, centres: Any, spread: Any, dist: Any) -> None:
    """Mean squared distance of row r to the members of every micro-cluster, features in order."""
    d, k = centres.shape
    u = x[0, r]
    row = centres[0]
    for c in range(k):
        s = u - row[c]
        dist[c] = s * s
    j = 1
    while j + 4 <= d:  # four features per pass: a quarter of the loads and stores
        a, b, e, f = x[j, r], x[j + 1, r], x[j + 2, r], x[j + 3, r]
        ca, cb, ce, cf = centres[j], centres[j + 1], centres[j + 2], centres[j + 3]
        for c in range(k):
            s, t, v, w = a - ca[c], b - cb[c], e - ce[c], f - cf[c]
            dist[c] = (((dist[c] + s * s) + t * t) + v * v) + w * w
        j += 4
    while j < d:
        u = x[j, r]
        row = centres[j]
        for c in range(k):
            s = u - row[c]
            dist[c] = dist[c] + s * s
        j += 1
    for c in range(k):
        dist[c] = dist[c] + spread[c]


@jit
def mean_square(x: Any, centres: Any, share: Any, spread: Any, mass: float, out: Any) -> None:
    """``out[r]``: see ``kernels.mass``; centres (d, k) with k a multiple of 16."""
    k = centres.shape[1]
    dist = np.empty(k, np.float32)
    # Non-negative floats order like their bits, and integer minima vectorise without fastmath.
    bits = dist.view(np.int32)
    least = np.empty(k // LANES, np.int32)
    for r in range(x.shape[1]):
        _distances(x, r, centres, spread, dist)
        for g in range(k // LANES):
            low = TAKEN
            for i in range(g * LANES, g * LANES + LANES):
                low = min(low, bits[i])
            least[g] = low
        total = 0.0
        left = mass
        for _ in range(k):
            at = 0
            for g in range(1, k // LANES):
                at = g if least[g] < least[at] else at
            low = least[at]
            i = at * LANES
            while bits[i] != low:
                i += 1
            take = min(share[i], left)
            total += take * np.float64(dist[i])
            left -= take
            if left <= 0.0:
                break
            bits[i] = TAKEN
            low = TAKEN
            for i in range(at * LANES, at * LANES + LANES):
                low = min(low, bits[i])
            least[at] = low
        out[r] = total / mass
