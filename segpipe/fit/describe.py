"""One pass over the table: exact counts and ranges, and a sample keyed by hash.

Sampling law. A unit (an entity with keys; otherwise a *distinct* feature row with its count) is in
the sample if its hash is among the ``sample_rows`` lowest. The states of two partitions merge to
the state of both: a unit below the final threshold was below every earlier one, so it was never
evicted and its count is exact. Without keys one row may make up 39 % of a file (KDD99) and still
miss the draw; a fixed histogram of hash buckets finds such rows and a second pass counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.kernels.cells import MISSING, numbers, texts
from segpipe.kernels.hashing import hash_rows
from segpipe.models.description import Category, Description, Number
from segpipe.values import Floats, Sample

__all__ = ["Category", "Description", "Number", "describe"]

LEVELS = 100_000
"""Distinct values counted per category column; states stay below a few MB a column."""
BUCKETS = 1 << 16
HEAVY = 256
"""A row that makes up more than 1 / HEAVY of the table is represented for certain (in samples of
fewer than 2 * HEAVY rows: more than 2 / sample_rows, so that half of the sample is drawn)."""
_SECOND = 0x5EED  # the second hash tells units of equal first hash apart: 128 bits in all

Keys = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Spec:
    """What is described and how much is kept."""

    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    keys: tuple[str, ...]
    sample_rows: int
    seed: int

    @property
    def features(self) -> tuple[str, ...]:
        """All feature columns, numbers first."""
        return self.numeric + self.categorical

    def pick(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The feature columns, float64 and text."""
        columns = [pa.array(numbers(batch.column(n))) for n in self.numeric]
        columns += [texts(batch.column(n)) for n in self.categorical]
        return pa.RecordBatch.from_arrays(columns, names=list(self.features))


@dataclass(frozen=True, slots=True)
class Draw:
    """Candidate units; after ``cut`` by rising hash, at most ``limit`` of them."""

    limit: int | None
    first: Keys
    second: Keys
    count: npt.NDArray[np.int64]
    rows: tuple[pa.RecordBatch, ...]
    """Concatenated, one row per unit."""
    bound: int = 2**64 - 1
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
        return self.rows[0] if len(self.rows) == 1 else _one_batch(self.rows)


def _order(first: Keys, second: Keys) -> npt.NDArray[np.intp]:
    """By ``first``, then ``second``."""
    order = np.argsort(first)
    tied = first[order[1:]] == first[order[:-1]]
    # Units of equal first hash are the same unit, but for one collision in 2^64.
    if (tied & (second[order[1:]] != second[order[:-1]])).any():
        order = np.lexsort((second, first))
    return order


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


def describe(
    engine: Engine,
    frame: Frame,
    numeric: Sequence[str],
    categorical: Sequence[str],
    keys: Sequence[str],
    sample_rows: int,
    seed: int,
) -> Description:
    """Describe ``frame`` by its feature columns; equal on every engine and partitioning.

    Raises
    ------
    DataError
        The table has no rows or no feature column.
    """
    spec = Spec(tuple(numeric), tuple(categorical), tuple(keys), sample_rows, seed)
    if not spec.features:
        raise DataError("no feature column was found.", hint="name some in features.columns")
    found: Found = engine.fold(frame, partial(_step, spec), merge)
    if not found.rows:
        raise DataError("no row is left to describe.", hint="see the rejects and source.where")
    draw = found.draw.cut()
    heavy, bound = None, 0
    if not keys and int(draw.count.sum()) < found.rows:
        bound = found.rows // max(min(HEAVY, sample_rows // 2), 1)
        buckets = np.flatnonzero(found.buckets > bound)
        if len(buckets):
            heavy = engine.fold(frame, partial(_heavy_step, spec, buckets), _merge_heavy).cut()
    return Description(
        found.rows,
        tuple(
            Number(name, int(found.missing[i]), *_range(found.low[i], found.high[i]))
            for i, name in enumerate(spec.numeric)
        ),
        tuple(
            _category(name, levels)
            for name, levels in zip(spec.categorical, found.levels, strict=True)
        ),
        _weigh(draw, heavy, bound, found.rows, sample_rows),
    )


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
    )


def _step(spec: Spec, batches: Iterator[pa.RecordBatch]) -> Found:
    missing = np.zeros(len(spec.numeric), np.int64)
    low, high = np.full(len(spec.numeric), np.inf), np.full(len(spec.numeric), -np.inf)
    levels: list[dict[str, int] | None] = [{} for _ in spec.categorical]
    buckets = np.zeros(BUCKETS, np.int64)
    draw, rows = _empty(spec, spec.sample_rows), 0
    for batch in batches:
        if not batch.num_rows:
            continue
        rows += batch.num_rows
        picked = spec.pick(batch)
        for i in range(len(spec.numeric)):
            values = picked.column(i).to_numpy()
            smallest, largest = values.min(), values.max()
            if not (np.isfinite(smallest) and np.isfinite(largest)):
                values = values[np.isfinite(values)]
                missing[i] += batch.num_rows - len(values)
                smallest, largest = values.min(initial=np.inf), values.max(initial=-np.inf)
            low[i], high[i] = min(low[i], smallest), max(high[i], largest)
        for i, name in enumerate(spec.categorical):
            levels[i] = _merge_levels(levels[i], _count(picked.column(name)))
        first = hash_rows(batch, spec.keys, spec.seed) if spec.keys else _row_hash(picked, spec)
        if not spec.keys:
            buckets += np.bincount(first & np.uint64(BUCKETS - 1), minlength=BUCKETS)
        chosen = np.flatnonzero(first <= np.uint64(draw.bound))
        draw = draw.add(_candidates(spec, picked, first, chosen, spec.sample_rows))
    return Found(rows, missing, low, high, tuple(levels), buckets, draw.cut())


def _row_hash(picked: pa.RecordBatch, spec: Spec) -> Keys:
    return hash_rows(picked, spec.features, spec.seed)


def _candidates(
    spec: Spec,
    picked: pa.RecordBatch,
    first: Keys,
    chosen: npt.NDArray[np.intp],
    limit: int | None,
) -> Draw:
    rows = picked if len(chosen) == picked.num_rows else picked.take(pa.array(chosen))
    second = hash_rows(rows, spec.features, spec.seed ^ _SECOND)
    return Draw(limit, first[chosen], second, np.ones(len(chosen), np.int64), (rows,))


def _empty(spec: Spec, limit: int | None) -> Draw:
    types = [pa.float64()] * len(spec.numeric) + [pa.string()] * len(spec.categorical)
    arrays = [pa.array([], kind) for kind in types]
    rows = pa.RecordBatch.from_arrays(arrays, names=list(spec.features))
    none = np.empty(0, np.uint64)
    return Draw(limit, none, none, np.empty(0, np.int64), (rows,))


def _heavy_step(
    spec: Spec, buckets: npt.NDArray[np.intp], batches: Iterator[pa.RecordBatch]
) -> Draw:
    """Exact counts of the distinct rows inside the crowded buckets.

    At most ``HEAVY`` of the 65,536 buckets are crowded, so the state holds at most 0.4 % of the
    distinct rows besides the heavy ones.
    """
    draw, wanted = _empty(spec, None), np.zeros(BUCKETS, bool)
    wanted[buckets] = True
    for batch in batches:
        picked = spec.pick(batch)
        first = _row_hash(picked, spec)
        chosen = np.flatnonzero(wanted[first & np.uint64(BUCKETS - 1)])
        if len(chosen):
            draw = draw.add(_candidates(spec, picked, first, chosen, None).cut())
    return draw.cut()


def _merge_heavy(a: Draw, b: Draw) -> Draw:
    return a.add(b)


def _weigh(draw: Draw, heavy: Draw | None, bound: int, rows: int, sample_rows: int) -> Sample:
    """Heavy rows stand for themselves; the drawn ones share the remaining rows by ratio."""
    count = draw.count.astype(np.float64)
    if heavy is None:
        return Sample(draw.batch, count * (rows / count.sum()), count)
    certain = np.flatnonzero(heavy.count > bound)
    identities = {(int(heavy.first[i]), int(heavy.second[i])) for i in certain}
    drawn = zip(draw.first.tolist(), draw.second.tolist(), strict=True)
    plain = np.array([pair not in identities for pair in drawn], bool)
    light = np.flatnonzero(plain)[: max(sample_rows - len(certain), 1)]
    rest = rows - int(heavy.count[certain].sum())
    batch = _one_batch(
        (heavy.batch.take(pa.array(certain)), draw.batch.take(pa.array(light))),
    )
    first = np.concatenate([heavy.first[certain], draw.first[light]])
    second = np.concatenate([heavy.second[certain], draw.second[light]])
    exact = heavy.count[certain].astype(np.float64)
    shared = count[light] * (rest / count[light].sum()) if len(light) else count[light]
    order = np.lexsort((second, first))
    return Sample(
        batch.take(pa.array(order)),
        np.concatenate([exact, shared])[order],
        np.concatenate([exact, count[light]])[order],
    )


def _one_batch(batches: Sequence[pa.RecordBatch]) -> pa.RecordBatch:
    table = pa.Table.from_batches(batches).combine_chunks()
    return (table.to_batches() or [batches[0].slice(0, 0)])[0]


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


def _category(name: str, levels: dict[str, int] | None) -> Category:
    if levels is None:
        return Category(name, 0, (), np.empty(0, np.int64), overflow=True)
    ordered = sorted(levels.items(), key=lambda pair: (-pair[1], pair[0]))
    return Category(
        name,
        levels.get(MISSING, 0),
        tuple(level for level, _ in ordered),
        np.array([count for _, count in ordered], np.int64),
    )


def _range(low: float, high: float) -> tuple[float, float]:
    return (float(low), float(high)) if low <= high else (float("nan"), float("nan"))
