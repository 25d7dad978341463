"""Compiled loop of ``kernels.bins``."""

from __future__ import annotations

from typing import Any

from segpipe.kernels.jit import jit


@jit
def add(score: Any, edges: Any, start: Any, low: float, factor: float, histogram: Any) -> None:
    """See ``kernels.bins.Bins.add``: the score's even cell leaves few edges to search."""
    last = len(start) - 2.0
    for i in range(len(score)):
        value = score[i]
        cell = int(min(max((value - low) * factor, 0.0), last))
        under, over = start[cell], start[cell + 1]
        while under < over:  # edges[:under] <= value < edges[over:]
            middle = (under + over) // 2
            if edges[middle] <= value:
                under = middle + 1
            else:
                over = middle
        histogram[under] += 1
