"""All candidates of K in turn on the bounded sample: K-Means by silhouette, mixtures by BIC."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from segpipe.errors import DataError
from segpipe.fit import evidence as facts
from segpipe.fit import quality
from segpipe.fit.kmeans import fit_kmeans, kmeans_starts, subset
from segpipe.fit.mixture import fit_mixture, total_log_likelihood
from segpipe.fit.stability import stability
from segpipe.kernels import nearest as kernel
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats

SIGNIFICANT = 1.645
"""A larger K must be better by so many standard errors (one-sided 5 %), and by LEAST_GAIN."""
LEAST_GAIN = 0.01
UNSTABLE = 0.6
MIXTURE_ROWS = 5_000
MIXTURE_STARTS = 4
ROWS_EACH = 100
"""Rows per component that a mixture is compared on at least."""
BIC_SLACK = 0.01
WIDE = 16
"""Features above which the sweep compares diagonal mixtures."""
PATIENCE = 3
"""The mixture sweep ends after so many K without a better BIC."""


@dataclass(frozen=True, slots=True, eq=False)
class Sweep:
    """K-Means at the K that the silhouette and the vetoes leave."""

    k: int
    centres: Floats
    silhouette: float
    stability: float
    borders: list[facts.Border]
    shape: facts.Shapes
    table: list[dict[str, Any]]
    runner_up: dict[str, Any] | None


@dataclass(frozen=True, slots=True, eq=False)
class Mixtures:
    """The smallest mixture whose BIC is as good as the best, and its borders."""

    k: int
    bic: float
    """Per row."""
    split: bool
    """Every border has a valley."""
    table: dict[str, Any]
    model: MixtureModel | None


NO_MIXTURE = Mixtures(1, math.inf, False, {}, None)


def sweep_kmeans(
    x: Block, w: Floats, k_max: int, n_init: int, min_share: float, seed: int
) -> Sweep | None:
    """The smallest K whose silhouette is not significantly below the best of those not vetoed.

    Of several such K the largest wins whose every border shows a valley: a segment of 1 % moves
    the mean silhouette by less than 1 %, and yet is one. Vetoes: a cluster below ``min_share``, or
    a mean Jaccard below .6; dropped if nothing is left. A K that leaves modes inside a cluster
    gives way to an equally good larger one that does not, though it be unstable: the cuts of an
    arc move, and ``fallback`` joins its pieces again. None without two distinct rows.
    """
    models: dict[int, Floats] = {}
    table: list[dict[str, Any]] = []
    most = min(k_max, x.shape[1])
    starts = _chains(x, w, most, n_init, seed)
    for k in range(2, most + 1):
        try:
            models[k] = fit_kmeans(x, w, k, n_init, seed, starts=starts).centres
        except DataError:  # fewer distinct rows than k: smaller K are all there is
            break
        table.append(_row(x, w, models[k]))
    if not models:
        return None
    for row in table:
        row["veto"] = "share" if row["smallest_share"] < min_share else None
    open_rows = [row for row in table if row["veto"] is None]
    while open_rows:
        row = _good(x, w, models, open_rows)
        row["stability"] = stability(x, w, models[row["k"]], seed).tolist()
        if float(np.mean(row["stability"])) >= UNSTABLE:
            break
        row["veto"] = "stability"
        open_rows.remove(row)
    else:
        row = _good(x, w, models, table)
        row.setdefault("stability", stability(x, w, models[row["k"]], seed).tolist())
        open_rows = [row]
    row = _without_modes(x, w, models, table, row, seed)
    k = int(row["k"])
    label, _, _ = kernel.nearest(x, models[k])
    others = [r for r in table if r["k"] != k and (r["veto"] is None or len(open_rows) == 1)]
    second = max(others, key=lambda r: r["simplified_silhouette"], default=None)
    return Sweep(
        k,
        models[k],
        row["simplified_silhouette"],
        float(np.mean(row["stability"])),
        facts.centre_borders(x, w, models[k]),
        facts.shapes(x, w, label, k),
        [facts.as_json(r) for r in table],
        None
        if second is None
        else facts.as_json(
            {"kind": "kmeans", "k": second["k"], "silhouette": second["simplified_silhouette"]}
        ),
    )


def sweep_mixtures(
    x: Block,
    w: Floats,
    k_max: int,
    covariance: str,
    seed: int,
    known: Mapping[int, Mixtures] | None = None,
    min_share: float = 0.0,
) -> Mixtures:
    """BIC per row of mixtures from one component up, on at most MIXTURE_ROWS rows.

    Numbers of components one of which has a smaller weight than ``min_share`` are not chosen.

    ``known``: what ``mixture_of`` found of some K on the same rows.
    """
    known = known or {}
    xs, ws = _fewer(x, w, 1, seed)
    kind = _covariance(x.shape[0], covariance)
    models, bic = {}, {}
    for k in range(1, min(k_max, _most(xs)) + 1):
        try:
            models[k], bic[k] = _known(known, k) or _fitted(xs, ws, k, kind, seed)
        except DataError:
            break
        if k - min(bic, key=lambda c: bic[c]) >= PATIENCE:
            break
    if not bic:
        return NO_MIXTURE
    large = {c: value for c, value in bic.items() if models[c].weights.min() >= min_share}
    best = min(large.values(), default=math.inf)
    k = min((c for c in large if large[c] <= best + BIC_SLACK), default=min(bic))
    return _mixtures(xs, ws, models[k], bic[k], bic, kind)


def mixture_of(x: Block, w: Floats, k: int, covariance: str, seed: int) -> Mixtures:
    """The mixture of k components that ``sweep_mixtures`` would fit, alone."""
    xs, ws = _fewer(x, w, 1, seed)
    kind = _covariance(x.shape[0], covariance)
    if k > _most(xs):
        return NO_MIXTURE
    try:
        model, bic = _fitted(xs, ws, k, kind, seed)
    except DataError:
        return NO_MIXTURE
    return _mixtures(xs, ws, model, bic, {k: bic}, kind)


def mixture_at(x: Block, w: Floats, centres: Floats, covariance: str, seed: int) -> Mixtures:
    """The mixture that EM finds from the centres' cells, on a bounded number of rows."""
    k = len(centres)
    xs, ws = _fewer(x, w, k, seed)
    kind = _covariance(x.shape[0], covariance)
    try:
        model = fit_mixture(xs, ws, k, kind, 1, seed, centres)
    except DataError:
        return NO_MIXTURE
    rows = float(ws.sum())
    bic = model.bic(total_log_likelihood(model, xs, ws), rows) / rows
    return _mixtures(xs, ws, model, bic, {k: bic}, kind)


def ball_bic(x: Block, w: Floats, centres: Floats) -> float:
    """BIC per row of K-Means read as equal balls with shares: what a mixture must beat."""
    k, d = centres.shape
    sums = kernel.lloyd_sums(x, w, centres)
    n = float(w.sum())
    variance = max(sums.inertia / (n * d), 1e-12)
    share = sums.count[sums.count > 0] / n
    entropy = float((share * np.log(share)).sum())
    level = entropy - 0.5 * d * (math.log(2.0 * math.pi * variance) + 1.0)
    return float((k * d + k) * math.log(x.shape[1]) / x.shape[1] - 2.0 * level)


def _fewer(x: Block, w: Floats, k: int, seed: int) -> tuple[Block, Floats]:
    few = subset(x.shape[1], max(MIXTURE_ROWS, ROWS_EACH * k), seed)
    xs, ws = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    return xs, ws * (len(ws) / ws.sum())


def _most(x: Block) -> int:
    """Components that so many rows can hold at most."""
    return int(x.shape[1]) // (int(x.shape[0]) + 1)


def _fitted(x: Block, w: Floats, k: int, kind: str, seed: int) -> tuple[MixtureModel, float]:
    """A mixture and its BIC per row; w sums to the number of rows."""
    model = fit_mixture(x, w, k, kind, MIXTURE_STARTS, seed)
    rows = float(w.sum())
    return model, model.bic(total_log_likelihood(model, x, w), rows) / rows


def _known(known: Mapping[int, Mixtures], k: int) -> tuple[MixtureModel, float] | None:
    found = known.get(k)
    return None if found is None or found.model is None else (found.model, found.bic)


def _covariance(d: int, covariance: str) -> str:
    """A full covariance of 41 features has 861 numbers, which so few rows cannot tell."""
    return ("full" if d <= WIDE else "diag") if covariance == "auto" else covariance


def _mixtures(
    x: Block, w: Floats, model: MixtureModel, value: float, bic: dict[int, float], kind: str
) -> Mixtures:
    borders = facts.mixture_borders(x, w, model)
    table = {
        "covariance": kind,
        "bic_per_row": facts.as_json(bic),
        "k": model.k,
        "borders": [facts.as_json(b) for b in borders],
    }
    return Mixtures(model.k, value, all(b.valley for b in borders), table, model)


def _chains(x: Block, w: Floats, k: int, n: int, seed: int) -> list[Floats] | None:
    """Greedy starts of k centres: the first of each are starts of all smaller K.

    One of 64 costs what 63 of its own would cost 32 times. None for fewer distinct rows than k.
    """
    try:
        return kmeans_starts(x, w, k, n, seed)
    except DataError:
        return None


def _row(x: Block, w: Floats, centres: Floats) -> dict[str, Any]:
    label, _, _ = kernel.nearest(x, centres)
    sums = kernel.add_up(x, w, label, centres)
    value, error = quality.simplified_silhouette(x, w, centres)
    return {
        "k": len(centres),
        "simplified_silhouette": value,
        "standard_error": error,
        "inertia": sums.inertia,
        "calinski_harabasz": quality.calinski_harabasz(sums),
        "davies_bouldin": quality.davies_bouldin(x, w, label, centres),
        "smallest_share": float(sums.count.min() / sums.count.sum()),
    }


def _good(
    x: Block, w: Floats, models: dict[int, Floats], rows: list[dict[str, Any]]
) -> dict[str, Any]:
    best = max(rows, key=lambda r: float(r["simplified_silhouette"]))
    slack = max(SIGNIFICANT * best["standard_error"], LEAST_GAIN)
    floor = best["simplified_silhouette"] - slack
    tied = [r for r in rows if r["simplified_silhouette"] >= floor]  # by rising K, as rows are
    chosen: dict[str, Any] = tied[0]
    for row in reversed(tied[1:]):
        borders = facts.centre_borders(x, w, models[row["k"]])
        touched = {c for b in borders for c in (b.i, b.j)}
        if len(touched) == row["k"] and all(b.shown for b in borders):
            chosen = row
            break
    return chosen


def _tied(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those not significantly below the best silhouette, by rising K as they come."""
    best = max(rows, key=lambda r: float(r["simplified_silhouette"]))
    slack = max(SIGNIFICANT * best["standard_error"], LEAST_GAIN)
    return [r for r in rows if r["simplified_silhouette"] >= best["simplified_silhouette"] - slack]


def _without_modes(
    x: Block,
    w: Floats,
    models: dict[int, Floats],
    table: list[dict[str, Any]],
    chosen: dict[str, Any],
    seed: int,
) -> dict[str, Any]:
    """``chosen``, or the smallest larger K of an equal silhouette that leaves no inner modes."""

    def inner(row: dict[str, Any]) -> bool:
        centres = models[row["k"]]
        label, _, _ = kernel.nearest(x, centres)
        return facts.has_inner_structure(x, w, label, len(centres), seed)

    tied = [r for r in _tied(table) if r["k"] > chosen["k"] and r["veto"] != "share"]
    if not tied or not inner(chosen):
        return chosen
    row = next((r for r in tied if not inner(r)), chosen)
    row.setdefault("stability", stability(x, w, models[row["k"]], seed).tolist())
    return row
