"""Which model, and how many segments: the decision, its numbers, and one sentence for people.

The procedure is section 3 of the design's ``algorithms.md``; every rule that fires is recorded.
Candidates are compared on a bounded subsample, the winner is fitted on the whole sample.
"""

from __future__ import annotations

from typing import Any

from segpipe.errors import ConfigError, DataError
from segpipe.fit import evidence as facts
from segpipe.fit.candidates import with_candidates
from segpipe.fit.categories import cells_only
from segpipe.fit.decision import (
    Data,
    Decision,
    Request,
    data_of,
    decide,
    fit_named,
    nothing,
)
from segpipe.fit.fallback import density_model
from segpipe.fit.family import centre_candidate, family, see_modes
from segpipe.fit.modes import Seen
from segpipe.fit.sweep import Sweep, sweep_kmeans, sweep_mixtures
from segpipe.values import Block, Floats

__all__ = ["Decision", "select"]

DENSITY = ("hdbscan", "dbscan")
KINDS = ("auto", "kmeans", "gmm", "bisecting", "agglomerative", *DENSITY)


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
    x : (d, n) scaled sample
    w : (n,) weights
    model : auto | kmeans | gmm | bisecting | agglomerative | hdbscan | dbscan
    k : number of segments, or auto, which may answer one segment; density models find their own
    k_max : largest number of segments that ``auto`` considers
    covariance : auto | full | tied | diag | spherical, for mixtures
    n_init : starts of each fit
    min_share : smallest share of a segment
    density_rows : distinct rows that a density model is fitted on at most
    warm_start : (k', d) earlier centres, where kmeans or gmm start if k' is the k fitted
    unit : what the models multiply distances by

    Raises
    ------
    ConfigError
        Unknown model or k; k given for a density model.
    DataError
        Fewer rows, or distinct rows, than k.
    """
    if model not in KINDS:
        raise ConfigError(f"fit.model {model!r} is unknown.", f"use one of {', '.join(KINDS)}")
    if k != "auto" and (not isinstance(k, int) or k < 1):
        raise ConfigError(f"fit.k is {k!r}.", "use auto or a whole number from 1")
    if model in DENSITY and k != "auto":
        raise ConfigError(
            f"fit.k = {k} was asked of {model}, which finds the number of segments itself.",
            "leave fit.k at auto, or choose kmeans, gmm, bisecting or agglomerative",
        )
    if isinstance(k, int) and x.shape[1] < k:
        have = "is one row" if x.shape[1] == 1 else f"are {x.shape[1]} rows"
        raise DataError(f"{k} segments were asked for; there {have}.", "lower fit.k")
    asked = Request(
        model, k, k_max, covariance, n_init, min_share, density_rows, warm_start, seed, unit
    )
    data = data_of(x, w, seed)
    if model in DENSITY:
        return _density(data, asked)
    return _given(data, asked, k) if isinstance(k, int) else _chosen(data, asked)


def _chosen(data: Data, asked: Request) -> Decision:
    """Leave k open, and the model too unless it was named."""
    found, hinted = _hint(data, asked)
    sweep = sweep_kmeans(
        data.few, data.few_w, asked.k_max, asked.n_init, asked.min_share, asked.seed
    )
    if sweep is None:
        return nothing(data, asked, found, "all rows are alike")
    found |= {"kmeans": sweep.table, "k_star": sweep.k, "shape": sweep.shape}
    valleys, parted = _valleys(sweep.k, sweep.borders)
    found |= valleys
    seen, reason = None, ""
    if cells_only(data.few, data.few_w, asked.min_share, asked.k_max, asked.seed):
        found["cells_only"] = True
        reason = "only categories part the rows, and no quantity goes along with them"
    else:
        seen = see_modes(data, asked)
        if not hinted and not parted and (seen is None or seen.likely.k == 1):
            reason = f"no valley parts {sweep.k} clusters, and distances and main axis are unimodal"
    auto = asked.model == "auto"
    if reason:
        decision = nothing(data, asked, found, reason)
    else:
        decision = (family if auto else _of_kind)(data, asked, found, sweep, seen)
    return with_candidates(decision, data, asked, seen, sweep) if auto else decision


def _of_kind(
    data: Data, asked: Request, found: dict[str, Any], sweep: Sweep, seen: Seen | None
) -> Decision:
    """The model that was named, at the k that the evidence gives."""
    k, rule = sweep.k, f"simplified silhouette {sweep.silhouette:.2f}"
    at = centre_candidate(data, asked, found, sweep, seen)
    if at is not None and at.k != k:
        k, rule = at.k, "the modes of the density"
    if asked.model == "gmm":
        mixtures = sweep_mixtures(
            data.few, data.few_w, asked.k_max, asked.covariance, asked.seed, None, asked.min_share
        )
        found["gmm"] = mixtures.table
        k, rule = max(2, mixtures.k), f"BIC {mixtures.bic:.2f} per row"
    why = f"{asked.model} was asked for; k = {k} by {rule}"
    return decide(fit_named(asked.model, data, k, asked), data, asked, found, why)


def _given(data: Data, asked: Request, k: int) -> Decision:
    """Fit the model as asked (K-Means for auto) at the k given: evidence, but no sweep."""
    kind = "kmeans" if asked.model == "auto" else asked.model
    model = fit_named(kind, data, k, asked)
    why = f"{kind} with k = {k} was asked for"
    if k == 1:
        return decide(model, data, asked, {}, why)
    found, hinted = _hint(data, asked)
    valleys, parted = _valleys(k, facts.centre_borders(data.few, data.few_w, model.centres))
    natural = hinted or parted
    if not natural:
        why += "; the data show no natural segments, so they are only cut into parts"
    return decide(model, data, asked, found | valleys, why, natural)


def _density(data: Data, asked: Request) -> Decision:
    model = density_model(asked.model, data, asked, asked.density_rows)
    label = model.label(data.few).segment
    noise = float(data.few_w[label < 0].sum() / data.few_w.sum())
    found = {asked.model: dict(model.evidence), "noise_share": noise}
    why = f"{asked.model} was asked for; it found {model.k} segments and {noise:.0%} noise"
    return decide(model, data, asked, found, why, model.k >= 2)


def _hint(data: Data, asked: Request) -> tuple[dict[str, Any], bool]:
    """Dip p of distances and main axis, and whether one of them shows more than one mode."""
    distances, component = facts.structure_hint(data.few, data.few_w, asked.seed)
    hinted = 2.0 * min(distances, component) < facts.HINT_P
    return {"structure_hint": {"distances_p": distances, "component_p": component}}, hinted


def _valleys(k: int, borders: list[facts.Border]) -> tuple[dict[str, Any], bool]:
    """The borders as evidence, and whether a significant valley parts the data at all."""
    groups = int(facts.groups(k, borders).max()) + 1
    without = sum(not b.valley for b in borders)
    found = {
        "borders": borders,
        "without_valley": without / len(borders) if borders else None,
        "groups": groups,
    }
    return found, groups > 1 and any(b.shown for b in borders)
