"""Compiled loop of ``kernels.lookup``; vectorised over boxes and over cores, no fastmath."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

OPENED = np.int32(0x7FFFFFFF)


@jit
def _boxes(x: Any, r: int, low: Any, high: Any, floor: Any, box: Any) -> None:
    """Lower bound of row r's squared mutual reachability in every cell."""
    d, count = low.shape
    zero = np.float32(0.0)
    for g in range(count):
        box[g] = zero
    for j in range(d):
        u = x[j, r]
        a, b = low[j], high[j]
        for g in range(count):
            s = max(a[g] - u, u - b[g], zero)
            box[g] = box[g] + s * s
    for g in range(count):
        box[g] = max(box[g], floor[g])


@jit
def _distances(x: Any, r: int, cores: Any, lo: int, m: int, dist: Any) -> None:
    """Squared distance of row r to cores lo..lo+m, features in order."""
    for i in range(m):
        dist[i] = np.float32(0.0)
    for j in range(cores.shape[0]):
        u = x[j, r]
        row = cores[j]
        for i in range(m):
            s = u - row[lo + i]
            dist[i] = dist[i] + s * s


@jit
def nearest_core(
    x: Any,
    cores: Any,
    own: Any,
    order: Any,
    start: Any,
    low: Any,
    high: Any,
    at: Any,
    reach: Any,
    plain: Any,
) -> None:
    """Fill ``at``, ``reach`` and ``plain``: see ``kernels.lookup``."""
    count = low.shape[1]
    box = np.empty(count, np.float32)
    bits = box.view(np.int32)  # non-negative floats order like their bits
    dist = np.empty(64, np.float32)  # lookup.CELL
    floor = np.empty(count, np.float32)
    for g in range(count):
        floor[g] = own[start[g] : start[g + 1]].min()
    for r in range(x.shape[1]):
        _boxes(x, r, low, high, floor, box)
        best, near, number = np.float32(np.inf), np.float32(np.inf), np.int32(0)
        for _ in range(count):
            closest = OPENED
            for g in range(count):
                closest = min(closest, bits[g])
            cell = 0
            while bits[cell] != closest:
                cell += 1
            if closest == OPENED or box[cell] > best:
                break
            bits[cell] = OPENED
            lo = start[cell]
            m = start[cell + 1] - lo
            _distances(x, r, cores, lo, m, dist)
            for i in range(m):
                q = dist[i]
                mutual = max(q, own[lo + i])
                if mutual <= best:
                    name = order[lo + i]
                    if mutual < best or q < near or (q == near and name < number):
                        best, near, number = mutual, q, name
        at[r], reach[r], plain[r] = number, best, near
