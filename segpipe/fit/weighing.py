"""What each sampled row stands for: by ratio, for certain where it is common, or by its weight.

Rows of unequal weight are drawn by priority (Duffield, Lund & Thorup 2007): of all units those of
lowest u / w, u uniform from the hash. A unit is in with probability min(1, w q), q the bound, so
it stands for w / min(1, w q): heavy rows for themselves, the others for one another.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.errors import DataError
from segpipe.fit.draw import Draw, Keys, one_batch
from segpipe.models.description import Weights
from segpipe.values import Floats, Sample


def ranked(first: Keys, w: Floats) -> Keys:
    """Ranks (n,) of hashes by u / w: bits of positive floats order as the floats do.

    Rows without weight have the largest rank; they are never to be drawn.
    """
    uniform = (first.astype(np.float64) + 0.5) * 2.0**-64
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray((uniform / w).view(np.uint64))


def weigh(draw: Draw, heavy: Draw | None, bound: int, rows: int, sample_rows: int) -> Sample:
    """Heavy rows stand for themselves; the drawn ones share the remaining rows by ratio."""
    count = draw.count.astype(np.float64)
    if heavy is None:
        return Sample(draw.batch, count * (rows / count.sum()), count)
    certain, light = _split(draw, heavy, bound, sample_rows)
    rest = rows - int(heavy.count[certain].sum())
    exact = heavy.count[certain].astype(np.float64)
    shared = count[light] * (rest / count[light].sum()) if len(light) else count[light]
    first = np.concatenate([heavy.first[certain], draw.first[light]])
    second = np.concatenate([heavy.second[certain], draw.second[light]])
    order = np.lexsort((second, first))
    return Sample(
        _rows(draw, heavy, certain, light).take(pa.array(order)),
        np.concatenate([exact, shared])[order],
        np.concatenate([exact, count[light]])[order],
    )


def weigh_by(
    draw: Draw,
    heavy: Draw | None,
    bound: int,
    rows: int,
    sample_rows: int,
    ends: tuple[float, float],
    column: str,
) -> tuple[Sample, Weights]:
    """The sample of a table whose rows weigh ``column``; its weights sum to ``rows``.

    ``ends``: the table's least and largest weight. Equal weights give the unweighted sample.

    Raises
    ------
    DataError
        No row weighs anything.
    """
    low, high = ends
    if not high > 0:
        raise DataError(
            f"features.weight: all {rows:,} weights in {column!r} are zero.",
            hint="name a column of positive weights, or leave features.weight out",
        )
    if low == high:
        plain = _without(weigh(draw, heavy, bound, rows, sample_rows), column)
        return plain, Weights(low, high, low)
    light = np.arange(len(draw.first))
    batch, count = draw.batch, draw.count.astype(np.float64)
    first, second, certain = draw.first, draw.second, np.zeros(0, np.intp)
    cut = draw.limit is not None and len(light) >= draw.limit
    if heavy is not None:
        certain, light = _split(draw, heavy, bound, sample_rows)
        batch = _rows(draw, heavy, certain, light)
        count = np.concatenate([heavy.count[certain], draw.count[light]]).astype(np.float64)
        second = np.concatenate([heavy.second[certain], draw.second[light]])
        first = np.concatenate([heavy.first[certain], draw.first[light]])
    w = np.asarray(batch.column(column), np.float64)
    total = count * w
    if cut and len(light):
        drawn = slice(len(certain), None)
        last = float(draw.first[light[-1] : light[-1] + 1].view(np.float64)[0])
        total[drawn] = count[drawn] * np.maximum(w[drawn], 1.0 / last)
    # The first rows are to be a sample of the sample: neither by rank nor by hash, since of the
    # rows drawn the heavy ones have the higher hashes.
    hashed = (first.view(np.float64) * w).view(np.uint64)  # whatever the unit of the weights
    order = np.lexsort((second, first, _mixed(hashed)))
    mean = float(total.sum()) / rows
    sample = Sample(batch.take(pa.array(order)), (total / mean)[order], count[order])
    return _without(sample, column), Weights(low, high, mean)


def _mixed(keys: Keys) -> Keys:
    """Keys (n,) in another order that has nothing to do with the first (Steele 2014, SplitMix)."""
    mixed = keys.copy()
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed


def _without(sample: Sample, column: str) -> Sample:
    names = [name for name in sample.batch.schema.names if name != column]
    return Sample(sample.batch.select(names), sample.weight, sample.count)


def _split(
    draw: Draw, heavy: Draw, bound: int, sample_rows: int
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Rows of ``heavy`` that are common enough, and rows of ``draw`` that are none of them."""
    certain = np.flatnonzero(heavy.count > bound)
    identities = {(int(heavy.first[i]), int(heavy.second[i])) for i in certain}
    drawn = zip(draw.first.tolist(), draw.second.tolist(), strict=True)
    plain = np.array([pair not in identities for pair in drawn], bool)
    return certain, np.flatnonzero(plain)[: max(sample_rows - len(certain), 1)]


def _rows(
    draw: Draw, heavy: Draw, certain: npt.NDArray[np.intp], light: npt.NDArray[np.intp]
) -> pa.RecordBatch:
    return one_batch((heavy.batch.take(pa.array(certain)), draw.batch.take(pa.array(light))))
