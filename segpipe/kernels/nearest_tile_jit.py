"""Compiled Lloyd step of ``kernels.nearest``: one pass over a block, tile by tile.

A tile is packed so that it stays in the first cache levels, and the next one is asked for
meanwhile. Distances are |c|^2 - 2 c x by fused multiply-adds, features in order, in vectors of
sixteen rows; every row goes through the same code, missing rows of the last tile as zeros. Sums
are sums of integers: features in units of 2^-20, squared norms in units of 2^-40.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.nearest_lanes import (
    even_squares,
    fetch,
    least,
    less,
    limb,
    most,
    no_longs,
    odd_squares,
    pick,
    size,
    whole,
)
from segpipe.kernels.nearest_sums_jit import FEW, FLUSH, by_mask, by_row, flush
from segpipe.kernels.simd import SINGLES as LANES
from segpipe.kernels.simd import add, fma, load, mul, splat, store

STEP = 64
"""Rows whose distances to two centres are held in registers; tiles are multiples of it."""
PACKED = 2048
"""Values of a tile, where STEP allows: 8 KiB as float32 and as much as int32."""
WIDE = 16
"""Features whose lines of one row number fit one set of the second-level cache."""
LARGEST = np.float32(16.0)
"""Features beyond this do not fit the integers; a block holds none."""
UNIT = np.float32(2.0**20)
INF = np.float32(np.inf)
ZERO = np.float32(0.0)


@jit
def room(size: int) -> Any:
    """Zeroed bytes that begin a 64-byte line: no vector in them straddles two."""
    raw = np.zeros(size + 64, np.uint8)
    at = -raw.ctypes.data % 64
    return raw[at : at + size]


@jit
def tile_rows(d: int) -> int:
    """Rows of a tile."""
    return max(STEP, min(1024, PACKED // d // STEP * STEP))


@jit
def pairs(centres: Any) -> Any:
    """Centres two by two, (k / 2, d, 2) times -2, and their squared norms; the odd one is inf."""
    k, d = centres.shape
    even = (k + 1) // 2 * 2
    out, square = np.zeros(even * d, np.float32), np.full(even, INF)
    for c in range(k):
        total = 0.0
        for j in range(d):
            value = np.float32(centres[c, j])
            total += np.float64(value) * np.float64(value)
            out[(c // 2 * d + j) * 2 + c % 2] = np.float32(-2.0) * value
        square[c] = np.float32(total)
    return out, square


@jit
def fits(x: Any, high: Any) -> Any:
    """No feature of the tile is beyond LARGEST; ``high``: largest squared norms of its rows."""
    if high.max() <= LARGEST * LARGEST:
        return True
    largest = splat(ZERO)
    for i in range(0, len(x), LANES):
        largest = most(largest, size(load(x, i)))
    store(high, 0, largest)
    return high.max() <= LARGEST


@jit
def pack(flat: Any, stride: int, lo: int, rows: int, d: int, x: Any, ints: Any, norm: Any) -> bool:
    """Rows from lo on as float32 (d, rows) and as integers; False if one does not fit.

    ``ints`` (d + 4, rows): features in units of 2^-20; squared norm in units of 2^-40, 20 bits
    a row; and one. Empty if no sums are wanted. ``norm`` (rows + LANES): float32 squared norm.
    """
    unit = splat(UNIT)
    high = splat(ZERO)
    for r in range(0, rows, LANES):
        square = splat(ZERO)
        at, to = lo + r, r
        if len(ints):
            even = no_longs(splat(np.int32(0)))
            odd = even
            for _ in range(d):
                v = load(flat, at)
                store(x, to, v)
                square = fma(v, v, square)
                i = whole(mul(v, unit))
                store(ints, to, i)
                even, odd = even_squares(even, i), odd_squares(odd, i)
                at += stride
                to += rows
            store(ints, to, limb(even, odd, np.int32(0)))
            store(ints, to + rows, limb(even, odd, np.int32(20)))
            store(ints, to + 2 * rows, limb(even, odd, np.int32(40)))
        else:
            for _ in range(d):
                v = load(flat, at)
                store(x, to, v)
                square = fma(v, v, square)
                at += stride
                to += rows
        store(norm, r, square)
        high = most(high, square)
    store(norm, rows, high)
    return len(ints) == 0 or fits(x, norm[rows:])


@jit
def copy(flat: Any, stride: int, lo: int, rows: int, d: int, x: Any) -> None:
    """Rows from lo on, feature by feature: so many features would evict one another's lines."""
    for j in range(d):
        at, to = j * stride + lo, j * rows
        for r in range(0, rows, LANES):
            store(x, to + r, load(flat, at + r))


@jit
def keep(v: Any, name: Any, label: Any, best: Any, second: Any) -> Any:
    """Nearest and second so far, after one more centre."""
    return pick(less(v, best), name, label), least(v, best), least(second, most(best, v))


@jit
def distance(v: Any, norm: Any, at: int) -> Any:
    """The squared distance: what the expansion lacks, and nothing below zero."""
    return most(add(v, load(norm, at)), splat(ZERO))


@jit
def scan(
    x: Any,
    norm: Any,
    rows: int,
    d: int,
    centres: Any,
    square: Any,
    k: int,
    out: Any,
    lo: int,
    flat: Any,
    stride: int,
    soon: int,
) -> None:
    """Label, best and second (``out``, from lo on) of a tile; asks for the rows at ``soon``."""
    label, best, second = out
    for r in range(0, rows, STEP):
        b0 = splat(INF)
        b1, b2, b3 = b0, b0, b0
        s0, s1, s2, s3 = b0, b0, b0, b0
        l0 = splat(np.int32(0))
        l1, l2, l3 = l0, l0, l0
        p = 0
        for c in range(0, k, 2):
            u0, v0 = splat(square[c]), splat(square[c + 1])
            u1, u2, u3 = u0, u0, u0
            v1, v2, v3 = v0, v0, v0
            at = r
            ask = soon + r + min(8 * c, 48)
            for _ in range(d):
                x0, x1, x2, x3 = load(x, at), load(x, at + 16), load(x, at + 32), load(x, at + 48)
                a, b = splat(centres[p]), splat(centres[p + 1])
                u0, u1, u2, u3 = fma(x0, a, u0), fma(x1, a, u1), fma(x2, a, u2), fma(x3, a, u3)
                v0, v1, v2, v3 = fma(x0, b, v0), fma(x1, b, v1), fma(x2, b, v2), fma(x3, b, v3)
                fetch(flat, ask)
                at += rows
                ask += stride
                p += 2
            a = splat(np.int32(c))
            l0, b0, s0 = keep(u0, a, l0, b0, s0)
            l1, b1, s1 = keep(u1, a, l1, b1, s1)
            l2, b2, s2 = keep(u2, a, l2, b2, s2)
            l3, b3, s3 = keep(u3, a, l3, b3, s3)
            b = splat(np.int32(c + 1))
            l0, b0, s0 = keep(v0, b, l0, b0, s0)
            l1, b1, s1 = keep(v1, b, l1, b1, s1)
            l2, b2, s2 = keep(v2, b, l2, b2, s2)
            l3, b3, s3 = keep(v3, b, l3, b3, s3)
        to = lo + r
        store(best, to, distance(b0, norm, r))
        store(best, to + 16, distance(b1, norm, r + 16))
        store(best, to + 32, distance(b2, norm, r + 32))
        store(best, to + 48, distance(b3, norm, r + 48))
        store(second, to, distance(s0, norm, r))
        store(second, to + 16, distance(s1, norm, r + 16))
        store(second, to + 32, distance(s2, norm, r + 32))
        store(second, to + 48, distance(s3, norm, r + 48))
        store(label, to, l0)
        store(label, to + 16, l1)
        store(label, to + 32, l2)
        store(label, to + 48, l3)


@jit
def lloyd(
    block: Any, centres: Any, known: bool, label: Any, best: Any, second: Any, sums: Any
) -> bool:
    """Labels (unless known), both distances and integer sums (k + 1, width), unless empty.

    ``width`` is d + 4 rounded up to a multiple of sixteen. False: a feature is beyond LARGEST.
    """
    d, n = block.shape
    flat = block.reshape(d * n)
    rows = tile_rows(d)
    k, width = sums.shape[0] - 1, sums.shape[1]
    used = min(width, (d + 7) // 4 * 4)
    masks = k * used <= FEW * width
    packed, square = pairs(centres)
    x, norm = room(4 * d * rows).view(np.float32), room(4 * (rows + LANES)).view(np.float32)
    ints = room(4 * width * rows).view(np.int32)
    ints[(d + 3) * rows : min(width, d + 4) * rows] = 1
    lanes = room(4 * (k + 1) * width * LANES if masks else 0).view(np.int32)
    edge, edge_label = np.zeros(d * rows, np.float32), np.full(rows, -1, np.int32)
    edge_out = (edge_label, np.empty(rows, np.float32), np.empty(rows, np.float32))
    turned = room(4 * LANES * LANES).view(np.int32)
    held = 0
    for lo in range(0, n, rows):
        m = min(rows, n - lo)
        if m == rows:
            source, stride, at, where, names = flat, n, lo, lo, label
            out = (label, best, second)
            if d > WIDE:
                copy(flat, n, lo, rows, d, x)
                source, stride, at = x, rows, 0
        else:
            for j in range(d):
                edge[j * rows : j * rows + m] = block[j, lo:]
            source, stride, at, where, names = edge, rows, 0, 0, edge_label
            out = edge_out
        if not pack(source, stride, at, rows, d, x, ints, norm):
            return False
        if not known:
            soon = max(0, min(lo + rows, n - rows))
            scan(x, norm, rows, d, packed, square, len(centres), out, where, flat, n, soon)
            if m < rows:
                label[lo:] = edge_out[0][:m]
                best[lo:] = edge_out[1][:m]
                second[lo:] = edge_out[2][:m]
                edge_label[m:] = -1
        elif m < rows:
            edge_label[:m] = label[lo:]
        if masks:
            by_mask(ints, names, where, rows, used, width, k, lanes)
            held += rows // LANES
            if held + rows // LANES > FLUSH or lo + rows >= n:
                flush(lanes, sums, turned)
                held = 0
        else:
            by_row(ints, names, where, rows, sums, turned)
    return True
