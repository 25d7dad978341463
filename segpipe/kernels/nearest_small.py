"""What ``nearest_tile_jit`` computes, in NumPy and to the bit: small tables never import numba."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.values import Block, Floats, Ints

Singles = npt.NDArray[np.float32]
Longs = npt.NDArray[np.int64]
LARGEST = 16.0
"""Features beyond it (blocks hold none) do not fit the integers of the compiled loops."""


def fused(a: Singles, b: Singles, c: Singles) -> Singles:
    """Float32 a b + c rounded once, as the fused multiply-add does.

    The product is exact in float64; the sum is rounded to odd (its last bit set unless it is
    exact), after which rounding to float32 is that of the exact sum (Boldo & Melquiond 2008).
    """
    product = a.astype(np.float64) * b
    total = product + c
    part = total - product
    lost = (product - (total - part)) + (c - part)
    bits = total.view(np.int64)
    away = np.where((lost > 0) == (total > 0), 1, -1)  # towards the exact sum, in magnitude
    bits += np.where((lost != 0) & (bits & 1 == 0), away, 0)
    return total.astype(np.float32)


def least(x: Block, centres: Floats, starts: Ints | None = None) -> tuple[Ints, Singles, Singles]:
    """Nearest centre (the first of equals), squared distance to it, and to the next.

    ``starts``: of each centre the first of its group; the next is of another group. Distances are
    |x|^2 + (|c|^2 - 2 c x), never below 0; what is compared is the part in brackets.
    """
    c = centres.astype(np.float32)
    square = np.zeros(len(c))
    for j in range(len(x)):
        square += np.square(c[:, j].astype(np.float64))
    total = np.repeat(square.astype(np.float32)[:, None], x.shape[1], axis=1)
    norm = np.zeros(x.shape[1], np.float32)
    for j in range(len(x)):
        total = fused(x[j], np.float32(-2) * c[:, j, None], total)
        norm = fused(x[j], x[j], norm)
    at, rows = np.argmin(total, axis=0), np.arange(x.shape[1])
    best = total[at, rows]
    if starts is None:
        total[at, rows] = np.inf
    else:
        total[starts[:, None] == starts[at]] = np.inf
    zero = np.float32(0)
    second = np.maximum(total.min(axis=0) + norm, zero)
    return at.astype(np.int32), np.maximum(best + norm, zero), second


def add_rows(x: Block, label: Ints, sums: Longs) -> bool:
    """Add to integer sums (k + 1, width), noise first; False if a feature is beyond LARGEST.

    Columns: features in units of 2^-20; squared norm in units of 2^-40 by 20 bits; rows.
    """
    if x.size and not np.abs(x).max() <= LARGEST:
        return False
    d, k = len(x), len(sums)
    whole = np.rint(x * np.float32(2.0**20)).astype(np.int64)
    norm = np.square(whole).sum(axis=0)
    limbs = [(norm >> by) & ((1 << 20) - 1) for by in (0, 20, 40)]
    columns: list[Any] = [*whole, *limbs, np.ones(x.shape[1], np.int64)]
    for j, values in enumerate(columns[: d + 4]):
        sums[:, j] += np.bincount(label + 1, values, k).astype(np.int64)
    return True


def squared(sums: Longs, centres: Floats) -> Floats:
    """(2, k) squared errors about the centres' grid points, in units of 2^-16 and of 2^-40.

    Of a centre R with n rows, sum X and sum X^2: sum X^2 - R (2 sum X - n R), products by 28 bits.
    """
    d = centres.shape[1]
    own, low = sums[1:], (1 << 24) - 1
    point = np.rint(centres * 2.0**20).astype(np.int64)
    factor = 2 * own[:, :d] - own[:, d + 3, None] * point
    part = point * (factor & ((1 << 28) - 1))
    high = own[:, d + 1] // 16 + (own[:, d + 2] << 16) + (own[:, d] >> 24)
    high = high - ((point * (factor >> 28)) << 4).sum(axis=1) - (part >> 24).sum(axis=1)
    rest = (own[:, d] & low) + ((own[:, d + 1] & 15) << 20) - (part & low).sum(axis=1)
    high = high + (rest >> 24)
    return np.array([high * 2.0**-16, (rest & low) * 2.0**-40])
