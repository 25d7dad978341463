"""Which family: centres where they give the modes back, a mixture where Gaussians do, else shapes.

The modes of the density (``modes``) say how many groups there are. K-Means, Gaussian mixtures and
density models are candidates for their shapes, the simplest one first.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.fit import evidence as facts
from segpipe.fit.convex import AGREE, Centres, adjusted_rand, from_modes, judged, parted
from segpipe.fit.decision import (
    BIC_GAIN,
    DBCV_ERROR,
    ELONGATED,
    NOISY,
    TAILED,
    UNEQUAL,
    Data,
    Decision,
    Request,
    decide,
    fit_named,
    nothing,
)
from segpipe.fit.evidence import as_json
from segpipe.fit.modes import Modes, Seen, find_modes
from segpipe.fit.shapes import by_shape
from segpipe.fit.sweep import Mixtures, Sweep, ball_bic, mixture_at, mixture_of, sweep_mixtures
from segpipe.fit.thinning import distinct
from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, SegmentModel

BEYOND_DOUBT, PARTED_P = 0.005, 0.01
"""Dip p, times the features, that one border must have where the density shows one mode: two
centres cut a cube along whichever feature happens to have a dent. And the p of every border of
centres that part its modes further."""
STEADY, OPEN = 0.95, 0.25
"""Where rows are too few for sure modes: Jaccard that every cluster keeps on half of the rows, and
the share of the borders that may then be without a valley."""
AGREE_ALL = 0.75
"""Adjusted Rand index on all rows that a mixture must reach: outside the cores modes are vague."""
MODE_ROWS = 10_000
"""Distinct rows whose density is looked at."""


def see_modes(data: Data, asked: Request) -> Seen | None:
    """Modes of at most MODE_ROWS distinct rows; None where there are too few to tell."""
    places, mass = distinct(data.few, data.few_w)
    # The sample is in the order of a hash: its first rows are a sample too.
    x, w = np.ascontiguousarray(places[:, :MODE_ROWS]), mass[:MODE_ROWS]
    return find_modes(x, w, asked.min_share, asked.k_max)


def family(
    data: Data, asked: Request, found: dict[str, Any], sweep: Sweep, seen: Seen | None
) -> Decision:
    """The simplest model that describes the modes; ``seen`` None: what the sweep says alone."""
    if seen is not None:
        found["modes"] = {"sure": seen.sure.row(), "likely": seen.likely.row()}
    at = centre_candidate(data, asked, found, sweep, seen)
    if at is not None:
        decision = _by_centres(data, asked, found, sweep, at, seen)
        if decision is not None:
            return decision
    elif (decision := _by_mixture(data, asked, found, sweep, seen)) is not None:
        return decision
    if seen is not None and seen.likely.k == 1:
        reason = "the density has one mode, and neither centres nor Gaussians part the data"
        return nothing(data, asked, found, reason)
    return by_shape(data, asked, found, sweep, seen, (sweep.shape if at is None else at.shape).tail)


def centre_candidate(
    data: Data, asked: Request, found: dict[str, Any], sweep: Sweep, seen: Seen | None
) -> Centres | None:
    """The centres that describe the data, if any: the sweep's, or those that modes lead to."""
    x, w = data.few, data.few_w
    split = all(b.valley for b in sweep.borders)
    if seen is None:
        plain = Centres(sweep.centres, sweep.borders, sweep.shape, 1.0, 0)
        return plain if split else None
    steady = seen.sure.k < 2 and _steady(sweep)
    split = split or steady
    rows: list[dict[str, object]] = []
    found["centres"] = rows
    if split and sweep.k >= seen.likely.k:
        swept = judged(x, w, sweep.centres, seen.likely, seen.x)
        rows.append(swept.row())
        if swept.sound and (sweep.k == seen.likely.k or _further(swept, seen, asked)):
            return swept
        if swept.sound and steady and _beyond_doubt(swept):
            return swept
    for modes in (seen.likely, seen.sure)[: 1 + (seen.likely.k > seen.sure.k)]:
        if modes.k >= 2:
            centres = from_modes(x, w, modes, seen.x, seen.w)
            candidate = judged(x, w, centres, modes, seen.x)
            rows.append(candidate.row())
            if candidate.sound and not _pieces(x, w, candidate, seen):
                return _finer(x, w, candidate, modes, seen, asked, rows)
    return None


def _steady(sweep: Sweep) -> bool:
    """Whether each cluster is found again in halves, and few borders lack a valley.

    Of four borders of some fifty rows each, one may look level by chance, and with few rows two
    modes at the finest scale are as likely chance: that is no reason to give five clear clusters
    up. Parts of one mode are not found again.
    """
    row = next((r for r in sweep.table if r["k"] == sweep.k), {})
    level = sum(not b.valley for b in sweep.borders)
    return min(row.get("stability", (0.0,))) >= STEADY and level <= OPEN * len(sweep.borders)


def _pieces(x: Block, w: Floats, at: Centres, seen: Seen) -> bool:
    """Whether two long clusters, more than gaps part, touch without a valley: an arc cut in two."""
    if not 1 < seen.clear.k < at.k or at.shape.elongation <= ELONGATED:
        return False
    label, _, _ = kernel.nearest(x, at.centres)

    def long(c: int) -> bool:
        rows = np.flatnonzero(label == c)
        whole = np.zeros(len(rows), np.int32)
        return facts.shapes(x[:, rows], w[rows], whole, 1).elongation > ELONGATED

    return any(long(b.i) and long(b.j) for b in at.borders if not b.valley)


def _beyond_doubt(at: Centres) -> bool:
    """Whether the dip of one border is no chance, along whichever feature it lies."""
    return any(b.p * at.centres.shape[1] <= BEYOND_DOUBT for b in at.borders)


def _further(at: Centres, seen: Seen, asked: Request) -> bool:
    """Whether centres that part modes further have significant valleys and are no less valid."""
    if seen.likely.k < 2:  # rows may be too few for modes; one border at least must be beyond doubt
        return _beyond_doubt(at)
    if not all(b.p <= PARTED_P for b in at.borders):
        return False
    from segpipe.fit.validity import dbcv

    label, _, _ = kernel.nearest(seen.x, at.centres)
    value = dbcv(seen.x, label, seen.w, seed=asked.seed)
    return value >= dbcv(seen.x, seen.likely.label, seen.w, seed=asked.seed) - DBCV_ERROR


def _finer(
    x: Block,
    w: Floats,
    whole: Centres,
    modes: Modes,
    seen: Seen,
    asked: Request,
    rows: list[dict[str, object]],
) -> Centres:
    """``whole`` with clusters of two lobes parted, where that makes no border without a valley."""
    centres = parted(x, w, whole.centres, asked.k_max, asked.seed)
    if len(centres) == whole.k:
        return whole
    parts = judged(x, w, centres, modes, seen.x)
    rows.append(parts.row())
    if not parts.sound or parts.without_valley > whole.without_valley:
        return whole
    few, many = (mixture_at(x, w, c.centres, asked.covariance, asked.seed) for c in (whole, parts))
    return parts if many.bic < few.bic else whole


def _by_centres(
    data: Data,
    asked: Request,
    found: dict[str, Any],
    sweep: Sweep,
    at: Centres,
    seen: Seen | None,
) -> Decision | None:
    """K-Means or a mixture of as many; None where background or tails leave centres behind."""
    shape, k = at.shape, at.k
    proof = _proof(at, seen)
    if shape.elongation <= ELONGATED and shape.spread_ratio <= UNEQUAL and shape.tail <= TAILED:
        found["runner_up"] = sweep.runner_up
        return _kmeans(data, asked, found, at, f"{k} round clusters of similar spread, {proof}")
    if shape.tail > NOISY:
        return None
    mixture = mixture_at(data.few, data.few_w, at.centres, asked.covariance, asked.seed)
    gain = ball_bic(data.few, data.few_w, at.centres) - mixture.bic
    found |= {"gmm": mixture.table, "bic_gain_per_row": gain}
    if gain > BIC_GAIN and mixture.k == k and _fits(mixture, seen, found):
        found["runner_up"] = {"kind": "kmeans", "k": k, "silhouette": sweep.silhouette}
        why = (
            f"{k} clusters of different shape or spread (axis ratio {shape.elongation:.1f}, "
            f"spread ratio {shape.spread_ratio:.1f}), {proof}: Gaussians fit them"
        )
        model = fit_named("gmm", data, k, asked, at.centres)
        if _agrees(model, k, seen) >= AGREE:  # EM on all rows may end elsewhere
            return decide(model, data, asked, found, why)
    if shape.tail > TAILED:
        return None
    found["runner_up"] = {"kind": "gmm", "k": k, "bic_gain_per_row": gain}
    why = f"{k} clusters, {proof}; Gaussians describe them no better"
    return _kmeans(data, asked, found, at, why)


def _by_mixture(
    data: Data, asked: Request, found: dict[str, Any], sweep: Sweep, seen: Seen | None
) -> Decision | None:
    """A mixture of as many components as BIC likes, if it gives the modes back."""
    x, w, balls = data.few, data.few_w, ball_bic(data.few, data.few_w, sweep.centres)
    modes = None if seen is None or seen.likely.k == 1 else {seen.likely.k, seen.sure.k} - {1}
    known: dict[int, Mixtures] = {}

    def convinces(mixtures: Mixtures) -> bool:
        gain = balls - mixtures.bic
        found.update({"gmm": mixtures.table, "bic_gain_per_row": gain})
        right = mixtures.k > 1 and (modes is None or mixtures.k in modes)
        return right and mixtures.split and gain > BIC_GAIN and _fits(mixtures, seen, found)

    # Mixtures of as many components as modes come first: if none of them gives the modes back,
    # the BIC of all the others cannot help.
    for k in sorted(modes or ()):
        known[k] = mixture_of(x, w, k, asked.covariance, asked.seed)
    if modes is not None and not any(convinces(m) for m in known.values()):
        found["gmm"] |= {"bic_per_row": {str(k): as_json(m.bic) for k, m in known.items()}}
        return None
    mixtures = sweep_mixtures(
        x, w, asked.k_max, asked.covariance, asked.seed, known, asked.min_share
    )
    if not convinces(mixtures):
        return None
    k = mixtures.k
    found["runner_up"] = {"kind": "kmeans", "k": sweep.k, "silhouette": sweep.silhouette}
    why = (
        f"{k} clusters of different shape or spread (axis ratio {sweep.shape.elongation:.1f}, "
        f"spread ratio {sweep.shape.spread_ratio:.1f}): Gaussians fit them with a valley at "
        "every border"
    )
    model = fit_named("gmm", data, k, asked)
    return decide(model, data, asked, found, why) if _agrees(model, k, seen) >= AGREE else None


def _fits(mixture: Mixtures, seen: Seen | None, found: dict[str, Any]) -> bool:
    """Whether the components are the modes, on the modes' cores."""
    if mixture.model is None:
        return False
    found["gmm_agreement"] = _agrees(mixture.model, mixture.k, seen)
    return bool(found["gmm_agreement"] >= AGREE)


def _agrees(model: SegmentModel, k: int, seen: Seen | None) -> float:
    """Adjusted Rand index with the modes on their cores; 1 where there is nothing to compare.

    0 if the rows outside the cores are torn apart: a mixture that spends itself on background.
    """
    if seen is None or seen.likely.k == 1:
        return 1.0
    label = model.label(seen.x).segment
    tiers = [m for m in (seen.likely, seen.sure) if m.k == k] or [seen.sure]
    best = max(tiers, key=lambda m: adjusted_rand(label[m.core], m.label[m.core]))
    torn = adjusted_rand(label, best.label) < AGREE_ALL
    return 0.0 if torn else adjusted_rand(label[best.core], best.label[best.core])


def _kmeans(data: Data, asked: Request, found: dict[str, Any], at: Centres, why: str) -> Decision:
    """K-Means from the candidate's own centres: a fresh start may end elsewhere among many."""
    return decide(fit_named("kmeans", data, at.k, asked, at.centres), data, asked, found, why)


def _proof(at: Centres, seen: Seen | None) -> str:
    if seen is not None and at.k > seen.likely.k and at.without_valley:
        return (
            f"each found again in halves of the rows, {at.without_valley} of {len(at.borders)} "
            "borders without a valley"
        )
    if seen is None or at.k > seen.likely.k:
        return "with a valley at every border"
    return f"each a mode of the density (agreement {at.agreement:.2f})"
