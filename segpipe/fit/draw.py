"""Candidates for the sample: the units of lowest hash, with exact counts, merged in any order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Keys = npt.NDArray[np.uint64]
WHOLE = 2**64 - 1
"""The bound that no hash exceeds."""


@dataclass(frozen=True, slots=True)
class Draw:
    """Candidate units; after ``cut`` by rising hash, at most ``limit`` of them."""

    limit: int | None
    first: Keys
    second: Keys
    count: npt.NDArray[np.int64]
    rows: tuple[pa.RecordBatch, ...]
    """Concatenated, one row per unit."""
    bound: int = WHOLE
    """Units above it are not among the lowest ``limit``, whatever is added."""

    def add(self, other: Draw) -> Draw:
        """Both sets of candidates; cut when they have outgrown the limit by half."""
        bound = min(self.bound, other.bound)
        low, high = self.below(bound), other.below(bound)
        merged = Draw(
            self.limit,
            np.concatenate([low.first, high.first]),
            np.concatenate([low.second, high.second]),
            np.concatenate([low.count, high.count]),
            low.rows + high.rows,
            bound,
        )
        # Cutting at every merge would sort the whole state once per partition.
        crowded = merged.limit is not None and len(merged.first) > 1.5 * merged.limit + 65_536
        return merged.cut() if crowded or len(merged.rows) > 512 else merged

    def below(self, bound: int) -> Draw:
        """The candidates up to ``bound``."""
        if self.bound <= bound or not len(self.first) or self.first.max() <= np.uint64(bound):
            return self
        kept = np.flatnonzero(self.first <= np.uint64(bound))
        rows = self.batch.take(pa.array(kept))
        return Draw(
            self.limit, self.first[kept], self.second[kept], self.count[kept], (rows,), bound
        )

    def cut(self) -> Draw:
        """Equal units joined, their counts added; only the lowest ``limit`` kept."""
        order = _order(self.first, self.second)
        first, second = self.first[order], self.second[order]
        new = np.ones(len(order), bool)
        new[1:] = (first[1:] != first[:-1]) | (second[1:] != second[:-1])
        starts = np.flatnonzero(new)
        count = np.add.reduceat(self.count[order], starts) if len(starts) else self.count
        bound = self.bound
        if self.limit is not None and len(starts) >= self.limit:
            starts, count = starts[: self.limit], count[: self.limit]
            bound = int(first[starts[-1]])
        rows = self.batch.take(pa.array(order[starts]))
        return Draw(self.limit, first[starts], second[starts], count, (rows,), bound)

    @property
    def batch(self) -> pa.RecordBatch:
        """All rows as one batch."""
        return self.rows[0] if len(self.rows) == 1 else one_batch(self.rows)


def _order(first: Keys, second: Keys) -> npt.NDArray[np.intp]:
    """By ``first``, then ``second``."""
    order = np.argsort(first)
    tied = first[order[1:]] == first[order[:-1]]
    # Units of equal first hash are the same unit, but for one collision in 2^64.
    if (tied & (second[order[1:]] != second[order[:-1]])).any():
        order = np.lexsort((second, first))
    return order


def one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    """All rows of ``batches`` as one batch."""
    table = pa.Table.from_batches(batches).combine_chunks()
    return (table.to_batches() or [batches[0].slice(0, 0)])[0]
