"""Compiled sums of ``nearest_tile_jit``: rows of a tile added up by label, in integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.nearest_lanes import LIMB, add_to, equal, gather, one_of, turn, turn_whole
from segpipe.kernels.simd import SINGLES as LANES
from segpipe.kernels.simd import load, splat, store

FLUSH = 127
"""Additions of 24-bit integers that an int32 lane holds."""


@jit
def few(k: int, d: int) -> bool:
    """Whether adding by mask, all lanes at once, beats adding row by row.

    In hundredths of a nanosecond a row, measured: 1.8 k (d + 4) + 7 d against 180 + 340 d / 16.
    """
    return k * ((d + 7) // 4 * 4) < 100 + 190 * ((d + 15) // 16) - 4 * d


@jit
def by_mask(
    ints: Any, label: Any, lo: int, rows: int, used: int, width: int, k: int, lanes: Any
) -> None:
    """Add a panel to sums per lane (k + 1, width, LANES): two centres and four rows at a time."""
    for g in range(0, k, 2):
        one, two = splat(np.int32(g)), splat(np.int32(g + 1))
        for j in range(0, used, 4):
            to = (g * width + j) * LANES
            on = to + width * LANES
            a0, a1 = load(lanes, to), load(lanes, to + 16)
            a2, a3 = load(lanes, to + 32), load(lanes, to + 48)
            b0, b1 = load(lanes, on), load(lanes, on + 16)
            b2, b3 = load(lanes, on + 32), load(lanes, on + 48)
            at = j * rows
            for r in range(0, rows, LANES):
                which = load(label, lo + r)
                i0, i1 = load(ints, at + r), load(ints, at + rows + r)
                i2, i3 = load(ints, at + 2 * rows + r), load(ints, at + 3 * rows + r)
                mask = equal(which, one)
                a0, a1 = gather(mask, a0, i0), gather(mask, a1, i1)
                a2, a3 = gather(mask, a2, i2), gather(mask, a3, i3)
                mask = equal(which, two)
                b0, b1 = gather(mask, b0, i0), gather(mask, b1, i1)
                b2, b3 = gather(mask, b2, i2), gather(mask, b3, i3)
            store(lanes, to, a0)
            store(lanes, to + 16, a1)
            store(lanes, to + 32, a2)
            store(lanes, to + 48, a3)
            store(lanes, on, b0)
            store(lanes, on + 16, b1)
            store(lanes, on + 32, b2)
            store(lanes, on + 48, b3)


@jit
def flush(lanes: Any, sums: Any, turned: Any) -> None:
    """Empty the lanes into the sums (k + 1, width), whose first row is noise."""
    k, width = sums.shape
    flat, none = sums.reshape(sums.size), splat(np.int32(0))
    for to in range(width, k * width, LANES):
        at = (to - width) * LANES
        turn(lanes, at, turned)
        for i in range(LANES):
            add_to(flat, to, turned, i * LANES)
            store(lanes, at + i * LANES, none)


@jit
def by_row(
    x: Any, label: Any, lo: int, rows: int, d: int, sums: Any, squares: Any, turned: Any
) -> None:
    """Add a tile (at least d rounded up to sixteen features) to the sums row by row."""
    width = sums.shape[1]
    flat = sums.reshape(sums.size)
    squares[:] = 0
    for r in range(0, rows, LANES):
        for j in range(0, d, LANES):
            turn_whole(x, j * rows + r, rows, squares, r, turned)
            for i in range(LANES):
                to = (np.int64(one_of(label, lo + r + i)) + 1) * width + j
                add_to(flat, to, turned, i * LANES)
        for i in range(LANES):
            own = flat[(np.int64(one_of(label, lo + r + i)) + 1) * width + d :]
            norm = one_of(squares, r + i // 2 + i % 2 * 8)
            own[0] += norm & LIMB
            own[1] += (norm >> 20) & LIMB
            own[2] += norm >> 40
            own[3] += 1


@jit
def squared(sums: Any, centres: Any, out: Any) -> None:
    """Squared errors about the centres' grid points, exactly, in units of 2^-16 and of 2^-40.

    Of a centre R with n rows, sum X and sum X^2: sum X^2 - R (2 sum X - n R). The products are
    taken by 28 bits, so that nothing overflows.
    """
    k, d = centres.shape
    low = (1 << 24) - 1
    for g in range(k):
        high = sums[g + 1, d + 1] // 16 + (sums[g + 1, d + 2] << 16) + (sums[g + 1, d] >> 24)
        rest = (sums[g + 1, d] & low) + ((sums[g + 1, d + 1] & 15) << 20)
        for j in range(d):
            point = np.int64(np.rint(centres[g, j] * 2.0**20))
            factor = 2 * sums[g + 1, j] - sums[g + 1, d + 3] * point
            high -= (point * (factor >> 28)) << 4
            part = point * (factor & ((1 << 28) - 1))
            high -= part >> 24
            rest -= part & low
        high += rest >> 24
        out[0, g] = np.float64(high) * 2.0**-16
        out[1, g] = np.float64(rest & low) * 2.0**-40
