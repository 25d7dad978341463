"""Fit an outlier reference on the weighted sample; scoring is then a pure function of a block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.models.density import DensityModel
from segpipe.models.detectors import (
    DensityDetector,
    EnsembleDetector,
    ForestDetector,
    LogDensity,
    MassDetector,
    SegmentDetector,
)
from segpipe.models.weighted import quantiles
from segpipe.values import Block, Detector, Floats, Sample, SegmentModel

MICRO = 128
"""Micro-clusters of the mass score: 512 gain nothing (``algorithms.md`` section 4)."""
MICRO_ROWS = 1 << 15
TREES, TREE_ROWS = 100, 256
FOREST_ROWS = 65536
"""Rows that the trees draw theirs from: 2.5 times what they draw in all."""

Micro = Callable[[Block, Floats, int], Floats]
"""(x, w, k) -> centres (k, d): the caller's weighted k-means."""
Density = Callable[[str, Block, Floats], DensityModel]
"""(kind, x, w) -> model: the caller's ``fit.density.fit_density``."""


def reference_weights(sample: Sample, collapse: str) -> Floats:
    """Weight (n,) of each sampled row in the outlier reference.

    none: the table rows that it stands for. exact: each distinct row counts once however often
    it occurs. bursts: as none; bursts were already collapsed into one row by the features.

    The choice is a matter of meaning, not of quality: floods of identical log rows must not
    define what is usual, identical customers may (``algorithms.md`` section 4).
    """
    if collapse not in ("none", "exact", "bursts"):
        raise ValueError(f"collapse {collapse!r}")
    if collapse == "exact":
        return np.asarray(sample.weight / np.maximum(sample.count, 1.0))
    return sample.weight


def fit_detector(
    method: str,
    x: Block,
    w: Floats,
    *,
    mass: float,
    model: SegmentModel,
    micro: Micro,
    density: Density,
    seed: int,
) -> Detector | None:
    """The reference of ``outliers.method``; None for ``none``.

    Parameters
    ----------
    method : mass | isolation_forest | ensemble | segment | hdbscan | dbscan | none
    x : (d, n) the sample's block, n >= 1
    w : (n,) from ``reference_weights``
    mass : share of the reference that the mass score looks at, in (0, 1]
    model : the segment model; a density model of the asked kind is used as it is
    micro, density : fits of the layer beside this one, called only where the method needs them
    seed : of the isolation forest
    """
    if method == "none":
        return None
    if method == "mass":
        return fit_mass(x, w, _places(micro, x, w), mass)
    if method == "isolation_forest":
        return fit_forest(x, w, seed)
    if method == "ensemble":
        near = fit_mass(x, w, _places(micro, x, w), mass)
        return _ensemble(near, fit_forest(x, w, seed), x, w)
    if method == "segment":
        return fit_segment(x, w, model)
    if method in ("hdbscan", "dbscan"):
        same = isinstance(model, DensityModel) and model.kind == method
        return DensityDetector(model if same else density(method, x, w))  # type: ignore[arg-type]
    raise ValueError(f"outlier method {method!r}")


def _places(micro: Micro, x: Block, w: Floats) -> Floats:
    """Centres of ``MICRO`` micro-clusters, fewer if there are fewer distinct rows.

    The first rows of a hash-ordered sample are a sample: enough to place the centres; shares and
    spreads then come from all rows.
    """
    x, w = np.ascontiguousarray(x[:, :MICRO_ROWS]), w[:MICRO_ROWS]
    places = np.unique(x[:, w > 0][:, : 16 * MICRO], axis=1).shape[1]
    if places < MICRO:
        places = np.unique(x[:, w > 0], axis=1).shape[1]
    return micro(x, w, min(MICRO, places))


def fit_mass(x: Block, w: Floats, centres: Floats, mass: float) -> MassDetector:
    """Shares, means and spreads of the rows nearest to each of (k, d) centres; empty ones go."""
    label, _, _ = kernel.nearest(x, centres)
    count, linear = kernel.moments(x, w, label, len(centres))
    held = count > 0
    means = linear[held] / count[held][:, None]
    label = (np.cumsum(held) - 1)[label].astype(np.int32)
    errors = kernel.add_up(x, w, label, means).errors
    return MassDetector(means, count[held] / count.sum(), errors / count[held], mass)


def fit_forest(x: Block, w: Floats, seed: int) -> ForestDetector:
    """100 trees of 256 rows by scikit-learn, on rows drawn in proportion to their weight."""
    from sklearn.ensemble import IsolationForest

    rows = resample(w, min(x.shape[1], FOREST_ROWS))
    forest = IsolationForest(
        n_estimators=TREES,
        max_samples=min(TREE_ROWS, len(rows)),
        random_state=np.random.RandomState(seed),
    )
    return ForestDetector.of(forest.fit(np.ascontiguousarray(x[:, rows].T)))


def resample(w: Floats, rows: int) -> npt.NDArray[np.intp]:
    """Numbers of ``rows`` rows, each as often as its share of the weight says, give or take one.

    Systematic: the row at the middle of each of ``rows`` equal steps of the cumulated weight. Equal
    weights and ``rows == len(w)`` give every row once.
    """
    cumulated = np.cumsum(w)
    steps = (np.arange(rows) + 0.5) * (cumulated[-1] / rows)
    found = np.searchsorted(cumulated, steps, side="right")
    return np.asarray(np.minimum(found, len(w) - 1), np.intp)


def fit_segment(x: Block, w: Floats, model: SegmentModel) -> SegmentDetector:
    """The usual distance of each segment's rows; of all rows where a segment has none."""
    if isinstance(model, LogDensity):
        return SegmentDetector(model, np.ones(model.k + 1))
    said = model.label(x)
    square = np.bincount(said.segment + 1, w * said.distance**2, model.k + 1)
    count = np.bincount(said.segment + 1, w, model.k + 1)
    overall = max(float(square.sum() / count.sum()), 1e-12)
    mean = np.divide(square, count, out=np.zeros_like(square), where=count > 0)
    # A segment of identical rows has no width of its own: a hundredth of the table's.
    mean = np.maximum(np.where(count > 0, mean, overall), 1e-4 * overall)
    return SegmentDetector(model, np.sqrt(np.append(mean[1:], mean[0])))


def _ensemble(near: MassDetector, trees: ForestDetector, x: Block, w: Floats) -> EnsembleDetector:
    (m0, s0), (m1, s1) = (_location(detector.score(x), w) for detector in (near, trees))
    return EnsembleDetector(near, trees, (m0, m1), (s0, s1))


def _location(score: Floats, w: Floats) -> tuple[float, float]:
    """Median and q90 - median; the standard deviation, or 1, where more than 40 % are equal."""
    middle, high = quantiles(score, w, (0.5, 0.9))
    if high > middle:
        return middle, high - middle
    mean = float((score * w).sum() / w.sum())
    spread = float(np.sqrt((w * (score - mean) ** 2).sum() / w.sum()))
    return middle, spread if spread > 0 else 1.0
