"""HDBSCAN and DBSCAN on a de-duplicated, stratified sample, frozen as look-up tables.

Both libraries see every distinct place once: identical rows give hdbscan infinite densities and
NaN scores. What the sample cannot show is stated (``smallest_group``), not hidden.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from segpipe.errors import ConfigError
from segpipe.fit.thinning import density_sample, distinct, smallest_shown
from segpipe.fit.validity import dbcv
from segpipe.kernels import nearest as kernel
from segpipe.models.density import DensityModel, density_model
from segpipe.values import Block, Floats, Ints

MIN_SAMPLES = 10
GAIN = 0.1
"""DBCV of 2,000 rows differs by about this between draws: less is no reason to leave a default."""
LEAST_SEEN = 3
"""Sampled rows that must lie within ``eps`` of a core at least: one sees itself."""
FEW = 8
"""Distinct rows below which density means nothing: they are one segment."""


@dataclass(frozen=True, slots=True)
class _Found:
    labels: Ints
    own: Floats
    cut: Floats
    """Per cluster."""
    settings: tuple[tuple[str, float], ...]


def fit_density(
    kind: str,
    x: Block,
    w: Floats,
    *,
    rows: int = 20000,
    min_share: float = 0.005,
    seed: int = 0,
    unit: float = 1.0,
    eps: float | None = None,
    min_samples: int | None = None,
    min_cluster_size: int | None = None,
) -> DensityModel:
    """Fit ``kind`` (hdbscan | dbscan) and freeze it; deterministic, never NaN.

    Parameters
    ----------
    x : (d, n) scaled rows, n >= 1
    w : (n,) table rows that each stands for
    rows : distinct rows that the library sees at most
    min_share : clusters with a smaller share of the table become noise
    eps : radius of dbscan in the block's units; None: from the knee of the k-distances
    min_samples : rows of the table within ``eps`` of a core (dbscan), or the neighbour among the
        rows that the library sees whose distance is the core distance (hdbscan); None: by default
    min_cluster_size : of hdbscan, among the rows that the library sees; None: the most valid

    Returns
    -------
    A model whose ``evidence`` holds sample_rows, clusters, noise_share, dbcv, smallest_group (table
    rows of the smallest group that the sample can be trusted to show) and the settings chosen.

    Raises
    ------
    ConfigError
        hdbscan is not installed; a ``min_samples`` of dbscan too small for the sample to show.
    """
    fits = {
        "hdbscan": partial(_hdbscan, near=min_samples, size=min_cluster_size),
        "dbscan": partial(_dbscan, eps=eps, asked=min_samples),
    }
    if kind not in fits:
        raise ValueError(f"density kind {kind!r}")
    places, mass = distinct(x, w)
    seen = density_sample(places, mass, rows, seed)
    points, weight = places[:, seen[0]], seen[1]
    if kind == "dbscan" and min_samples is not None and points.shape[1] < places.shape[1]:
        _countable(min_samples, weight)
    found = (
        _one_segment(points)
        if points.shape[1] < FEW
        else fits[kind](points, weight, min_share, seed)
    )
    labels, cut = _without_small(found, weight, min_share)
    member = labels >= 0
    evidence = (
        ("sample_rows", float(points.shape[1])),
        ("clusters", float(len(cut))),
        ("noise_share", float(weight[~member].sum() / weight.sum())),
        ("dbcv", dbcv(points, labels, weight, seed=seed)),
        ("smallest_group", smallest_shown(weight, points.shape[1])),
        *found.settings,
    )
    kept = member if member.any() else np.ones(len(labels), bool)
    own = found.own[kept] if kind == "hdbscan" else np.zeros(int(kept.sum()))
    return density_model(
        kind,
        np.ascontiguousarray(points[:, kept].T),
        own,
        labels[kept],
        weight[kept],
        cut,
        _usual(found.own[kept], labels[kept], weight[kept], len(cut)),
        evidence,
        unit,
    )


def _one_segment(points: Block) -> _Found:
    """Too few places to speak of density: one segment that reaches across all of them."""
    n = points.shape[1]
    spread = float(np.sqrt(kernel.distances(points, points.T).max(initial=0.0)))
    return _Found(
        np.zeros(n, np.int32), np.full(n, max(spread, 1e-3)), np.array([spread + 1.0]), ()
    )


def _hdbscan(
    points: Block,
    weight: Floats,
    min_share: float,
    seed: int,
    near: int | None = None,
    size: int | None = None,
) -> _Found:
    """One spanning tree, several smallest cluster sizes; density validity chooses."""
    try:
        from hdbscan import HDBSCAN
        from hdbscan.hdbscan_ import _tree_to_labels
    except ImportError as error:
        raise ConfigError(
            "fit.model or outliers.method 'hdbscan' needs the package hdbscan, which is absent.",
            "pip install 'segpipe[density]'",
        ) from error
    rows = np.ascontiguousarray(points.T, np.float64)
    n = len(rows)
    near = min(near or MIN_SAMPLES, n - 2)
    library = HDBSCAN(min_cluster_size=5, min_samples=near, core_dist_n_jobs=1).fit(rows)
    linkage = library.single_linkage_tree_.to_numpy()
    own = _neighbour_distance(rows, near)
    sizes = [max(5, round(share * n)) for share in (0.01, 0.02, 0.04, min_share)]
    sizes = list(dict.fromkeys(sizes)) if size is None else [size]

    def cut_at(size: int, single: bool = False) -> _Found:
        labels, _, _, tree, _ = _tree_to_labels(
            rows, linkage, min_cluster_size=size, allow_single_cluster=single
        )
        labels = np.asarray(labels, np.int32)
        settings = (("min_cluster_size", float(size)), ("min_samples", float(near)))
        return _Found(labels, own, _births(np.asarray(tree), labels, own), settings)

    best = _best([partial(cut_at, size) for size in sizes], points, weight, seed)
    return best if len(best.cut) else cut_at(min(sizes), single=True)


def _dbscan(
    points: Block,
    weight: Floats,
    min_share: float,
    seed: int,
    eps: float | None = None,
    asked: int | None = None,
) -> _Found:
    """Radius from the knee of the weighted k-distance curve; density validity chooses around it."""
    from sklearn.cluster import DBSCAN

    rows = np.ascontiguousarray(points.T, np.float64)
    n, d = rows.shape
    mass = weight / weight.mean() if asked is None else weight
    need = min(max(MIN_SAMPLES, 2 * d), max(2, n // 2)) if asked is None else asked
    smallest = min_share * (n if asked is None else float(weight.sum()))
    if eps is None:
        bend = knee(_weighted_distance(rows, mass, need), weight)
        radii = [bend * f for f in (1.0, 0.7, 1.4, 2.0)]
    else:
        radii = [eps]

    def radius(eps: float) -> _Found:
        fitted = DBSCAN(eps=eps, min_samples=need).fit(rows, sample_weight=mass)
        labels = np.full(n, -1, np.int32)
        cores = fitted.core_sample_indices_
        labels[cores] = fitted.labels_[cores]
        held = np.bincount(labels + 1, mass, labels.max() + 2)[1:]
        new = np.full(len(held) + 1, -1, np.int32)
        new[:-1][held >= smallest] = np.arange(int((held >= smallest).sum()))
        labels = new[labels]
        cut = np.full(int(labels.max()) + 1, eps)
        return _Found(
            labels, np.full(n, eps / 2), cut, (("eps", eps), ("min_samples", float(need)))
        )

    return _best([partial(radius, r) for r in radii], points, weight, seed)


def _countable(asked: int, weight: Floats) -> None:
    """Refuse a ``min_samples`` in table rows that a thinned sample cannot count to."""
    each = float(np.median(weight))
    if asked < LEAST_SEEN * each:
        raise ConfigError(
            f"min_samples = {asked} rows were asked for, but each of the {len(weight):,} rows that "
            f"DBSCAN sees stands for about {each:.1f}.",
            f"raise density_rows, or ask for {int(np.ceil(LEAST_SEEN * each))} or more",
        )


def _best(
    candidates: list[Callable[[], _Found]], points: Block, weight: Floats, seed: int
) -> _Found:
    """The first candidate, unless a later one's density validity is clearly higher."""
    best = candidates[0]()
    top = dbcv(points, best.labels, weight, seed=seed)
    for candidate in candidates[1:]:
        found = candidate()
        value = dbcv(points, found.labels, weight, seed=seed)
        if value > top + GAIN or len(found.cut) > len(best.cut) == 0:
            best, top = found, value
    return best


def _neighbour_distance(rows: Floats, k: int) -> Floats:
    """Distance (n,) of each row to its k-th neighbour, itself not counted."""
    from sklearn.neighbors import NearestNeighbors

    finder = NearestNeighbors(n_neighbors=k + 1).fit(rows)
    return np.asarray(finder.kneighbors(rows)[0][:, -1])


def _weighted_distance(rows: Floats, weight: Floats, need: int) -> Floats:
    """Radius (n,) within which each row and its neighbours weigh ``need``, as DBSCAN counts."""
    from sklearn.neighbors import NearestNeighbors

    k = min(len(rows), 4 * need)
    distance, at = NearestNeighbors(n_neighbors=k).fit(rows).kneighbors(rows)
    enough = np.cumsum(weight[at], axis=1) >= need
    first = np.where(enough.any(axis=1), enough.argmax(axis=1), k - 1)
    return np.asarray(distance[np.arange(len(rows)), first])


def _births(tree: npt.NDArray[np.void], labels: Ints, own: Floats) -> Floats:
    """Per cluster the reachability below which rows join it: where it split off in the tree.

    A cluster's node is the highest one whose rows all bear its label (ids grow downwards).
    """
    n = len(labels)
    parent, child, level = tree["parent"], tree["child"], tree["lambda_val"]
    low = np.full(int(max(parent.max(), child.max())) - n + 1, n, np.int64)
    high = np.full(len(low), -2, np.int64)
    rows = child < n
    np.minimum.at(low, parent[rows] - n, labels[child[rows]])
    np.maximum.at(high, parent[rows] - n, labels[child[rows]])
    birth = np.zeros(len(low))
    groups = np.flatnonzero(~rows)
    for i in groups[np.argsort(-child[groups], kind="stable")]:
        up, down = parent[i] - n, child[i] - n
        low[up], high[up] = min(low[up], low[down]), max(high[up], high[down])
        birth[down] = level[i]
    cut = np.empty(int(labels.max(initial=-1)) + 1)
    for g in range(len(cut)):
        node = np.flatnonzero((low == g) & (high == g))
        widest = float(own[labels == g].max())
        # The root has no birth (one single cluster): its own sparsest row bounds it.
        rate = birth[node[0]] if len(node) else 0.0
        cut[g] = max(1.0 / rate, widest) if rate > 0 else widest
    return cut


def knee(own: Floats, weight: Floats) -> float:
    """The value of the rising weighted curve farthest below its chord (Satopaa et al. 2011).

    Above 0: the smallest positive value where the curve is flat at 0.
    """
    order = np.argsort(own, kind="stable")
    rising = own[order]
    span = rising[-1] - rising[0]
    if span <= 0:
        return max(float(rising[-1]), 1e-3)
    along = np.cumsum(weight[order]) / weight.sum()
    at = int(np.argmax(along - (rising - rising[0]) / span))
    return float(max(rising[at], rising[rising > 0][0]))


def _without_small(found: _Found, weight: Floats, min_share: float) -> tuple[Ints, Floats]:
    """Clusters below ``min_share`` of the table become noise, unless none would be left."""
    k = len(found.cut)
    if k == 0:
        return found.labels, found.cut
    held = np.bincount(found.labels + 1, weight, k + 1)[1:] / weight.sum()
    keep = held >= min_share
    if not keep.any():
        keep[int(np.argmax(held))] = True
    new = np.full(k + 1, -1, np.int32)
    new[:-1][keep] = np.arange(int(keep.sum()))
    return new[found.labels], found.cut[keep]


def _usual(own: Floats, labels: Ints, weight: Floats, k: int) -> Floats:
    """(k + 1,) weighted median of the cores' own distances per segment; last: of all."""
    usual = np.empty(k + 1)
    for g in range(k + 1):
        member = labels == g if g < k else np.ones(len(labels), bool)
        order = np.argsort(own[member], kind="stable")
        cumulated = np.cumsum(weight[member][order])
        at = min(int(np.searchsorted(cumulated, 0.5 * cumulated[-1])), len(order) - 1)
        usual[g] = max(float(own[member][order][at]), 1e-6)
    return usual
