"""Trailing windows of connections per source and per destination.

A row at t sees the rows of its source (destination) with t - width < ts <= t, itself and all rows
of the same time included; the last-100 window sees the latest 100 of them within ``LOOKBACK``, rows
of equal time ordered by their content. Everything summed is a whole number, so the result does not
depend on the order of the rows, on other sources or on how much older history was given.

Small tables run the loops as plain Python and large ones compiled, with the same bits.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.kernels import windows_loops
from segpipe.kernels.hashing import splitmix64
from segpipe.kernels.windows_loops import LAST, MEASURES
from segpipe.values import Floats

Hashes = npt.NDArray[np.uint64]
Index = npt.NDArray[np.int64]

SECOND = 1_000_000
WIDTHS = {"10s": 10 * SECOND, "1m": 60 * SECOND, "10m": 600 * SECOND, "last100": 0}
"""Names of the windows and their microseconds; 0 is the last 100 connections."""
LOOKBACK = 3600 * SECOND
"""Nothing older is seen by any window: what a slice of time needs of the slices before it."""
SMALL = 4_000
"""Rows below which plain Python beats the import of numba."""
BURST = 10 * SECOND
"""Rows of one clock window of this length, pair, port and protocol are one burst."""
BYTES = 1 << 40
"""Of one connection, at most: sums over 2^22 connections fit int64."""
_UNIT = 1 << 20


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import windows_jit

    return windows_jit


@dataclass(frozen=True, slots=True)
class Flows:
    """What windows know of (n,) connections, in any order."""

    ts: Index
    """Microseconds."""
    src: Hashes
    dst: Hashes
    port: Hashes
    """Of the destination."""
    service: Hashes
    failed: npt.NDArray[np.uint8]
    size: Index
    """Bytes from source to destination, 0 .. ``BYTES``."""
    known: npt.NDArray[np.uint8]
    """1: src is given, 2: dst is given, 3: both."""
    proto: Hashes

    def take(self, rows: npt.NDArray[np.intp]) -> Flows:
        """Some of them, by rising number."""
        if len(rows) and rows[-1] - rows[0] == len(rows) - 1:  # without a copy
            chosen = slice(rows[0], rows[-1] + 1)
            return Flows(*(getattr(self, name)[chosen] for name in self.__slots__))
        return Flows(*(getattr(self, name)[rows] for name in self.__slots__))

    def plus(self, later: Flows) -> Flows:
        """Both."""
        pairs = ((getattr(self, n), getattr(later, n)) for n in self.__slots__)
        return Flows(*(np.concatenate(pair) for pair in pairs))

    def in_order(self) -> npt.NDArray[np.intp]:
        """Their order by time, then by content."""
        order = np.arange(len(self.ts))
        if (self.ts[1:] < self.ts[:-1]).any():
            order = np.argsort(self.ts, kind="stable")
        ts = self.ts[order]
        tied = np.zeros(len(ts), bool)
        tied[1:] = ts[1:] == ts[:-1]
        tied[:-1] |= tied[1:]
        rows = np.flatnonzero(tied)
        if len(rows):
            some = order[rows]
            order[rows] = some[np.lexsort((self._content(some), self.ts[some]))]
        return order

    def _content(self, rows: npt.NDArray[np.intp]) -> Hashes:
        state = np.zeros(len(rows), np.uint64)
        for name in ("src", "dst", "port", "service", "failed", "size"):
            state = splitmix64(state ^ getattr(self, name)[rows].astype(np.uint64))
        return state


@dataclass(frozen=True, slots=True)
class Measure:
    """One column: a measure of a window of one side."""

    side: str
    """src or dst."""
    window: str
    """A name of ``WIDTHS``; for a gap it says nothing."""
    kind: int
    """A measure of ``windows_loops``, or ``GAP``."""


GAP = MEASURES


def windows(flows: Flows, first: int, at: Index, measures: Sequence[Measure], out: Any) -> None:
    """Fill ``out`` for the flows with ts >= ``first``; the others are their history.

    Parameters
    ----------
    at : (n,) row of the result for each flow; what it says of the history does not matter
    out : (rows, columns >= measures) float32, a column for each measure from the first on

    A source (destination) that is not given leaves the columns of its side as they are.
    """
    if not (flows.ts >= first).any():
        return
    order = flows.in_order()
    for side, bit in (("src", 1), ("dst", 2)):
        chosen = [(i, m) for i, m in enumerate(measures) if m.side == side]
        known = (flows.known[order] & bit) > 0
        kept = order if known.all() else order[known]
        if chosen and len(kept):
            _one_side(flows, kept, first, at, side, chosen, out)


def bursts(flows: Flows) -> Floats:
    """(n,) rows of each row's burst; of all rows of a burst or of none of them, please."""
    key = (flows.ts // BURST).astype(np.uint64)
    for part in (flows.src, flows.dst, flows.port, flows.proto):
        key = splitmix64(key ^ part)
    order, start = _grouped(key) if len(key) <= SMALL else _compiled().group(key)
    size = np.empty(len(key))
    size[order] = np.repeat(np.diff(start), np.diff(start))
    return size


def recent(flows: Flows, now: int) -> Flows:
    """The flows that windows of rows at ``now`` or later may see."""
    kept = np.flatnonzero(flows.ts > now - LOOKBACK)
    return flows if len(kept) == len(flows.ts) else flows.take(kept)


def _one_side(
    flows: Flows,
    kept: npt.NDArray[np.intp],
    first: int,
    at: Index,
    side: str,
    chosen: Sequence[tuple[int, Measure]],
    out: npt.NDArray[np.float32],
) -> None:
    ends, other = (flows.src, flows.dst) if side == "src" else (flows.dst, flows.src)
    small = len(kept) <= SMALL
    loops: Any = windows_loops if small else _compiled()
    order, start = _grouped(ends[kept]) if small else loops.group(ends[kept])
    rows = kept[order]
    code = _recoded if small else loops.recode
    ts = flows.ts[rows]
    wanted = (ts >= first).astype(np.uint8)
    peer, port, service = (
        code(start, values[rows]) for values in (other, flows.port, flows.service)
    )
    shape: list[Any] = [start, ts, wanted, at[rows]]
    held: list[Any] = [peer, port, service, flows.failed[rows], flows.size[rows]]
    names = [n for n in WIDTHS if any(m.window == n and m.kind < GAP for _, m in chosen)]
    slots = np.full(MEASURES * len(names), -1, np.int64)
    for column, measure in chosen:
        if measure.kind < GAP:
            slots[MEASURES * names.index(measure.window) + measure.kind] = column
    widths = np.array([WIDTHS[n] for n in names], np.int64)
    rooms: list[Any] = [np.zeros(len(ts), np.int32) for _ in range(3)]
    told: list[Any] = [widths, LOOKBACK, slots, _plogp()]
    if small:
        shape, held, rooms = ([v.tolist() for v in values] for values in (shape, held, rooms))
        told = [widths.tolist(), LOOKBACK, slots.tolist(), _plogp().tolist()]
    if names:
        loops.slide(*shape, *held, *told, _UNIT, *rooms, out)
    for column, measure in chosen:
        if measure.kind == GAP:
            seen: Any = np.zeros(len(ts), np.int64)
            loops.gaps(*shape, held[0], LOOKBACK, column, seen.tolist() if small else seen, out)


@functools.cache
def _plogp() -> Index:
    """Of c = 0 .. LAST + 1: c log2 c in whole parts of 1 / _UNIT, whose sums are exact."""
    values = [round(c * math.log2(c) * _UNIT) if c else 0 for c in range(LAST + 2)]
    return np.array(values, np.int64)


def _grouped(keys: Hashes) -> tuple[Index, Index]:
    """As ``windows_jit.group``; the groups come in another order, which means nothing."""
    order = np.argsort(keys, kind="stable")
    found = keys[order]
    new = np.flatnonzero(found[1:] != found[:-1]) + 1
    return order.astype(np.int64), np.concatenate([[0], new, [len(keys)]]).astype(np.int64)


def _recoded(start: Index, values: Hashes) -> Index:
    """As ``windows_jit.recode``."""
    key = np.repeat(np.arange(len(start) - 1), np.diff(start))
    order = np.lexsort((values, key))
    k, v = key[order], values[order]
    new = np.ones(len(order), bool)
    new[1:] = (k[1:] != k[:-1]) | (v[1:] != v[:-1])
    code = np.empty(len(order), np.int64)
    code[order] = np.cumsum(new) - 1
    return code
