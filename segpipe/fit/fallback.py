"""When no centre model fits: density clusters, or K-Means merged where no valley parts it."""

from __future__ import annotations

from typing import Any

from segpipe.errors import ConfigError
from segpipe.fit import evidence as facts
from segpipe.fit.decision import (
    DBCV_ERROR,
    DENSITY_GAIN,
    DENSITY_NOISE,
    NOISY,
    Data,
    Decision,
    Request,
    decide,
    fit_named,
)
from segpipe.fit.kmeans import fit_kmeans
from segpipe.fit.sweep import Sweep
from segpipe.kernels import nearest as kernel
from segpipe.models.density import DensityModel
from segpipe.models.merged import merged

TRIAL_ROWS = 5_000
"""Distinct rows of HDBSCAN's trial; only if it is chosen it is fitted again on all it may see."""
TRIAL_CELLS = 200_000
"""Rows times features of that second fit: spanning trees in many dimensions compare all pairs
(20,000 x 41: 20 s), and the trial already stands for them."""


def by_density(data: Data, asked: Request, found: dict[str, Any], sweep: Sweep) -> Decision:
    """HDBSCAN, K-Means merged across borders without valley, or K-Means flagged as weak."""
    from segpipe.fit.validity import dbcv

    x, w = data.few, data.few_w
    group = facts.groups(sweep.k, sweep.borders)
    g = int(group.max()) + 1
    cells, _, _ = kernel.nearest(x, sweep.centres)
    score = {"kmeans": dbcv(x, cells, w, seed=asked.seed)}
    if 1 < g < sweep.k:
        score["merged"] = dbcv(x, group[cells], w, seed=asked.seed)
    density, note, noise = None, "", 0.0
    try:
        density = density_model("hdbscan", data, asked, min(asked.density_rows, TRIAL_ROWS))
    except ConfigError as error:  # the density extra is not installed: said, not hidden
        note = f"; {error.message}"
    else:
        label = density.label(x).segment
        noise = float(w[label < 0].sum() / w.sum())
        score["hdbscan"] = dbcv(x, label, w, seed=asked.seed)
        found["hdbscan"] = dict(density.evidence)
    found |= {"dbcv": score, "noise_share": noise}
    found["runner_up"] = dict(sorted(score.items(), key=lambda item: -item[1])[1:2])
    usable = density is not None and density.k >= 2 and noise <= DENSITY_NOISE
    if density is not None and usable and _density_wins(score, sweep.shape.tail):
        density = full_density(density, data, asked)
        cause = (
            f"{sweep.shape.tail:.0%} of the rows are background that no centre explains"
            if sweep.shape.tail > NOISY
            else "the clusters have shapes that no centre describes"
        )
        why = (
            f"{cause}: density validity {score['hdbscan']:.2f} against {score['kmeans']:.2f} of "
            f"K-Means, noise {noise:.0%}"
        )
        return decide(density, data, asked, found, why)
    if score.get("merged", -2.0) >= score["kmeans"]:
        fitted = fit_kmeans(data.x, data.w, sweep.k, init=sweep.centres).centres
        mass = kernel.lloyd_sums(data.x, data.w, fitted).count
        model = merged(fitted, mass, group, "merged", asked.unit)
        why = f"{sweep.k} centres form {g} connected groups (no valley between their parts){note}"
        return decide(model, data, asked, found, why)
    found["weak"] = True
    why = (
        f"weak fit: some of {sweep.k} clusters have no valley between them, and no other model "
        f"describes the data better{note}"
    )
    return decide(fit_named("kmeans", data, sweep.k, asked), data, asked, found, why)


def full_density(trial: DensityModel, data: Data, asked: Request) -> DensityModel:
    """HDBSCAN again on all the rows that it may see; the trial where that finds fewer than two."""
    rows = min(asked.density_rows, TRIAL_CELLS // data.x.shape[0])
    if rows <= TRIAL_ROWS:
        return trial
    full = density_model("hdbscan", data, asked, rows)
    return full if full.k >= 2 else trial


def density_model(kind: str, data: Data, asked: Request, rows: int) -> DensityModel:
    """HDBSCAN or DBSCAN of at most ``rows`` distinct rows of the sample."""
    from segpipe.fit.density import fit_density

    return fit_density(
        kind,
        data.x,
        data.w,
        rows=rows,
        min_share=asked.min_share,
        seed=asked.seed,
        unit=asked.unit,
    )


def _density_wins(score: dict[str, float], tail: float) -> bool:
    """Whether HDBSCAN's validity is enough better than that of the centre models."""
    gain = score["hdbscan"] - score["kmeans"]
    if tail > NOISY:  # validity counts background rows against whoever must label them
        return gain >= -DBCV_ERROR
    return gain >= DENSITY_GAIN and score["hdbscan"] >= score.get("merged", -2.0) - DBCV_ERROR
