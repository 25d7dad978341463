"""Compiled loops of ``kernels.crowds``."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit


@jit
def _cell(key: Any, salt: Any, mask: Any) -> Any:
    """The splitmix64 finaliser, as in ``kernels.hashing``, cut to a cell."""
    z = (key ^ salt) + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (z ^ (z >> np.uint64(31))) & mask


@jit
def count(key: Any, failed: Any, salt: Any, counts: Any, fails: Any) -> None:
    """Add each row to its cell of (cells,) ``counts``, the failed ones to ``fails`` as well."""
    mask = np.uint64(len(counts) - 1)
    for i in range(len(key)):
        cell = _cell(key[i], salt, mask)
        counts[cell] += 1
        fails[cell] += failed[i]


@jit
def look_up(
    key: Any, first: Any, second: Any, counts: Any, fails: Any, rows: Any, bad: Any
) -> None:
    """The smaller of each key's two cells in (2, cells) ``counts``, and its failures."""
    mask = np.uint64(counts.shape[1] - 1)
    for i in range(len(key)):
        a, b = _cell(key[i], first, mask), _cell(key[i], second, mask)
        if counts[1, b] < counts[0, a]:
            rows[i], bad[i] = counts[1, b], fails[1, b]
        else:
            rows[i], bad[i] = counts[0, a], fails[0, a]
