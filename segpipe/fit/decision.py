"""What a choice of model is told, and what it answers; shared by ``select`` and ``fallback``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segpipe.fit import evidence as facts
from segpipe.fit import quality
from segpipe.fit.agglomerative import fit_agglomerative
from segpipe.fit.bisecting import fit_bisecting
from segpipe.fit.convex import AGREE, HOLLOW, SPLIT_P
from segpipe.fit.kmeans import fit_kmeans, subset
from segpipe.fit.lattice import spread
from segpipe.fit.mixture import fit_mixture
from segpipe.fit.modes import BUMPS, CONFIRMED, LIKELY, SURE
from segpipe.fit.order import ordered
from segpipe.fit.thinning import smallest_shown
from segpipe.models.kmeans import KMeansModel
from segpipe.values import Block, Floats, SegmentModel

SWEEP_ROWS = 20_000
SILHOUETTE_ROWS = 2_000
ELONGATED, UNEQUAL = 4.0, 3.0
"""Eigenvalue ratio and spread ratio beyond which clusters are not equal balls."""
TAILED = 0.05
"""Share of rows out of reach of their centre beyond which there is background noise."""
NOISY = 0.1
"""The same share beyond which setting rows aside as noise outweighs a slightly lower validity."""
BIC_GAIN = 0.01
DENSITY_GAIN, DENSITY_NOISE = 0.2, 0.4
"""DBCV that HDBSCAN must gain on K-Means, and the most noise it may leave."""
DBCV_ERROR = 0.1
"""DBCV of 2,000 rows differs by about this between draws. Merged K-Means must be better by it:
of equals HDBSCAN is preferred, which follows bent borders and sets background rows aside."""


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


@dataclass(frozen=True, slots=True, eq=False)
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


@dataclass(frozen=True, slots=True, eq=False)
class Data:
    """The sample, and the part of it that candidates are compared on."""

    x: Block
    w: Floats
    few: Block
    few_w: Floats

    @property
    def mean(self) -> Floats:
        """(d,) weighted mean of the sample."""
        return np.asarray((self.w * self.x.astype(np.float64)).sum(axis=1) / self.w.sum())


def data_of(x: Block, w: Floats, seed: int) -> Data:
    """The sample with at most SWEEP_ROWS rows of it, off any grid."""
    rows = subset(x.shape[1], SWEEP_ROWS, seed)
    few, few_w = (x, w) if rows is None else (np.ascontiguousarray(x[:, rows]), w[rows])
    return Data(x, w, *spread(few, few_w, SWEEP_ROWS, seed))


def fit_named(
    kind: str, data: Data, k: int, asked: Request, start: Floats | None = None
) -> SegmentModel:
    """Fit one kind of centre model at k on the whole sample.

    ``start`` (k, d): centres to start from where no earlier run gives any.
    """
    x, w, warm = data.x, data.w, asked.warm_start
    init = warm if warm is not None and warm.shape == (k, x.shape[0]) else start
    if k == 1 and kind != "gmm":
        return KMeansModel(data.mean[None, :], "kmeans", asked.unit)
    if kind == "gmm":
        mixture = fit_mixture(x, w, k, asked.covariance, asked.n_init, asked.seed, init)
        if init is None and asked.min_share > 0 and mixture.weights.min() < asked.min_share:
            # From cells that are large enough EM mostly ends in components that are.
            cells = fit_kmeans(x, w, k, asked.n_init, asked.seed, None, asked.min_share).centres
            again = fit_mixture(x, w, k, asked.covariance, asked.n_init, asked.seed, cells)
            mixture = max(mixture, again, key=lambda m: min(m.weights.min(), asked.min_share))
        return replace(mixture, unit=asked.unit)
    if kind == "bisecting":
        return replace(fit_bisecting(x, w, k, asked.n_init, asked.seed), unit=asked.unit)
    if kind == "agglomerative":
        return replace(fit_agglomerative(x, w, k, asked.seed), unit=asked.unit)
    fitted = fit_kmeans(x, w, k, asked.n_init, asked.seed, init, asked.min_share)
    return replace(fitted, unit=asked.unit)


def nothing(data: Data, asked: Request, found: dict[str, Any], reason: str) -> Decision:
    """One segment: the data have none of their own."""
    model = KMeansModel(data.mean[None, :], "kmeans", asked.unit)
    return decide(model, data, asked, found, f"no natural segments: {reason}", natural=False)


def decide(
    model: SegmentModel,
    data: Data,
    asked: Request,
    found: dict[str, Any],
    why: str,
    natural: bool = True,
) -> Decision:
    """Put the segments into their final order and add the quality of what was chosen."""
    final = ordered(model, data.x, data.w)
    w = data.few_w
    label = final.label(data.few).segment
    rows = quality.silhouette_sample(label, SILHOUETTE_ROWS, asked.seed)
    weight = quality.stratum_weight(label, w, rows)
    exact = quality.silhouette(np.ascontiguousarray(data.few[:, rows]), weight, label[rows])
    mass = np.bincount(label[label >= 0], w[label >= 0], final.k)
    notes = _notes(final, asked, found, float(mass.min() / w.sum()) if final.k else 1.0, natural)
    why = "; ".join((why, *notes))
    evidence = {
        "asked": {"model": asked.model, "k": asked.k, "k_max": asked.k_max},
        "chosen": {"kind": final.kind, "k": final.k, "natural": natural},
        "why": why,
        "silhouette": exact,
        "notes": notes,
        "smallest_group": smallest_shown(w, data.few.shape[1]),
        "smallest_share": float(mass.min() / w.sum()) if final.k else None,
        "thresholds": {
            "no_valley_p": facts.NO_VALLEY,
            "hint_p": facts.HINT_P,
            "elongation": ELONGATED,
            "spread_ratio": UNEQUAL,
            "tail": TAILED,
            "tail_noisy": NOISY,
            "bic_gain_per_row": BIC_GAIN,
            "dbcv_gain": DENSITY_GAIN,
            "dbcv_error": DBCV_ERROR,
            "noise_share": DENSITY_NOISE,
            "min_share": asked.min_share,
            "modes_bumps": BUMPS,
            "modes_likely": LIKELY,
            "modes_sure": SURE,
            "modes_confirmed_z": CONFIRMED,
            "agreement": AGREE,
            "hollow": HOLLOW,
            "split_p": SPLIT_P,
        },
        **found,
    }
    return Decision(final, final.kind, final.k, natural, why, facts.as_json(evidence))


def _notes(
    model: SegmentModel, asked: Request, found: dict[str, Any], smallest: float, natural: bool
) -> list[str]:
    """What the limits that were asked for did to the answer; ``smallest``: least share."""
    notes = []
    left_out = found.get("modes", {}).get("likely", {}).get("left_out", 0)
    full = model.k >= asked.k_max or left_out > 0
    if natural and full and asked.k == "auto" and asked.model not in ("hdbscan", "dbscan"):
        notes.append(f"fit.k_max = {asked.k_max} was reached, so there may be more segments")
    if natural and model.k > 1 and smallest < asked.min_share:
        notes.append(
            f"the smallest segment holds {smallest:.2%} of the rows, less than "
            f"fit.min_share = {asked.min_share:.2%}"
        )
    return notes
