"""How many rows each key has and how many of them failed, in tables of fixed size.

A key adds to one cell of each of two rows (count-min: Cormode, Muthukrishnan 2005); the fuller a
table, the more a rare key is overrated, and a common one not at all. Sums of whole numbers: equal
for any order and partitioning, 24 MB whatever the number of keys.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from types import ModuleType

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
SMALL = 4_000
"""Rows below which NumPy beats the import of numba."""


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import crowds_jit

    return crowds_jit


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
        counts, fails = {}, {}
        for name, key in keys_of(src, dst).items():
            counts[name] = np.zeros((len(_SALTS), SIZES[name]), np.uint32)
            fails[name] = np.zeros((len(_SALTS), SIZES[name]), np.uint32)
            for salt, some, bad in zip(_SALTS, counts[name], fails[name], strict=True):
                if len(key) > SMALL:
                    _compiled().count(key, failed, salt, some, bad)
                else:
                    places = _places(key, name, salt)
                    np.add.at(some, places, 1)
                    np.add.at(bad, places, failed)
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
        counts, fails = self.counts[table], self.failed[table]
        if len(key) > SMALL:
            fewer, failed = np.empty(len(key)), np.empty(len(key))
            _compiled().look_up(key, *_SALTS, counts, fails, fewer, failed)
            return -np.log(fewer / self.rows), failed / fewer
        places = [_places(key, table, salt) for salt in _SALTS]
        first, second = (row[p] for row, p in zip(counts, places, strict=True))
        fewer = np.where(second < first, second, first).astype(np.float64)
        bad = (row[p] for row, p in zip(fails, places, strict=True))
        failed = np.where(second < first, *reversed(list(bad))).astype(np.float64)
        return -np.log(fewer / self.rows), failed / fewer


def _places(key: Hashes, table: str, salt: np.uint64) -> npt.NDArray[np.int64]:
    mixed: npt.NDArray[np.int64] = (splitmix64(key ^ salt) & np.uint64(SIZES[table] - 1)).astype(
        np.int64
    )
    return mixed


def _sum(a: Cells, b: Cells) -> Cells:
    """Both; full cells stay full."""
    total = a + b
    total[total < a] = _MOST
    return total
