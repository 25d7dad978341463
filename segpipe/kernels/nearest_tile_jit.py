"""Compiled Lloyd step of ``kernels.nearest``: one pass over a block, tile by tile.

A tile is packed so that it stays in the first cache levels, and the next one is asked for
meanwhile. Distances are |c|^2 - 2 c x by fused multiply-adds, features in order, for sixty-four
rows and four centres at a time; every row goes through the same code, missing rows of the last
tile as zeros. Sums are sums of integers: features in units of 2^-20, squared norms in units of
2^-40.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.nearest_lanes import (
    as_longs,
    even_squares,
    fetch_near,
    limb,
    most,
    odd_squares,
    size,
    whole,
)
from segpipe.kernels.nearest_scan_jit import STEP, ZERO, ask, four, fused, put, scan, shared, take
from segpipe.kernels.nearest_sums_jit import FLUSH, by_mask, by_row, few, flush
from segpipe.kernels.simd import SINGLES as LANES
from segpipe.kernels.simd import load, mul, some, splat

PACKED = 2048
"""Values of a tile, where STEP allows: 8 KiB."""
AHEAD, WIDE = 8, 128
"""Features that packing asks for ahead where the scan does not ask for the next tile: of more than
WIDE, lines of one row number would evict one another before they are used."""
LARGEST = np.float32(16.0)
"""Features beyond this do not fit the integers; a block holds none."""
UNIT = np.float32(2.0**20)


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
def fits(x: Any, norm: Any) -> Any:
    """No feature of the tile is beyond LARGEST; ``norm``: squared norms of its rows."""
    largest = splat(ZERO)
    for i in range(0, len(norm), LANES):
        largest = most(largest, load(norm, i))
    if not some(splat(LARGEST * LARGEST), largest):
        return True
    m0 = splat(ZERO)
    m1, m2, m3 = m0, m0, m0
    for i in range(0, len(x), STEP):
        m0, m1 = most(m0, size(load(x, i))), most(m1, size(load(x, i + 16)))
        m2, m3 = most(m2, size(load(x, i + 32))), most(m3, size(load(x, i + 48)))
    largest = most(most(m0, m1), most(m2, m3))
    return not some(splat(LARGEST), largest)


@jit
def pack(flat: Any, stride: int, lo: int, rows: int, d: int, x: Any, norm: Any) -> None:
    """Rows from lo on as (d, rows), and their squared norms."""
    ahead = AHEAD * stride if d > WIDE else 0
    for r in range(0, rows, STEP):
        total = four(splat(ZERO))
        at, to = lo + r, r
        for _ in range(d):
            ask(flat, at + ahead)
            v = take(flat, at)
            put(x, to, v)
            total = fused(v, v, total)
            at += stride
            to += rows
        put(norm, r, total)


@jit
def integers(x: Any, rows: int, d: int, ints: Any, flat: Any, stride: int, later: int) -> None:
    """A tile in units of 2^-20, in its place; then squared norms in units of 2^-40, and ones.

    ``ints`` (d + 4, rows) is the memory of ``x``; squared norms take three rows of 20 bits. Asks
    for the rows at ``later`` meanwhile.
    """
    unit, one = splat(UNIT), splat(np.int32(1))
    for r in range(0, rows, STEP):
        e0 = as_longs(splat(np.int32(0)))
        e1, e2, e3 = e0, e0, e0
        o0, o1, o2, o3 = e0, e0, e0, e0
        to, at = r, later + r
        for _ in range(d):
            for line in range(0, STEP, LANES):
                fetch_near(flat, at + line)
            at += stride
            v = take(x, to)
            i0, i1 = whole(mul(v[0], unit)), whole(mul(v[1], unit))
            i2, i3 = whole(mul(v[2], unit)), whole(mul(v[3], unit))
            put(ints, to, (i0, i1, i2, i3))
            e0, o0 = even_squares(e0, i0), odd_squares(o0, i0)
            e1, o1 = even_squares(e1, i1), odd_squares(o1, i1)
            e2, o2 = even_squares(e2, i2), odd_squares(o2, i2)
            e3, o3 = even_squares(e3, i3), odd_squares(o3, i3)
            to += rows
        for by in range(0, 60, 20):
            s = np.int32(by)
            put(ints, to, (limb(e0, o0, s), limb(e1, o1, s), limb(e2, o2, s), limb(e3, o3, s)))
            to += rows
        put(ints, to, four(one))


@jit
def cut(block: Any, label: Any, known: bool, lo: int, rows: int, edge: Any, own: Any) -> None:
    """The last rows of a block, from lo on, into the zeros of a tile of their own."""
    m = block.shape[1] - lo
    if known:
        own[:m] = label[lo:]
    for j in range(len(block)):
        edge[j * rows : j * rows + m] = block[j, lo:]


@jit
def tell(out: Any, m: int, lo: int, label: Any, best: Any, second: Any) -> None:
    """The first m rows of a tile's own results, from lo on; the others have no label."""
    label[lo : lo + m] = out[0][:m]
    out[0][m:] = -1
    if len(best) > 0:
        best[lo : lo + m] = out[1][:m]
        second[lo : lo + m] = out[2][:m]


@jit
def lloyd(
    block: Any,
    centres: Any,
    known: bool,
    label: Any,
    best: Any,
    second: Any,
    sums: Any,
    starts: Any,
) -> bool:
    """Labels (unless known), both distances and integer sums (k + 1, width), unless empty.

    ``width`` is d + 4 rounded up to a multiple of sixteen. Distances without room stay in the
    first cache level, a tile at a time. ``starts`` as of ``scan``, with room for a lot more.
    False: a feature is beyond LARGEST.
    """
    d, n = block.shape
    flat = block.reshape(d * n)
    rows = tile_rows(d)
    k, width = sums.shape[0] - 1, sums.shape[1]
    apart = not known and len(best) == 0
    used = (d + 7) // 4 * 4
    masks = few(k, d)
    packed, square = shared(centres)
    tile = room(4 * (d + LANES) * rows)
    x, ints = tile.view(np.float32), tile.view(np.int32)
    squares = room(8 * rows).view(np.int64)
    total = room(8 * sums.size).view(np.int64).reshape(sums.shape)
    norm = room(4 * rows).view(np.float32)
    lanes = room(4 * (k + 1) * width * LANES if masks else 0).view(np.int32)
    edge, edge_label = np.zeros(d * rows, np.float32), np.full(rows, -1, np.int32)
    edge_out = (edge_label, np.empty(rows, np.float32), np.empty(rows, np.float32))
    turned = room(4 * LANES * LANES).view(np.int32)
    held = 0
    for lo in range(0, n, rows):
        m = min(rows, n - lo)
        source, stride, at, names, where, out = flat, n, lo, label, lo, (label, best, second)
        if m < rows or apart:
            names, where, out = edge_label, 0, edge_out
        if m < rows:
            cut(block, label, known, lo, rows, edge, edge_label)
            source, stride, at = edge, rows, 0
        pack(source, stride, at, rows, d, x, norm)
        if not known:
            soon = max(0, min(lo + rows, n - rows))
            if d > WIDE:
                scan(x, norm, rows, d, packed, square, out, where, x, rows, 0, starts)
            else:
                scan(x, norm, rows, d, packed, square, out, where, flat, n, soon, starts)
            if m < rows or apart:
                tell(edge_out, m, lo, label, best, second)
        if k < 0:
            continue
        if not fits(x[: d * rows], norm):
            return False
        if masks:
            integers(x, rows, d, ints, flat, n, max(0, min(lo + 2 * rows, n - rows)))
            by_mask(ints, names, where, rows, used, width, k, lanes)
            held += rows // LANES
            if held + rows // LANES > FLUSH or lo + rows >= n:
                flush(lanes, total, turned)
                held = 0
        else:
            by_row(x, names, where, rows, d, total, squares, turned)
    sums += total
    return True
