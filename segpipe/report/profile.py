"""What makes each segment what it is, in the units of the input.

Numbers of rows and means are exact where the caller has folded them over the whole table; medians,
positions, categories and exemplars come from the weighted sample, whose rows are few.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.values import Floats, Ints, Labels

EXEMPLARS = 5
LEVELS = 3
"""Category levels shown per segment and column."""
SEPARATES_NOTHING = 0.01
"""A feature that explains less of the rank variance is called useless (Cohen's "small" is .01)."""


@dataclass(frozen=True, slots=True)
class FeatureProfile:
    """One numeric feature within one segment; every number finite or None."""

    name: str
    mean: float | None
    median: float | None
    usual: float | None
    """Median of everybody."""
    usual_mean: float | None
    """Mean of everybody."""
    z: float | None
    """(segment mean - mean of everybody) / standard deviation of everybody."""
    lift: float | None
    """Segment mean / mean of everybody; None where that is not positive."""
    position: float
    """0..1, .5 = usual: chance that a row of the segment exceeds a row of everybody, ties half.

    Unlike z it is not drowned by one huge value, so names and pictures follow it."""


@dataclass(frozen=True, slots=True)
class LevelProfile:
    """One level of a category that is over- or under-represented in a segment."""

    feature: str
    level: str
    share: float
    usual: float
    """Share of the level among everybody."""
    log_odds: float
    """Natural log of the odds ratio segment : everybody else, half a row added to each cell."""


@dataclass(frozen=True, slots=True)
class SegmentProfile:
    """A segment in the words of its data."""

    id: int
    name: str
    rows: int
    share: float
    features: tuple[FeatureProfile, ...]
    levels: tuple[LevelProfile, ...]
    exemplars: tuple[Mapping[str, float | str | None], ...]
    """Sampled rows nearest to the centre: feature -> value; no keys."""


@dataclass(frozen=True, slots=True)
class Separation:
    """How well one feature tells the segments apart."""

    feature: str
    explained: float
    """0..1: between-segment share of the variance of ranks (epsilon squared; Cramer's V squared,
    bias-corrected, for categories)."""
    ratio: float | None
    """Between / within variance; None where nothing is left within."""


def profile(
    batch: pa.RecordBatch,
    labels: Labels,
    weights: Floats,
    numeric: Sequence[str],
    categorical: Sequence[str],
    segment_rows: Mapping[int, int],
    means: Mapping[int, Mapping[str, float]] | None = None,
) -> tuple[SegmentProfile, ...]:
    """Profiles of every segment in ``segment_rows``, by id, noise (-1) last; names are still empty.

    ``batch``, ``labels`` and ``weights`` are the labelled sample, row by row; ``segment_rows`` and
    ``means`` (segment -> feature -> mean of the non-missing values) are exact, of the whole table.
    Without ``means`` the sample's weighted means are taken. A segment that the sample does not hold
    has rows and, if given, means, and nothing else. Missing values (null or NaN) are
    left out of every number.
    """
    total = sum(segment_rows.values())
    order = sorted(segment_rows, key=lambda s: (s < 0, s))
    columns = {name: _numbers(batch, name) for name in numeric}
    texts = {name: _texts(batch, name) for name in categorical}
    everybody = {name: _overall(values, weights) for name, values in columns.items()}
    profiles = []
    for segment in order:
        inside = labels.segment == segment
        features = tuple(
            _feature(name, values, inside, weights, everybody[name], (means or {}).get(segment))
            for name, values in columns.items()
        )
        levels = tuple(
            level
            for name, (codes, names) in texts.items()
            for level in _levels(name, codes, names, inside, weights)
        )
        profiles.append(
            SegmentProfile(
                id=int(segment),
                name="",
                rows=int(segment_rows[segment]),
                share=segment_rows[segment] / total if total else 0.0,
                features=features,
                levels=levels,
                exemplars=_exemplars(batch, inside, labels.distance, [*numeric, *categorical]),
            )
        )
    return tuple(profiles)


def named(
    profiles: Sequence[SegmentProfile], names: Mapping[int, str]
) -> tuple[SegmentProfile, ...]:
    """The same profiles bearing ``names``."""
    return tuple(replace(p, name=names[p.id]) for p in profiles)


def separation(
    batch: pa.RecordBatch,
    segment: Ints,
    weights: Floats,
    numeric: Sequence[str],
    categorical: Sequence[str],
) -> tuple[Separation, ...]:
    """Features from the best to the worst at telling the segments apart (noise counts as one).

    Numeric features are compared by ranks (Kruskal-Wallis epsilon squared, Tomczak 2014), so that a
    few huge values neither make nor break a feature; a feature that is constant explains 0.
    """
    found = [_explained_rank(name, _numbers(batch, name), segment, weights) for name in numeric]
    found += [
        _explained_level(name, *_texts(batch, name), segment, weights) for name in categorical
    ]
    return tuple(sorted(found, key=lambda s: (-s.explained, s.feature)))


def separates_nothing(ranked: Sequence[Separation]) -> tuple[str, ...]:
    """Features that explain less than 1 %: the commonest reason for useless segments."""
    return tuple(s.feature for s in ranked if s.explained < SEPARATES_NOTHING)


@dataclass(frozen=True, slots=True)
class _Everybody:
    mean: float
    sd: float
    median: float
    rank: Floats
    """Mid-rank share of every row, NaN where missing."""
    order: npt.NDArray[np.intp]
    """Rows that are not missing, by ascending value."""


def _numbers(batch: pa.RecordBatch, name: str) -> Floats:
    column = batch.column(batch.schema.get_field_index(name)).cast(pa.float64())
    values = np.array(column.to_numpy(zero_copy_only=False), dtype=np.float64)  # null -> NaN
    values[~np.isfinite(values)] = np.nan
    return values


def _texts(batch: pa.RecordBatch, name: str) -> tuple[npt.NDArray[np.int64], list[str]]:
    column = batch.column(batch.schema.get_field_index(name)).cast(pa.string())
    encoded = column.fill_null("missing").dictionary_encode()
    return encoded.indices.to_numpy().astype(np.int64), encoded.dictionary.to_pylist()


def _median(ascending: Floats, weights: Floats) -> float | None:
    """Weighted median: the mean of the two middle values where the weight splits evenly."""
    if not len(ascending):
        return None
    upto = np.cumsum(weights)
    half = upto[-1] / 2
    low = int(np.searchsorted(upto, half, side="left"))
    high = int(np.searchsorted(upto, half, side="right"))
    return float((ascending[low] + ascending[min(high, len(ascending) - 1)]) / 2)


def _ascending(values: Floats) -> npt.NDArray[np.intp]:
    """Rows by ascending value, equal ones in any order, without the missing ones."""
    return np.argsort(values)[: len(values) - int(np.isnan(values).sum())]


def _mid_ranks(values: Floats, weights: Floats, order: npt.NDArray[np.intp]) -> Floats:
    """Share of the weight below each value, plus half of the weight tied with it; NaN stays NaN."""
    rank = np.full(len(values), np.nan)
    if not len(order):
        return rank
    ascending = values[order]
    group = np.full(len(values), -1)
    group[order] = np.cumsum(np.r_[False, ascending[1:] != ascending[:-1]])
    mass = np.bincount(group + 1, weights=weights)[1:]  # in the order of the rows
    below = np.cumsum(mass) - mass
    known = group >= 0
    rank[known] = ((below + mass / 2) / mass.sum())[group[known]]
    return rank


def _overall(values: Floats, weights: Floats) -> _Everybody | None:
    order = _ascending(values)
    if not len(order):
        return None
    known = ~np.isnan(values)
    v, w = values[known], weights[known]
    mean = float(np.average(v, weights=w))
    sd = float(np.sqrt(np.average((v - mean) ** 2, weights=w)))
    median = _median(values[order], weights[order]) or 0.0
    return _Everybody(mean, sd, median, _mid_ranks(values, weights, order), order)


def _feature(
    name: str,
    values: Floats,
    inside: npt.NDArray[np.bool_],
    weights: Floats,
    everybody: _Everybody | None,
    exact: Mapping[str, float] | None,
) -> FeatureProfile:
    use = np.flatnonzero(inside & ~np.isnan(values))
    w = weights[use]
    mean = float(np.average(values[use], weights=w)) if len(use) else None
    if exact is not None:
        given = exact.get(name)
        mean = float(given) if given is not None and np.isfinite(given) else None
    if everybody is None:
        return FeatureProfile(name, mean, None, None, None, None, None, 0.5)
    z = (mean - everybody.mean) / everybody.sd if mean is not None and everybody.sd > 0 else None
    lift = mean / everybody.mean if mean is not None and everybody.mean > 0 else None
    place = float(np.average(everybody.rank[use], weights=w)) if len(use) else 0.5
    sorted_rows = everybody.order[inside[everybody.order]]
    median = _median(values[sorted_rows], weights[sorted_rows])
    return FeatureProfile(name, mean, median, everybody.median, everybody.mean, z, lift, place)


def _levels(
    name: str,
    codes: npt.NDArray[np.int64],
    names: Sequence[str],
    inside: npt.NDArray[np.bool_],
    weights: Floats,
) -> list[LevelProfile]:
    """The levels that say most of the segment: largest share * log odds, ties by name."""
    if not inside.any() or inside.all():
        return []
    here = np.bincount(codes[inside], weights=weights[inside], minlength=len(names))
    there = np.bincount(codes[~inside], weights=weights[~inside], minlength=len(names))
    log_odds = np.log((here + 0.5) / (here.sum() - here + 0.5)) - np.log(
        (there + 0.5) / (there.sum() - there + 0.5)
    )
    share, usual = here / here.sum(), (here + there) / (here.sum() + there.sum())
    order = sorted(range(len(names)), key=lambda i: (-share[i] * log_odds[i], names[i]))
    return [
        LevelProfile(name, names[i], float(share[i]), float(usual[i]), float(log_odds[i]))
        for i in order[:LEVELS]
        if log_odds[i] > 0
    ]


def _exemplars(
    batch: pa.RecordBatch,
    inside: npt.NDArray[np.bool_],
    distance: Floats,
    names: Sequence[str],
) -> tuple[Mapping[str, float | str | None], ...]:
    rows = np.flatnonzero(inside)
    nearest = rows[np.argsort(distance[rows], kind="stable")[:EXEMPLARS]]
    picked = batch.select(list(names)).take(pa.array(nearest))
    return tuple(
        {k: None if isinstance(v, float) and not np.isfinite(v) else v for k, v in row.items()}
        for row in picked.to_pylist()
    )


def _explained_rank(name: str, values: Floats, segment: Ints, weights: Floats) -> Separation:
    known = ~np.isnan(values)
    rank = _mid_ranks(values, weights, _ascending(values))[known]
    w = weights[known]
    _, group = np.unique(segment[known], return_inverse=True)
    n, k = len(rank), int(group.max()) + 1 if len(group) else 0
    if n <= k or k < 2:
        return Separation(name, 0.0, 0.0)
    mass = np.bincount(group, weights=w)
    centre = np.bincount(group, weights=w * rank) / mass
    mean = np.average(rank, weights=w)
    total = float(np.sum(w * (rank - mean) ** 2))
    if total <= 0:
        return Separation(name, 0.0, 0.0)
    eta = float(np.sum(mass * (centre - mean) ** 2)) / total
    explained = min(1.0, max(0.0, 1 - (1 - eta) * (n - 1) / (n - k)))
    return Separation(name, explained, explained / (1 - explained) if explained < 1 else None)


def _explained_level(
    name: str, codes: npt.NDArray[np.int64], names: Sequence[str], segment: Ints, weights: Floats
) -> Separation:
    _, group = np.unique(segment, return_inverse=True)
    n = len(codes)
    k, m = (int(group.max()) + 1 if n else 0), len(names)
    if n < 2 or k < 2 or m < 2:
        return Separation(name, 0.0, 0.0)
    table = np.zeros((k, m))
    np.add.at(table, (group, codes), weights)
    table /= table.sum()
    expected = table.sum(axis=1, keepdims=True) * table.sum(axis=0, keepdims=True)
    phi2 = float(np.sum((table - expected) ** 2 / expected))
    # Bergsma 2013: the bias-corrected V of independent columns is 0, not (k-1)(m-1)/n.
    phi2 = max(0.0, phi2 - (k - 1) * (m - 1) / (n - 1))
    size = min(k - (k - 1) ** 2 / (n - 1), m - (m - 1) ** 2 / (n - 1)) - 1
    explained = min(1.0, phi2 / size) if size > 0 else 0.0
    return Separation(name, explained, explained / (1 - explained) if explained < 1 else None)
