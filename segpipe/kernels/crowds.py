"""How many rows each key has and how many of them failed, in tables of fixed size.

A key adds to one cell of each of two rows (count-min: Cormode, Muthukrishnan 2005); the fuller a
table, the more a rare key is overrated, and a common one not at all. Sums of whole numbers: equal
for any order and partitioning, 24 MB whatever the number of keys.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segpipe.kernels.hashing import splitmix64
from segpipe.values import Floats

Hashes = npt.NDArray[np.uint64]
Cells = npt.NDArray[np.uint32]

SIZES = {"src": 1 << 18, "dst": 1 << 18, "pair": 1 << 20}
"""Cells per row of each table: exact to a few per cent up to about as many distinct keys."""
_SALTS = (np.uint64(0x5EED), np.uint64(0xC0FFEE))
_MOST = np.iinfo(np.uint32).max


def keys_of(src: Hashes, dst: Hashes) -> dict[str, Hashes]:
    """The keys that are counted: each end, and both."""
    return {"src": src, "dst": dst, "pair": splitmix64(src ^ splitmix64(dst))}


@dataclass(frozen=True, slots=True)
class Crowds:
    """Counts by table, hash row and cell."""

    rows: int
    counts: dict[str, Cells]
    """(2, cells) rows of each table."""
    failed: dict[str, Cells]

    @classmethod
    def of(cls, src: Hashes, dst: Hashes, failed: npt.NDArray[np.uint8]) -> Crowds:
        """Of some rows."""
        bad = failed > 0
        counts, fails = {}, {}
        for name, key in keys_of(src, dst).items():
            places = [_places(key, name, salt) for salt in _SALTS]
            counts[name] = np.array([_count(p, SIZES[name]) for p in places])
            fails[name] = np.array([_count(p[bad], SIZES[name]) for p in places])
        return cls(len(src), counts, fails)

    @classmethod
    def none(cls) -> Crowds:
        """Of no rows."""
        return cls(0, {}, {})

    def plus(self, other: Crowds) -> Crowds:
        """Of both."""
        if not self.rows or not other.rows:
            return self if self.rows else other
        return Crowds(
            self.rows + other.rows,
            {name: _sum(a, other.counts[name]) for name, a in self.counts.items()},
            {name: _sum(a, other.failed[name]) for name, a in self.failed.items()},
        )

    def look_up(self, table: str, key: Hashes) -> tuple[Floats, Floats]:
        """(rarity, share of failures) of each key: -log of its share of the rows, and 0 .. 1."""
        places = [_places(key, table, salt) for salt in _SALTS]
        first, second = (row[p] for row, p in zip(self.counts[table], places, strict=True))
        fewer = np.where(second < first, second, first).astype(np.float64)
        bad = (row[p] for row, p in zip(self.failed[table], places, strict=True))
        failed = np.where(second < first, *reversed(list(bad))).astype(np.float64)
        return -np.log(fewer / self.rows), failed / fewer


def _places(key: Hashes, table: str, salt: np.uint64) -> npt.NDArray[np.int64]:
    mixed: npt.NDArray[np.int64] = (splitmix64(key ^ salt) & np.uint64(SIZES[table] - 1)).astype(
        np.int64
    )
    return mixed


def _count(places: npt.NDArray[np.int64], size: int) -> Cells:
    return np.minimum(np.bincount(places, minlength=size), _MOST).astype(np.uint32)


def _sum(a: Cells, b: Cells) -> Cells:
    """Both; full cells stay full."""
    total = a + b
    total[total < a] = _MOST
    return total
