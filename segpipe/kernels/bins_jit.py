"""Compiled loop of ``kernels.bins``."""

from __future__ import annotations

from typing import Any

from segpipe.kernels.jit import jit


@jit
def _edges_below(value: Any, edges: Any, start: Any, low: float, factor: float) -> Any:
    """Edges at or below ``value``."""
    cell = int(min(max((value - low) * factor, 0.0), len(start) - 2.0))
    under, over = start[cell], start[cell + 1]
    while under < over:  # edges[:under] <= value < edges[over:]
        middle = (under + over) // 2
        if edges[middle] <= value:
            under = middle + 1
        else:
            over = middle
    return under


@jit
def add(score: Any, edges: Any, start: Any, low: float, factor: float, histogram: Any) -> None:
    """See ``kernels.bins.Bins.add``: the score's even cell leaves few edges to search."""
    for i in range(len(score)):
        histogram[_edges_below(score[i], edges, start, low, factor)] += 1


@jit
def interpolate(
    score: Any,
    edges: Any,
    start: Any,
    low: float,
    factor: float,
    heights: Any,
    slopes: Any,
    out: Any,
) -> None:
    """See ``kernels.bins.Bins.interpolate``."""
    last = len(edges) - 1
    for i in range(len(score)):
        at = _edges_below(score[i], edges, start, low, factor) - 1
        if at < 0:
            out[i] = 0.0
        elif at >= last:
            out[i] = heights[last]
        else:
            out[i] = slopes[at] * (score[i] - edges[at]) + heights[at]
