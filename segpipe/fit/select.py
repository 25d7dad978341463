"""Which model, and how many segments: the decision, its numbers, and one sentence for people.

The procedure is section 3 of the design's ``algorithms.md``; every rule that fires is recorded.
Candidates are compared on a bounded subsample, the winner is fitted on the whole sample.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segpipe.errors import ConfigError, DataError
from segpipe.fit import evidence as facts
from segpipe.fit import quality
from segpipe.fit.agglomerative import fit_agglomerative
from segpipe.fit.bisecting import fit_bisecting
from segpipe.fit.kmeans import fit_kmeans, subset
from segpipe.fit.mixture import fit_mixture
from segpipe.fit.order import ordered
from segpipe.fit.sweep import Sweep, sweep_kmeans, sweep_mixtures
from segpipe.kernels import nearest as kernel
from segpipe.models.kmeans import KMeansModel
from segpipe.models.merged import merged
from segpipe.values import Block, Floats, Ints, SegmentModel

SWEEP_ROWS = 20_000
SILHOUETTE_ROWS = 2_000
ELONGATED, UNEQUAL = 4.0, 3.0
"""Eigenvalue ratio and spread ratio beyond which clusters are not equal balls."""
TAILED = 0.05
"""Share of rows out of reach of their centre beyond which there is background noise."""
BIC_GAIN = 0.01
NOISY = 0.1
"""The same share beyond which setting rows aside as noise outweighs a slightly lower validity."""
DENSITY_GAIN, MERGED_GAIN, DENSITY_NOISE = 0.2, 0.1, 0.4
"""DBCV that HDBSCAN must gain on K-Means and on its merged groups (2,000 rows differ by about .1
between draws), and the most noise it may leave."""
KINDS = ("auto", "kmeans", "gmm", "bisecting", "agglomerative", "hdbscan", "dbscan")


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """The model chosen, its segments in their final order, and why."""

    model: SegmentModel
    kind: str
    k: int
    natural: bool
    """Whether the data have segments of their own; False: they are quantised, or one segment."""
    why: str
    evidence: dict[str, Any]
    """Every number, threshold, rule and the runner-up; plain JSON values."""


@dataclass(frozen=True, slots=True)
class Request:
    """What the user fixed, and the limits."""

    model: str
    k: int | str
    k_max: int
    covariance: str
    n_init: int
    min_share: float
    density_rows: int
    warm_start: Floats | None
    seed: int
    unit: float


def select(
    x: Block,
    w: Floats,
    *,
    model: str = "auto",
    k: int | str = "auto",
    k_max: int = 12,
    covariance: str = "auto",
    n_init: int = 10,
    min_share: float = 0.005,
    density_rows: int = 20_000,
    warm_start: Floats | None = None,
    seed: int = 0,
    unit: float = 1.0,
) -> Decision:
    """Choose and fit; with ``model`` and ``k`` given, fit that.

    Parameters
    ----------
    x : (d, n) scaled sample, w : (n,) weights
    model : auto | kmeans | gmm | bisecting | agglomerative | hdbscan | dbscan
    k : auto or the number of segments; auto with ``model="auto"`` may answer one segment
    warm_start : (k', d) earlier centres, used by kmeans and gmm where k' is the k fitted

    Raises
    ------
    ConfigError
        Unknown model or k; k given for a density model, which finds its own.
    DataError
        Fewer rows, or distinct rows, than k.
    """
    if model not in KINDS:
        raise ConfigError(f"fit.model {model!r} is unknown.", f"use one of {', '.join(KINDS)}")
    if k != "auto" and (not isinstance(k, int) or k < 1):
        raise ConfigError(f"fit.k is {k!r}.", "use auto or a whole number from 1")
    if model in ("hdbscan", "dbscan") and k != "auto":
        raise ConfigError(
            f"fit.k = {k} was asked of {model}, which finds the number of segments itself.",
            "leave fit.k at auto, or choose kmeans, gmm, bisecting or agglomerative",
        )
    if isinstance(k, int) and x.shape[1] < k:
        raise DataError(f"{k} segments were asked for; there are {x.shape[1]} rows.", "lower fit.k")
    asked = Request(
        model, k, k_max, covariance, n_init, min_share, density_rows, warm_start, seed, unit
    )
    few = subset(x.shape[1], SWEEP_ROWS, seed)
    xs, ws = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    if model in ("hdbscan", "dbscan"):
        return _density_asked(x, w, xs, ws, asked)
    if isinstance(k, int):
        return _given(x, w, xs, ws, asked, k)
    return _chosen(x, w, xs, ws, asked)


def _chosen(x: Block, w: Floats, xs: Block, ws: Floats, asked: Request) -> Decision:
    """Leave k open, and the model too unless it was named."""
    hint = facts.structure_hint(xs, ws, asked.seed)
    hinted = 2.0 * min(hint) < facts.HINT_P
    found: dict[str, Any] = {"structure_hint": {"distances_p": hint[0], "component_p": hint[1]}}
    sweep = sweep_kmeans(xs, ws, asked.k_max, asked.n_init, asked.min_share, asked.seed)
    if sweep is None:
        return _one(x, w, asked, found, "all rows are alike")
    found |= {"kmeans": sweep.table, "k_star": sweep.k}
    borders, shape = sweep.borders, sweep.shape
    group = facts.groups(sweep.k, borders)
    g = int(group.max()) + 1
    without = [b for b in borders if not b.valley]
    found |= {
        "borders": [facts.as_json(b) for b in borders],
        "without_valley": len(without) / len(borders) if borders else None,
        "groups": g,
        "shape": facts.as_json(shape),
    }
    shown = any(b.shown for b in borders)
    if not hinted and (g == 1 or not shown):
        what = (
            f"the borders of {sweep.k} clusters cut through one mode"
            if g == 1
            else ("no border between clusters shows a valley")
        )
        return _one(x, w, asked, found, f"{what}, and distances and main axis are unimodal")
    if asked.model != "auto":
        k = sweep.k
        if asked.model == "gmm":
            mixtures = sweep_mixtures(xs, ws, asked.k_max, asked.covariance, asked.seed)
            found["gmm"] = mixtures.table
            k = max(2, mixtures.k)
        fitted = _fit(asked.model, x, w, k, asked)
        rule = "best BIC" if asked.model == "gmm" else f"silhouette {sweep.silhouette:.2f}"
        return _decision(fitted, x, w, asked, found, f"{asked.model} was asked for; {rule}")
    return _family(x, w, xs, ws, asked, found, sweep, group)


def _family(
    x: Block,
    w: Floats,
    xs: Block,
    ws: Floats,
    asked: Request,
    found: dict[str, Any],
    sweep: Sweep,
    group: Ints,
) -> Decision:
    """K-Means if its clusters are equal balls, a mixture if Gaussians fit, else by density."""
    k, shape = sweep.k, sweep.shape
    split = not any(not b.valley for b in sweep.borders)
    balls = shape.elongation <= ELONGATED and shape.spread_ratio <= UNEQUAL
    calm = shape.tail <= TAILED
    if split and balls and calm:
        found["runner_up"] = sweep.runner_up
        return _decision(
            _fit("kmeans", x, w, k, asked),
            x,
            w,
            asked,
            found,
            f"{k} round clusters of similar spread (silhouette {sweep.silhouette:.2f}, stability "
            f"{sweep.stability:.2f}) with a valley at every border",
        )
    mixtures = sweep_mixtures(xs, ws, asked.k_max, asked.covariance, asked.seed)
    found["gmm"] = mixtures.table
    gain = sweep.ball_bic(xs, ws) - mixtures.bic
    found["bic_gain_per_row"] = gain
    if mixtures.k > 1 and mixtures.split and gain > BIC_GAIN:
        found["runner_up"] = {"kind": "kmeans", "k": k, "silhouette": sweep.silhouette}
        return _decision(
            _fit("gmm", x, w, mixtures.k, asked),
            x,
            w,
            asked,
            found,
            f"{mixtures.k} clusters of different shape or spread (axis ratio "
            f"{shape.elongation:.1f}, spread ratio {shape.spread_ratio:.1f}): Gaussians fit them "
            "with a valley at every border",
        )
    if split and calm:
        found["runner_up"] = {"kind": "gmm", "k": mixtures.k}
        return _decision(
            _fit("kmeans", x, w, k, asked),
            x,
            w,
            asked,
            found,
            f"{k} clusters with a valley at every border; Gaussians would split single modes",
        )
    return _by_density(x, w, xs, ws, asked, found, sweep, group)


def _by_density(
    x: Block,
    w: Floats,
    xs: Block,
    ws: Floats,
    asked: Request,
    found: dict[str, Any],
    sweep: Sweep,
    group: Ints,
) -> Decision:
    """No centre model fits: HDBSCAN, K-Means merged across borders without valley, or K-Means."""
    from segpipe.fit.density import fit_density
    from segpipe.fit.validity import dbcv

    cells, _, _ = kernel.nearest(xs, sweep.centres)
    g = int(group.max()) + 1
    score = {"kmeans": dbcv(xs, cells, ws, seed=asked.seed)}
    if 1 < g < sweep.k:
        score["merged"] = dbcv(xs, group[cells], ws, seed=asked.seed)
    density, note = None, ""
    try:
        density = fit_density(
            "hdbscan",
            x,
            w,
            rows=asked.density_rows,
            min_share=asked.min_share,
            seed=asked.seed,
            unit=asked.unit,
        )
    except ConfigError as error:  # the density extra is not installed: said, not hidden
        note = f"; {error.message}"
    noise = 0.0
    if density is not None:
        label = density.label(xs).segment
        noise = float(ws[label < 0].sum() / ws.sum())
        score["hdbscan"] = dbcv(xs, label, ws, seed=asked.seed)
        found["hdbscan"] = facts.as_json(dict(density.evidence))
    found |= {"dbcv": facts.as_json(score), "noise_share": noise}
    found["runner_up"] = facts.as_json(dict(sorted(score.items(), key=lambda item: -item[1])[1:2]))
    if (
        density is not None
        and density.k >= 2
        and noise <= DENSITY_NOISE
        and _density_wins(score, sweep.shape.tail)
    ):
        cause = (
            f"{sweep.shape.tail:.0%} of the rows are background that no centre explains"
            if sweep.shape.tail > NOISY
            else "the clusters have shapes that no centre describes"
        )
        why = (
            f"{cause}: density validity {score['hdbscan']:.2f} against {score['kmeans']:.2f} of "
            f"K-Means, noise {noise:.0%}"
        )
        return _decision(density, x, w, asked, found, why)
    if score.get("merged", -2.0) >= score["kmeans"]:
        centres = fit_kmeans(x, w, sweep.k, asked.n_init, asked.seed, sweep.centres).centres
        mass = kernel.lloyd_sums(x, w, centres).count
        model = merged(centres, mass, group, "merged", asked.unit)
        why = f"{sweep.k} centres form {g} connected groups (no valley between their parts){note}"
        return _decision(model, x, w, asked, found, why)
    found["weak"] = True
    return _decision(
        _fit("kmeans", x, w, sweep.k, asked),
        x,
        w,
        asked,
        found,
        f"weak fit: some of {sweep.k} clusters have no valley between them, and no other model "
        f"describes the data better{note}",
    )


def _density_wins(score: dict[str, float], tail: float) -> bool:
    """Whether HDBSCAN's validity is enough better than that of the centre models."""
    gain = score["hdbscan"] - score["kmeans"]
    if tail > NOISY:  # validity counts background rows against whoever must label them
        return gain >= -MERGED_GAIN
    return gain >= DENSITY_GAIN and score["hdbscan"] - score.get("merged", -2.0) >= MERGED_GAIN


def _given(x: Block, w: Floats, xs: Block, ws: Floats, asked: Request, k: int) -> Decision:
    """Fit the model as asked (K-Means for auto) at the k given: evidence, but no sweep."""
    kind = "kmeans" if asked.model == "auto" else asked.model
    model = _fit(kind, x, w, k, asked)
    found: dict[str, Any] = {}
    natural = True
    why = f"{kind} with k = {k} was asked for"
    if k > 1:
        hint = facts.structure_hint(xs, ws, asked.seed)
        centres = model.centres
        borders = facts.centre_borders(xs, ws, centres)
        g = int(facts.groups(len(centres), borders).max()) + 1
        found = {
            "structure_hint": {"distances_p": hint[0], "component_p": hint[1]},
            "borders": [facts.as_json(b) for b in borders],
            "groups": g,
        }
        hinted = 2.0 * min(hint) < facts.HINT_P
        natural = hinted or (g > 1 and any(b.shown for b in borders))
        if not natural:
            why += "; the data show no natural segments, so they are cut into equal parts"
    return _decision(model, x, w, asked, found, why, natural)


def _density_asked(x: Block, w: Floats, xs: Block, ws: Floats, asked: Request) -> Decision:
    from segpipe.fit.density import fit_density

    model = fit_density(
        asked.model,
        x,
        w,
        rows=asked.density_rows,
        min_share=asked.min_share,
        seed=asked.seed,
        unit=asked.unit,
    )
    label = model.label(xs).segment
    noise = float(ws[label < 0].sum() / ws.sum())
    found = {asked.model: facts.as_json(dict(model.evidence)), "noise_share": noise}
    why = f"{asked.model} was asked for; it found {model.k} segments and {noise:.0%} noise"
    return _decision(model, x, w, asked, found, why, model.k >= 2)


def _one(x: Block, w: Floats, asked: Request, found: dict[str, Any], reason: str) -> Decision:
    model = KMeansModel(_mean(x, w)[None, :], "kmeans", asked.unit)
    return _decision(model, x, w, asked, found, f"no natural segments: {reason}", natural=False)


def _fit(kind: str, x: Block, w: Floats, k: int, asked: Request) -> SegmentModel:
    warm = asked.warm_start
    init = warm if warm is not None and warm.shape == (k, x.shape[0]) else None
    if k == 1 and kind != "gmm":
        return KMeansModel(_mean(x, w)[None, :], "kmeans" if kind == "auto" else kind, asked.unit)
    if kind == "gmm":
        mixture = fit_mixture(x, w, k, asked.covariance, asked.n_init, asked.seed, init)
        return replace(mixture, unit=asked.unit)
    if kind == "bisecting":
        return replace(fit_bisecting(x, w, k, asked.n_init, asked.seed), unit=asked.unit)
    if kind == "agglomerative":
        return replace(fit_agglomerative(x, w, k, asked.seed), unit=asked.unit)
    fitted = fit_kmeans(x, w, k, asked.n_init, asked.seed, init, asked.min_share)
    return replace(fitted, unit=asked.unit)


def _decision(
    model: SegmentModel,
    x: Block,
    w: Floats,
    asked: Request,
    found: dict[str, Any],
    why: str,
    natural: bool = True,
) -> Decision:
    """Segments in their final order, and the quality of what was chosen."""
    final = ordered(model, x, w)
    rng = subset(x.shape[1], SWEEP_ROWS, asked.seed)
    xs, ws = (x, w) if rng is None else (np.ascontiguousarray(x[:, rng]), w[rng])
    label = final.label(xs).segment
    rows = quality.silhouette_sample(label, SILHOUETTE_ROWS, asked.seed)
    weight = quality.stratum_weight(label, ws, rows)
    exact = quality.silhouette(np.ascontiguousarray(xs[:, rows]), weight, label[rows])
    inside = float(ws[label >= 0].sum())
    mass = np.bincount(label[label >= 0], ws[label >= 0], final.k) if final.k else np.zeros(0)
    found = {
        "asked": {"model": asked.model, "k": asked.k, "k_max": asked.k_max},
        "chosen": {"kind": final.kind, "k": final.k, "natural": natural},
        "why": why,
        "silhouette": exact,
        "smallest_share": float(mass.min()) / max(inside, 1e-300) if final.k else None,
        "thresholds": {
            "no_valley_p": facts.NO_VALLEY,
            "hint_p": facts.HINT_P,
            "elongation": ELONGATED,
            "spread_ratio": UNEQUAL,
            "tail": TAILED,
            "bic_gain_per_row": BIC_GAIN,
            "tail_noisy": NOISY,
            "dbcv_gain": DENSITY_GAIN,
            "dbcv_gain_on_merged": MERGED_GAIN,
            "noise_share": DENSITY_NOISE,
            "min_share": asked.min_share,
        },
        **found,
    }
    return Decision(final, final.kind, final.k, natural, why, facts.as_json(found))


def _mean(x: Block, w: Floats) -> Floats:
    return np.asarray((w * x.astype(np.float64)).sum(axis=1) / w.sum())
