"""Fit an outlier reference on the weighted sample; scoring is then a pure function of a block."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.models.density import DensityModel
from segpipe.models.detectors import (
    DensityDetector,
    ForestDetector,
    LogDensity,
    MassDetector,
    SegmentDetector,
)
from segpipe.scoring.views import blend, fit_ellipsoid, fit_tails, grow_forest
from segpipe.values import Block, Detector, Floats, SegmentModel

MICRO = 128
"""Micro-clusters of the mass score: 512 gain nothing (``algorithms.md`` section 4)."""
MICRO_ROWS = 1 << 15
CLUMP = 2.0
"""Entities are looked at with so many times ``outliers.mass``: odd ones of a kind lie together, and
the blend's other views see what a wide neighbourhood blurs."""
BURST = 4.0
"""Network logs are looked at with so many times ``outliers.mass``: attacks come in bursts, and a
burst as large as the neighbourhood is its own neighbourhood."""
BURST_MICRO = 32
"""Micro-clusters for it: a larger share needs no finer places."""
FOREST_ROWS = 65536
"""Rows that the trees draw theirs from: 2.5 times what they draw in all."""

Micro = Callable[[Block, Floats, int], Floats]
"""(x, w, k) -> centres (k, d): the caller's weighted k-means."""
Density = Callable[[str, Block, Floats], DensityModel]
"""(kind, x, w) -> model: the caller's ``fit.density.fit_density``."""


def fit_detector(
    method: str,
    x: Block,
    w: Floats,
    *,
    mass: float,
    model: SegmentModel | None,
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
    model : the segment model over the same blocks; a density model of the asked kind is used as it
        is. None: there is none over these blocks, and ``segment`` has nothing to say
    micro, density : fits of the layer beside this one, called only where the method needs them
    seed : of the isolation forest
    """
    if method == "none":
        return None
    if method == "mass":
        return _mass(x, w, mass, micro)
    if method == "isolation_forest":
        return fit_forest(x, w, seed)
    if method == "ensemble":
        return _ensemble(x, w, mass, micro, seed)
    if method == "segment" and model is not None:
        return fit_segment(x, w, model)
    if method in ("hdbscan", "dbscan"):
        same = isinstance(model, DensityModel) and model.kind == method
        return DensityDetector(model if same else density(method, x, w))  # type: ignore[arg-type]
    raise ValueError(f"outlier method {method!r}")


def _mass(x: Block, w: Floats, mass: float, micro: Micro) -> Detector:
    """For entities: three views of how little of the table lies around a row.

    How far the nearest share of it is, how far out of the ellipsoid of most rows it lies, how far
    out in the tails of the features.
    """
    near = fit_mass(x, w, _places(micro, x, w, MICRO), min(CLUMP * mass, 1.0))
    views = ((near, 3.0), (fit_ellipsoid(x, w), 2.0), (fit_tails(x, w), 1.0))
    return blend("mass", views, x, w)


def _ensemble(x: Block, w: Floats, mass: float, micro: Micro, seed: int) -> Detector:
    """For log rows: what bursts cannot hide from, tails of single features above all."""
    near = fit_mass(x, w, _places(micro, x, w, BURST_MICRO), min(BURST * mass, 1.0))
    views = ((near, 0.5), (fit_forest(x, w, seed), 1.0), (fit_tails(x, w), 2.0))
    return blend("ensemble", views, x, w)


def _places(micro: Micro, x: Block, w: Floats, most: int) -> Floats:
    """Centres of ``most`` micro-clusters, fewer if there are fewer distinct rows.

    The first rows of a hash-ordered sample are a sample: enough to place the centres; shares and
    spreads then come from all rows.
    """
    x, w = np.ascontiguousarray(x[:, :MICRO_ROWS]), w[:MICRO_ROWS]
    places = np.unique(x[:, w > 0][:, : 16 * most], axis=1).shape[1]
    if places < most:
        places = np.unique(x[:, w > 0], axis=1).shape[1]
    return micro(x, w, min(most, places))


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
    """100 trees of 256 rows, on rows drawn in proportion to their weight."""
    rows = resample(w, min(x.shape[1], FOREST_ROWS))
    return grow_forest(np.ascontiguousarray(x[:, rows]), seed)


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
