"""Proof: what supports the segments that were chosen, and what speaks against them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segpipe.config import Fit
from segpipe.fit.agglomerative import fit_agglomerative
from segpipe.fit.bisecting import fit_bisecting
from segpipe.fit.density import fit_density
from segpipe.fit.kmeans import EVEN
from segpipe.fit.mixture import fit_mixture
from segpipe.fit.select import Decision
from segpipe.fit.shapes import regrouped
from segpipe.fit.validate import Refit, validate
from segpipe.scoring.tally import Tally
from segpipe.stages.described import Described
from segpipe.values import Block, Floats, SegmentModel


def validated(
    seen: Described, model: SegmentModel, fit: Fit, evidence: Mapping[str, Any], seed: int
) -> dict[str, Any]:
    """What supports the final segments, for ``decision.json`` and the report."""
    sweep = evidence.get("kmeans", ())
    return validate(model, seen.x, seen.w, sweep, refit_of(fit.min_share, seed), seed)


def refit_of(min_share: float, seed: int) -> Refit:
    """Fits of some rows by a model's own method, as quick as they can be."""

    def refit(x: Block, w: Floats, model: SegmentModel) -> SegmentModel:
        kind = model.kind
        if kind in ("hdbscan", "dbscan"):
            return fit_density(kind, x, w, min_share=min_share, seed=seed)
        if kind == "gmm":
            return fit_mixture(
                x, w, model.k, getattr(model, "covariance_type", "full"), 1, seed, model.centres
            )
        if kind == "bisecting":
            return fit_bisecting(x, w, model.k, 1, seed)
        if kind == "merged":
            return regrouped(x, w, model.k, min_share, seed)
        return fit_agglomerative(x, w, model.k, seed)

    return refit


def doubts(fit: Fit, decision: Decision, tally: Tally) -> list[str]:
    """Warnings: a model that differs from what was asked, or has segments that are too small."""
    said = []
    if fit.model not in ("auto", decision.kind):
        said.append(f"fit.model {fit.model} became {decision.kind}: {decision.why}")
    started = decision.evidence["warm_start"]
    if started["used"] is False:
        said.append(
            f"fit.warm_start has {started['centres']} segments, chosen was {decision.kind} with "
            f"{decision.k}: it starts kmeans and gmm of as many segments and was not used"
        )
    held = (tally.rows if tally.mass is None else tally.mass)[1:]
    least = min(fit.min_share, EVEN / max(len(held), 1))
    small = np.flatnonzero(held < least * held.sum())
    if len(held) > 1 and len(small):
        named = ", ".join(map(str, small[:5])) + (" and more" if len(small) > 5 else "")
        said.append(f"segments below {least:.2%} of the rows (fit.min_share): {named}")
    return said
