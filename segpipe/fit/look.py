"""What one pass over the table notes: exact counts and ranges, and candidates keyed by hash.

Sampling law. A unit (an entity with keys; otherwise a *distinct* feature row with its count) is in
the sample if its hash is among the ``sample_rows`` lowest. The states of two partitions merge to
the state of both: a unit below the final threshold was below every earlier one, so it was never
evicted and its count is exact.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError
from segpipe.fit.draw import WHOLE, Draw, Keys, one_batch
from segpipe.fit.weighing import ranked
from segpipe.kernels.cells import floats, numbers, texts
from segpipe.kernels.hashing import hash_rows
from segpipe.values import Floats

LEVELS = 100_000
"""Distinct values counted per category column; states stay below a few MB a column."""
BUCKETS = 1 << 16
_SECOND = 0x5EED  # the second hash tells units of equal first hash apart: 128 bits in all
POOLED = 32_768
"""Candidates that wait until they are hashed a second time and sorted in."""


@dataclass(frozen=True, slots=True)
class Look:
    """Fold step: what is described and how much is kept; picklable."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    keys: tuple[str, ...]
    sample_rows: int
    seed: int
    weight: str | None = None
    """Column of row weights, by which rows are drawn; a unit has one weight then."""
    bound: int = WHOLE
    """Units of higher hash are not looked at: a guess from the number of rows, which ``conclude``
    checks."""

    @property
    def features(self) -> tuple[str, ...]:
        """All feature columns, numbers first."""
        return self.numeric + self.categorical

    @property
    def columns(self) -> tuple[str, ...]:
        """What is kept of a drawn row: its features and its weight."""
        return self.features if self.weight is None else (*self.features, self.weight)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Found:
        """The description of one part."""
        missing = np.zeros(len(self.numeric), np.int64)
        low, high = np.full(len(self.numeric), np.inf), np.full(len(self.numeric), -np.inf)
        levels: list[dict[str, int] | None] = [{} for _ in self.categorical]
        buckets = np.zeros(BUCKETS, np.int64)
        lightest, heaviest = np.inf, 0.0
        pool, rows = Pool(self, self.sample_rows), 0
        for batch in batches:
            if not batch.num_rows:
                continue
            rows += batch.num_rows
            picked = self.pick(batch)
            for i in range(len(self.numeric)):
                values = floats(picked.column(i))
                smallest, largest = values.min(), values.max()
                if not (np.isfinite(smallest) and np.isfinite(largest)):
                    values = values[np.isfinite(values)]
                    missing[i] += batch.num_rows - len(values)
                    smallest, largest = values.min(initial=np.inf), values.max(initial=-np.inf)
                low[i], high[i] = min(low[i], smallest), max(high[i], largest)
            for i, name in enumerate(self.categorical):
                levels[i] = _merge_levels(levels[i], _count(picked.column(name)))
            first = hash_rows(batch, self.keys, self.seed) if self.keys else self.row_hash(picked)
            if not self.keys:
                buckets += np.bincount(first & np.uint64(BUCKETS - 1), minlength=BUCKETS)
            near = first <= np.uint64(pool.draw.bound)
            if self.weight is not None:
                w = picked.column(len(self.features)).to_numpy()
                lightest, heaviest = min(lightest, w.min()), max(heaviest, w.max())
                first = ranked(first, w)
                near = (first <= np.uint64(pool.draw.bound)) & (w > 0)
            pool.offer(picked, first, np.flatnonzero(near))
        ends = float(lightest), float(heaviest)
        return Found(rows, missing, low, high, tuple(levels), buckets, pool.drawn(), ends)

    def pick(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The feature columns, floats and text; then the weight."""
        columns = [pa.array(floats(batch.column(n))) for n in self.numeric]
        columns += [texts(batch.column(n)) for n in self.categorical]
        columns += [] if self.weight is None else [pa.array(numbers(batch.column(self.weight)))]
        return pa.RecordBatch.from_arrays(columns, names=list(self.columns))

    def row_hash(self, picked: pa.RecordBatch) -> Keys:
        """(n,) hash of the whole feature row, the unit of tables without keys."""
        return hash_rows(picked, self.features, self.seed)


def look_for(
    numeric: Sequence[str],
    categorical: Sequence[str],
    keys: Sequence[str],
    sample_rows: int,
    seed: int,
    rows: int | None = None,
    weight: str | None = None,
) -> Look:
    """The step that describes these columns; ``rows``: of the table, where they are known.

    ``weight``: the column of row weights, if there is one.

    Raises
    ------
    DataError
        No feature column.
    """
    look = Look(tuple(numeric), tuple(categorical), tuple(keys), sample_rows, seed, weight)
    if not look.features:
        raise DataError("no feature column was found.", hint="name some in features.columns")
    # Ten standard deviations of the number of units below the bound, if all rows are units.
    wanted = sample_rows + 10 * int(sample_rows**0.5) + 50
    if rows is None or rows < 2 * wanted or weight is not None:
        return look
    return replace(look, bound=WHOLE // rows * wanted)


@dataclass(frozen=True, slots=True)
class Found:
    """State of the fold: about ``sample_rows`` rows, 512 KiB of buckets, the level counts."""

    rows: int
    missing: npt.NDArray[np.int64]
    low: Floats
    high: Floats
    levels: tuple[dict[str, int] | None, ...]
    """Per category column; None once there are more than ``LEVELS``."""
    buckets: npt.NDArray[np.int64]
    draw: Draw
    weights: tuple[float, float] = (np.inf, 0.0)
    """The least and the largest weight, where rows have weights."""


def merge(a: Found, b: Found) -> Found:
    """The state of both partitions; associative, and commutative after ``Draw.cut``."""
    return Found(
        a.rows + b.rows,
        a.missing + b.missing,
        np.minimum(a.low, b.low),
        np.maximum(a.high, b.high),
        tuple(_merge_levels(x, y) for x, y in zip(a.levels, b.levels, strict=True)),
        a.buckets + b.buckets,
        a.draw.add(b.draw),
        (min(a.weights[0], b.weights[0]), max(a.weights[1], b.weights[1])),
    )


class Pool:
    """Candidates of one part, taken into the draw by the ten thousand."""

    def __init__(self, look: Look, limit: int | None) -> None:
        self._look = look
        self._types = [pa.float64()] * len(look.numeric) + [pa.string()] * len(look.categorical)
        self._types += [] if look.weight is None else [pa.float64()]
        arrays = [pa.array([], kind) for kind in self._types]
        rows = pa.RecordBatch.from_arrays(arrays, names=list(look.columns))
        none = np.empty(0, np.uint64)
        self.draw = Draw(limit, none, none, np.empty(0, np.int64), (rows,), look.bound)
        self._first: list[Keys] = []
        self._rows: list[pa.RecordBatch] = []
        self._held = 0

    def offer(self, picked: pa.RecordBatch, first: Keys, chosen: npt.NDArray[np.intp]) -> None:
        """Rows ``chosen`` of ``picked`` and their hashes."""
        if not len(chosen):
            return
        whole = len(chosen) == picked.num_rows
        self._first.append(first if whole else first[chosen])
        self._rows.append(picked if whole else picked.take(pa.array(chosen)))
        self._held += len(chosen)
        if self._held >= POOLED:
            self._take_in()

    def drawn(self) -> Draw:
        """The draw of everything offered."""
        self._take_in()
        return self.draw.cut()

    def _take_in(self) -> None:
        if not self._held:
            return
        rows = one_batch([self._widened(batch) for batch in self._rows])
        second = hash_rows(rows, self._look.columns, self._look.seed ^ _SECOND)
        count = np.ones(self._held, np.int64)
        found = Draw(self.draw.limit, np.concatenate(self._first), second, count, (rows,))
        # Without a limit it is a few heavy rows a million times over: joined at once.
        self.draw = self.draw.add(found if found.limit is not None else found.cut())
        self._first, self._rows, self._held = [], [], 0

    def _widened(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Its columns in the pool's types: a column is float32 only in batches without nulls."""
        wide = [column.cast(t) for column, t in zip(batch.columns, self._types, strict=True)]
        return pa.RecordBatch.from_arrays(wide, names=batch.schema.names)


def _count(column: Any) -> dict[str, int]:
    counts = pc.value_counts(column)
    return dict(
        zip(counts.field("values").to_pylist(), counts.field("counts").to_pylist(), strict=True)
    )


def _merge_levels(a: dict[str, int] | None, b: dict[str, int] | None) -> dict[str, int] | None:
    """Sum of both counts; None as soon as the union exceeds ``LEVELS``, in whatever order."""
    if a is None or b is None:
        return None
    small, large = (a, b) if len(a) < len(b) else (b, a)
    merged = dict(large)
    for level, count in small.items():
        merged[level] = merged.get(level, 0) + count
    return merged if len(merged) <= LEVELS else None
