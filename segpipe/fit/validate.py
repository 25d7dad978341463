"""Evidence for people about the segments that were chosen: nothing here decides.

Silhouettes row by row, stability segment by segment, the elbow and the gap statistic over K; all
on bounded parts of the sample. Segment numbers are those of the label table.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.errors import SegpipeError
from segpipe.fit import quality
from segpipe.fit.decision import data_of
from segpipe.fit.evidence import as_json
from segpipe.fit.kmeans import fit_kmeans, subset
from segpipe.fit.stability import jaccard, stability
from segpipe.kernels import nearest as kernel
from segpipe.kernels.quantise import BOUND
from segpipe.values import Block, Floats, Ints, SegmentModel

ROWS = 2_000
"""Rows of the exact silhouettes: all pairs of them are compared."""
POINTS = 60
"""Silhouettes that are kept per segment, evenly spaced among its sorted ones."""
REFIT_ROWS = 4_000
MOST = 64
"""Segments whose stability is measured: halves of 4,000 rows hold too few rows of more."""
SPLITS, STRENGTH_STARTS = 2, 3
GAP_ROWS, GAP_DRAWS, GAP_K = 600, 5, 20

Rows = npt.NDArray[np.intp]
Refit = Callable[[Block, Floats, SegmentModel], SegmentModel]
"""(x, w, model) -> the same kind of model, of these rows."""


@dataclass(frozen=True, slots=True)
class Knife:
    """One segment's silhouettes."""

    segment: int
    mean: float
    """Weighted, in -1..1."""
    misplaced: float
    """Weighted share of its rows that lie nearer to another segment (silhouette below 0)."""
    values: tuple[float, ...]
    """At most ``POINTS`` of them, falling."""


def validate(
    model: SegmentModel,
    x: Block,
    w: Floats,
    sweep: Sequence[Mapping[str, Any]],
    refit: Refit | None,
    seed: int,
) -> dict[str, Any]:
    """Silhouettes, stability, prediction strength, elbow and gap as plain JSON values.

    Absent is what cannot be told.

    Parameters
    ----------
    x : (d, n) scaled sample; w : (n,) weights
    sweep : rows with k and inertia, of the candidates that were tried; empty where k was given
    refit : fits a model of the same kind afresh; not needed for K-Means, and None: not measured
    """
    if model.k < 2:
        return {}
    few = subset(x.shape[1], REFIT_ROWS, seed)
    part, weight = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    found: dict[str, Any] = {
        "silhouettes": [
            {"segment": k.segment, "mean": k.mean, "misplaced": k.misplaced, "values": k.values}
            for k in knives(model, x, w, seed)
        ]
    }
    refit = None if refit is None else _once(refit)
    stable = segment_stability(model, part, weight, refit, seed)
    if stable is not None:
        found["stability"] = stable
    strength = prediction_strength(model, part, weight, refit, seed)
    if strength is not None:
        found["prediction_strength"] = strength
    tried = [row for row in sweep if row.get("inertia") is not None]
    if len(tried) > 1:
        data = data_of(x, w, seed)  # the rows that the candidates were compared on
        middle = (data.few_w * data.few.astype(np.float64)).sum(axis=1) / data.few_w.sum()
        one = kernel.lloyd_sums(data.few, data.few_w, middle[None, :]).inertia
        ks, errors = [row["k"] for row in tried], [row["inertia"] for row in tried]
        found["elbow"] = elbow([1, *ks], [one, *errors])
        found["gap"] = gap(part, weight, min(max(ks), GAP_K), seed)
    answer: dict[str, Any] = as_json(found)
    return answer


def knives(model: SegmentModel, x: Block, w: Floats, seed: int) -> list[Knife]:
    """Exact silhouettes of at most ``ROWS`` rows, some of every segment; noise is left out."""
    label = model.label(x).segment
    rows = quality.silhouette_sample(label, ROWS, seed)
    if len(np.unique(label[rows])) < 2:
        return []
    weight = quality.stratum_weight(label, w, rows)
    value = quality.silhouettes(np.ascontiguousarray(x[:, rows]), weight, label[rows])
    found = []
    for s in np.unique(label[rows]):
        own, mass = value[label[rows] == s], weight[label[rows] == s]
        order = np.argsort(-own, kind="stable")
        at = np.unique(np.linspace(0, len(order) - 1, min(POINTS, len(order))).astype(int))
        found.append(
            Knife(
                int(s),
                float((mass * own).sum() / mass.sum()),
                float(mass[own < 0].sum() / mass.sum()),
                tuple(float(v) for v in own[order[at]]),
            )
        )
    return found


def segment_stability(
    model: SegmentModel, x: Block, w: Floats, refit: Refit | None, seed: int
) -> list[float | None] | None:
    """Mean Jaccard of each segment with its best match in refits on halves of the rows (k,).

    K-Means by ``stability``, which keeps the better of two starts; others by ``refit``. A segment
    that no half holds has None; None for all where nothing can be refitted, or k is too large.
    """
    if model.k > MOST:
        return None
    if model.kind == "kmeans":
        return [float(v) for v in stability(x, w, np.asarray(model.centres), seed)]
    if refit is None:
        return None
    table = []
    for rows in (half for split in _splits(x.shape[1], seed) for half in split):
        part, weight = np.ascontiguousarray(x[:, rows]), w[rows]
        own = model.label(part).segment
        try:
            again = refit(part, weight, model).label(part).segment
        except SegpipeError:  # too few distinct rows in this half: nothing was found again
            again = np.full(len(rows), -1, np.int32)
        found = np.full(model.k, np.nan)
        found[: int(own.max(initial=-1)) + 1] = jaccard(own, again, weight)
        table.append(found)
    seen = np.isfinite(table)
    times = seen.sum(axis=0)
    mean = np.where(seen, table, 0.0).sum(axis=0) / np.maximum(times, 1)
    return [float(mean[s]) if times[s] else None for s in range(model.k)]


def prediction_strength(
    model: SegmentModel, x: Block, w: Floats, refit: Refit | None, seed: int
) -> float | None:
    """Share of the pairs of a segment that a fit to other rows keeps together, of the worst one.

    Tibshirani & Walther 2005: one half of the rows is segmented by itself and by a model of the
    other half; mean over both halves of ``SPLITS`` splits. From .8 segments are called
    well separated; 1 / k or less is chance. None where nothing can be refitted or k is too large.
    """
    if model.k > MOST or (model.kind != "kmeans" and refit is None):
        return None

    def fit(rows: Block, mass: Floats) -> SegmentModel:
        if refit is not None and model.kind != "kmeans":
            return refit(rows, mass, model)
        return fit_kmeans(rows, mass, model.k, STRENGTH_STARTS, seed)

    least = []
    for halves in _splits(x.shape[1], seed):
        try:
            fits = [fit(np.ascontiguousarray(x[:, rows]), w[rows]) for rows in halves]
        except SegpipeError:  # too few distinct rows in a half
            return None
        for at, rows in enumerate(halves):
            part = np.ascontiguousarray(x[:, rows])
            own, told = (fits[j].label(part).segment for j in (at, 1 - at))
            least.append(_kept_pairs(own, told, w[rows]))
    return float(np.mean(least))


def _splits(n: int, seed: int) -> list[tuple[Rows, Rows]]:
    """SPLITS times the numbers of n rows in two halves, each ascending."""
    found = []
    for i in range(SPLITS):
        order = np.random.default_rng([seed, n, i]).permutation(n)
        found.append((np.sort(order[: n // 2]), np.sort(order[n // 2 :])))
    return found


def _once(refit: Refit) -> Refit:
    """``refit`` that fits the same rows once: stability and prediction strength share halves."""
    known: dict[bytes, SegmentModel] = {}

    def fitted(x: Block, w: Floats, model: SegmentModel) -> SegmentModel:
        key = x.tobytes()
        if key not in known:
            known[key] = refit(x, w, model)
        return known[key]

    return fitted


def _kept_pairs(own: Ints, told: Ints, w: Floats) -> float:
    """Of the worst cluster of ``own``: weighted share of its pairs that ``told`` keeps together.

    Noise (-1) of ``own`` is no cluster, of ``told`` keeps nothing together.
    """
    worst = 1.0
    for c in np.unique(own[own >= 0]):
        rows = own == c
        alone = float(np.square(w[rows]).sum())
        pairs = float(w[rows].sum()) ** 2 - alone
        with_it = rows & (told >= 0)
        joint = np.bincount(told[with_it], w[with_it])
        kept = float(np.square(joint).sum()) - float(np.square(w[with_it]).sum())
        if pairs > 0:
            worst = min(worst, max(kept, 0.0) / pairs)
    return worst


def elbow(k: Sequence[int], inertia: Sequence[float]) -> int | None:
    """The K farthest below the chord of the falling curve (Satopaa et al. 2011, "kneedle").

    None for fewer than three points, or a curve that falls no faster at first than later.
    """
    if len(k) < 3 or not inertia[0] > inertia[-1]:
        return None
    along = (np.asarray(k, float) - k[0]) / (k[-1] - k[0])
    left = (np.asarray(inertia, float) - inertia[-1]) / (inertia[0] - inertia[-1])
    below = 1.0 - along - left
    best = int(np.argmax(below))
    return int(k[best]) if below[best] > 0 else None


def gap(x: Block, w: Floats, k_max: int, seed: int) -> dict[str, Any]:
    """Gap statistic of Tibshirani, Walther & Hastie 2001 on at most ``GAP_ROWS`` rows.

    Reference rows are uniform in the box around the principal components. ``k`` is the smallest K
    whose gap is within one standard error of the largest (Dudoit & Fridlyand 2002: the first K
    that beats its successor is 1 for five clear blobs); 1 says no clusters.
    """
    few = subset(x.shape[1], GAP_ROWS, seed)
    rows, weight = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    most = min(k_max, np.unique(rows[:, : 50 * k_max], axis=1).shape[1] - 1)
    own = _log_errors(rows, weight, most, seed)
    points = rows.astype(np.float64)
    centre = points.mean(axis=1, keepdims=True)
    axes = np.linalg.svd((points - centre) @ (points - centre).T)[0]
    turned = axes.T @ (points - centre)
    low, high = turned.min(axis=1, keepdims=True), turned.max(axis=1, keepdims=True)
    drawn = []
    for i in range(GAP_DRAWS):
        box = np.random.default_rng([seed, i]).uniform(low, high, turned.shape)
        inside = np.clip(axes @ box + centre, -BOUND, BOUND)
        drawn.append(_log_errors(np.ascontiguousarray(inside, np.float32), weight, most, seed))
    reference = np.array(drawn)
    value = reference.mean(axis=0) - own
    error = reference.std(axis=0) * np.sqrt(1.0 + 1.0 / GAP_DRAWS)
    best = int(np.argmax(value))
    return {
        "k": int(np.argmax(value >= value[best] - error[best])) + 1,
        "gap": value.tolist(),
        "standard_error": error.tolist(),
    }


def _log_errors(x: Block, w: Floats, k_max: int, seed: int) -> Floats:
    """Log of the inertia (k_max,) of K-Means at K = 1 .. k_max, one start each."""
    middle = (w * x.astype(np.float64)).sum(axis=1)[None, :] / w.sum()
    errors = [kernel.lloyd_sums(x, w, middle).inertia]
    errors += [
        kernel.lloyd_sums(x, w, fit_kmeans(x, w, k, 1, seed).centres).inertia
        for k in range(2, k_max + 1)
    ]
    return np.log(np.maximum(errors, 1e-300))
