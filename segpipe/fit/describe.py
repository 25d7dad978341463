"""One pass over the table, concluded: the description, and a sample keyed by hash.

Without keys one row may make up 39 % of a file (KDD99) and still miss the draw of ``look``; its
fixed histogram of hash buckets finds such rows, and a second pass counts them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.fit.draw import WHOLE, Draw
from segpipe.fit.look import BUCKETS, Found, Look, Pool, look_for, merge
from segpipe.fit.weighing import ranked, weigh, weigh_by
from segpipe.kernels.cells import MISSING
from segpipe.models.description import Category, Description, Number

HEAVY = 256
"""A row that makes up more than 1 / HEAVY of the table is represented for certain (in samples of
fewer than 2 * HEAVY rows: more than 2 / sample_rows, so that half of the sample is drawn)."""


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
    look = look_for(numeric, categorical, keys, sample_rows, seed)
    return conclude(engine, frame, look, engine.fold(frame, look, merge))


def conclude(engine: Engine, frame: Frame, look: Look, found: Found) -> Description:
    """The description from the fold of ``look`` over ``frame``; rarely with one more pass.

    Raises
    ------
    DataError
        The table has no rows.
    """
    if not found.rows:
        raise DataError("no row is left to describe.", hint="see the rejects and source.where")
    draw = found.draw.cut()
    if look.bound < WHOLE and len(draw.first) < look.sample_rows:
        # Fewer units than rows: duplicates, filters or rejects were not foreseen.
        look = replace(look, bound=WHOLE)
        found = engine.fold(frame, look, merge)
        draw = found.draw.cut()
    heavy, bound = None, 0
    if not look.keys and int(draw.count.sum()) < found.rows:
        bound = found.rows // max(min(HEAVY, look.sample_rows // 2), 1)
        buckets = np.flatnonzero(found.buckets > bound)
        if len(buckets):
            step = partial(_heavy_step, replace(look, bound=WHOLE), buckets)
            heavy = engine.fold(frame, step, _merge_heavy).cut()
    drawn = (draw, heavy, bound, found.rows, look.sample_rows)
    if look.weight is None:
        sample, weights = weigh(*drawn), None
    else:
        sample, weights = weigh_by(*drawn, found.weights, look.weight)
    return Description(
        found.rows,
        tuple(
            Number(name, int(found.missing[i]), *_range(found.low[i], found.high[i]))
            for i, name in enumerate(look.numeric)
        ),
        tuple(
            _category(name, levels)
            for name, levels in zip(look.categorical, found.levels, strict=True)
        ),
        sample,
        weights,
    )


def _heavy_step(
    look: Look, buckets: npt.NDArray[np.intp], batches: Iterator[pa.RecordBatch]
) -> Draw:
    """Exact counts of the distinct rows inside the crowded buckets.

    At most ``HEAVY`` of the 65,536 buckets are crowded, so the state holds at most 0.4 % of the
    distinct rows besides the heavy ones.
    """
    pool, wanted = Pool(look, None), np.zeros(BUCKETS, bool)
    wanted[buckets] = True
    for batch in batches:
        picked = look.pick(batch)
        first = look.row_hash(picked)
        inside = wanted[first & np.uint64(BUCKETS - 1)]
        if look.weight is not None:
            w = picked.column(len(look.features)).to_numpy()
            first, inside = ranked(first, w), inside & (w > 0)
        pool.offer(picked, first, np.flatnonzero(inside))
    return pool.drawn()


def _merge_heavy(a: Draw, b: Draw) -> Draw:
    return a.add(b)


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
