"""Nearest core by mutual reachability: max(distance to the core, the core's own distance).

Cores are kept in cells of at most 128, split at medians; a cell whose bounding box is farther
than the best core so far is never opened. Box distances are summed in the same order and
precision as core distances, so the bound holds bit for bit and the search is exact.
Small calls take a NumPy path and large ones compiled loops (``lookup_jit``), with the same bits.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

import numpy as np
import numpy.typing as npt

from segpipe.kernels.nearest import Singles, distances
from segpipe.kernels.nearest_loops import SMALL
from segpipe.values import Block, Ints

CELL = 128


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import lookup_jit

    return lookup_jit


@dataclass(frozen=True, slots=True, eq=False)
class Cells:
    """Cores grouped into cells; core i of the original order is ``order``'s entry at its place."""

    cores: Singles
    """(d, m) feature-major, cell by cell."""
    reach: Singles
    """(m,) squared own distance of each core."""
    order: Ints
    """(m,) number of each core."""
    start: Ints
    """(cells + 1,) first core of each cell."""
    low: Singles
    """(d, cells) lower corner of each bounding box."""
    high: Singles
    """(d, cells) upper corner."""


def cells(cores: Singles, own: Singles) -> Cells:
    """Group (m, d) cores with their own distances (m,); m >= 1. Deterministic."""
    waiting = [np.arange(cores.shape[0])]
    done: list[npt.NDArray[np.intp]] = []
    while waiting:
        members = waiting.pop()
        if len(members) <= CELL:
            done.append(members)
            continue
        points = cores[members]
        widest = int(np.argmax(points.max(axis=0) - points.min(axis=0)))
        ranked = members[np.argsort(points[:, widest], kind="stable")]
        waiting += [ranked[len(ranked) // 2 :], ranked[: len(ranked) // 2]]
    order = np.concatenate(done)
    return Cells(
        np.ascontiguousarray(cores[order].T, np.float32),
        np.asarray(own[order] * own[order], np.float32),
        order.astype(np.int32),
        np.cumsum([0] + [len(members) for members in done]).astype(np.int32),
        np.stack([cores[members].min(axis=0) for members in done], axis=1).astype(np.float32),
        np.stack([cores[members].max(axis=0) for members in done], axis=1).astype(np.float32),
    )


def nearest_core(x: Block, cores: Cells) -> tuple[Ints, Singles, Singles]:
    """Number of the nearest core, squared mutual reachability and squared distance, each (n,).

    Of equally reachable cores the nearest in plain distance wins, then the lowest number.
    """
    n, m = x.shape[1], len(cores.reach)
    at = np.zeros(n, np.int32)
    reach, plain = np.empty(n, np.float32), np.empty(n, np.float32)
    if m * x.size > SMALL:
        _compiled().nearest_core(
            x, cores.cores, cores.reach, cores.order, cores.start, cores.low, cores.high,
            at, reach, plain,
        )  # fmt: skip
        return at, reach, plain
    back = np.argsort(cores.order)
    d2 = distances(x, cores.cores.T[back])
    mutual = np.maximum(d2, cores.reach[back][:, None])
    reach = mutual.min(axis=0)
    tied = np.where(mutual == reach, d2, np.inf)
    at = np.argmin(tied, axis=0).astype(np.int32)
    return at, reach, tied[at, np.arange(n)].astype(np.float32)
