"""Groups of any shape: micro-clusters joined as the modes are, or HDBSCAN where noise is much."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from segpipe.errors import ConfigError
from segpipe.fit.agglomerative import fit_agglomerative
from segpipe.fit.condensed import clusters, linkage_of
from segpipe.fit.convex import AGREE, adjusted_rand
from segpipe.fit.decision import (
    DBCV_ERROR,
    DENSITY_NOISE,
    TAILED,
    Data,
    Decision,
    Request,
    decide,
    nothing,
)
from segpipe.fit.fallback import by_density
from segpipe.fit.kmeans import fit_kmeans
from segpipe.fit.modes import Modes, Seen, confirmed_modes, find_modes
from segpipe.fit.sweep import Sweep
from segpipe.fit.thinning import distinct, smallest_shown
from segpipe.kernels import nearest as kernel
from segpipe.models.density import DensityModel
from segpipe.models.merged import MergedModel, merged
from segpipe.values import Block, Floats, Ints, SegmentModel

MICRO, ROWS_EACH, LEAST_MICRO = 300, 8, 4
"""Micro-clusters in all, rows that each should have, and how many every group has."""
CUTS = 8
"""Numbers of modes that are compared, the largest ones."""
TRIAL_ROWS, TRIAL_CELLS = 5_000, 40_000
"""Distinct rows that HDBSCAN sees at least, and rows times features that it sees at most beyond
them: its spanning tree compares all pairs in many dimensions."""
SIZES = (0.005, 0.01, 0.02, 0.04, 0.08)
"""Shares of those rows that a cluster has at least, tried in turn."""
DOUBT = 0.1
"""Agreement that what is foreseen of HDBSCAN may lack: it sees other rows and all their pairs."""


def by_shape(
    data: Data,
    asked: Request,
    found: dict[str, Any],
    sweep: Sweep,
    seen: Seen | None,
    tail: float,
) -> Decision:
    """The modes as they are, whatever their shapes; HDBSCAN where it finds the same and noise.

    ``tail``: share of the rows that no centre explains.
    """
    if seen is None:
        return by_density(data, asked, found, sweep)
    own = seen
    seen, modes, value = _most_valid(data, asked, found, own)
    shown = value > 0.0 and any(b.shown for b in sweep.borders)
    if own.sure.k < 2 and seen is own and not shown:
        # Many scales are looked at: of bent Gaussians (5,000 rows) some one shows a bump in two.
        reason = "a second mode is no surer than chance, and fresh rows do not show it"
        return nothing(data, asked, found, reason)
    k = modes.k
    found["dbcv"] = {"merged": value}
    found["smallest_group"] = smallest_shown(seen.w, seen.x.shape[1])
    density, note = _hdbscan(data, asked, found, seen, modes, tail)
    if density is not None and _preferred(density, modes, seen, found, tail):
        why = (
            f"{density.k} groups of any shape, {found['noise_share']:.0%} of the rows apart: "
            f"density validity {found['dbcv']['hdbscan']:.2f}, with all rows in groups "
            f"{value:.2f}"
        )
        found["runner_up"] = {"kind": "merged", "k": k}
        return decide(density, data, asked, found, why)
    found["runner_up"] = (
        {"kind": "kmeans", "k": sweep.k} if density is None else {"kind": "hdbscan", "k": density.k}
    )
    model = joined(data.x, data.w, modes, seen, asked.unit, asked.seed)
    why = (
        f"the density has {k} modes of shapes that neither centres nor Gaussians give back: "
        f"{len(model.mass)} micro-clusters are joined to {k} groups{note}"
    )
    return decide(model, data, asked, found, why)


def _most_valid(
    data: Data, asked: Request, found: dict[str, Any], seen: Seen
) -> tuple[Seen, Modes, float]:
    """The groups with gaps between, or more that fresh rows confirm; else the most valid cut.

    Validity alone is no judge of thin shapes: a ring cut at its widest chance gap has halves that
    are more compact than it was (spirals of 1,000 rows: .14 for four pieces, -.23 for the two).
    """
    from segpipe.fit.validity import dbcv

    score: dict[int, float] = {}
    parted = seen.clear.k > 1
    best, top = (seen, seen.cuts[-1]), -np.inf
    for modes in [seen.clear] if parted else [m for m in seen.cuts if m.k > 1][-CUTS:]:
        score[modes.k] = dbcv(seen.x, modes.label, seen.w, seed=asked.seed)
        if score[modes.k] > top:
            best, top = (seen, modes), score[modes.k]
    found["cuts"] = {"dbcv": score, "clear": seen.clear.k}
    places, mass = distinct(data.few, data.few_w)
    again = confirmed_modes(places, mass, asked.min_share, asked.k_max)
    if again is not None and again.sure.k > 1:
        near, _, _ = kernel.nearest(seen.x, again.x.T.astype(np.float64))
        value = dbcv(seen.x, again.sure.label[near], seen.w, seed=asked.seed)
        found["confirmed"] = {**again.sure.row(), "dbcv": value}
        more = again.sure.k > seen.clear.k and value >= top
        if more if parted else value >= top - DBCV_ERROR:
            best, top = (again, again.sure), value
    return *best, float(top)


def regrouped(x: Block, w: Floats, k: int, min_share: float, seed: int) -> SegmentModel:
    """The modes of ``x`` that are as many as ``k``, or nearest to it, as a merged model.

    What a merged model of k groups is when it is found again in other rows.
    """
    places, mass = distinct(x, w)
    seen = find_modes(places, mass, min_share)
    if seen is None:
        return fit_agglomerative(x, w, k, seed)
    modes = min(seen.cuts, key=lambda m: (abs(m.k - k), -m.k))
    return joined(x, w, modes, seen, 1.0, seed)


def joined(x: Block, w: Floats, modes: Modes, seen: Seen, unit: float, seed: int) -> MergedModel:
    """Micro-clusters of every mode by itself, as many as its rows allow; ``x``, ``w``: all rows."""
    centres: list[Floats] = []
    for c in range(modes.k):
        member = modes.label == c
        rows, mass = np.ascontiguousarray(seen.x[:, member]), seen.w[member]
        share = round(MICRO * float(mass.sum() / seen.w.sum()))
        m = min(max(share, LEAST_MICRO), max(1, rows.shape[1] // ROWS_EACH))
        centres.append(fit_kmeans(rows, mass, m, 1, seed).centres)
    micro = np.concatenate(centres)
    group = np.repeat(np.arange(modes.k), [len(c) for c in centres]).astype(np.int32)
    label, _, _ = kernel.nearest(x, micro)
    held = np.bincount(label, w, len(micro)).astype(np.float64)
    return merged(micro, held, group, "merged", unit)


def _hdbscan(
    data: Data, asked: Request, found: dict[str, Any], seen: Seen, modes: Modes, tail: float
) -> tuple[DensityModel | None, str]:
    """HDBSCAN by the smallest cluster size whose clusters are as many as the modes, if any.

    None where the neighbour graph foretells that it finds other groups, or no noise.
    """
    from segpipe.fit.density import fit_density
    from segpipe.fit.validity import dbcv

    rows = min(asked.density_rows, max(TRIAL_ROWS, TRIAL_CELLS // data.x.shape[0]))
    seeming = foreseen(data, seen, modes, rows)
    found["hdbscan"] = {"foreseen": seeming.row()}
    if not (seeming.alike and max(tail, seeming.noise) > TAILED):
        label = seeming.label
        found["dbcv"]["hdbscan"] = dbcv(seen.x, label, seen.w, seed=asked.seed)
        found["noise_share"] = seeming.noise
        return None, ""
    density, trials = None, {}
    for share in SIZES[SIZES.index(seeming.share) :]:
        try:
            density = fit_density(
                "hdbscan", data.few, data.few_w, rows=rows, min_share=asked.min_share,
                seed=asked.seed, unit=asked.unit, min_cluster_size=max(5, int(share * rows)),
            )  # fmt: skip
        except ConfigError as error:  # the density extra is not installed: said, not hidden
            return None, f"; {error.message}"
        trials[share] = density.k
        if density.k <= modes.k:
            break
    assert density is not None
    label = density.label(seen.x).segment
    noise = float(seen.w[label < 0].sum() / seen.w.sum())
    found["dbcv"]["hdbscan"] = dbcv(seen.x, label, seen.w, seed=asked.seed)
    found["hdbscan"] |= {**dict(density.evidence), "trials": trials}
    found["noise_share"] = noise
    return (density if density.k >= 2 and noise <= DENSITY_NOISE else None), ""


@dataclass(frozen=True, slots=True, eq=False)
class Foreseen:
    """What HDBSCAN would find, by the links between near neighbours alone."""

    label: Ints
    share: float
    """Of SIZES: the first that gives as many clusters as modes, or fewer."""
    noise: float
    """Weighted share of the rows; what a fitted model leaves out is less."""
    alike: bool
    """Some size gives as many clusters as modes, and about those."""
    trials: dict[float, int]

    def row(self) -> dict[str, Any]:
        """For the evidence."""
        return {
            "clusters": int(self.label.max(initial=-1)) + 1,
            "noise_share": self.noise,
            "alike": self.alike,
            "trials": self.trials,
        }


def foreseen(data: Data, seen: Seen, modes: Modes, rows: int) -> Foreseen:
    """HDBSCAN on the rows whose modes are known; ``rows``: as many as it would see at most."""
    from segpipe.fit.density import MIN_SAMPLES

    linkage = linkage_of(seen.x, MIN_SAMPLES)
    part = seen.x.shape[1] / min(rows, data.few.shape[1])
    trials: dict[float, int] = {}
    first: tuple[float, Ints] | None = None
    alike = False
    for share in SIZES:
        label = clusters(linkage, max(5, int(share * rows * part)))
        trials[share] = k = int(label.max(initial=-1)) + 1
        agreement = adjusted_rand(label[modes.core], modes.label[modes.core])
        alike = alike or (k == modes.k and agreement >= AGREE - DOUBT)
        if first is None and (k <= modes.k or share == SIZES[-1]):
            first = share, label
    assert first is not None
    share, label = first
    noise = float(seen.w[label < 0].sum() / seen.w.sum())
    return Foreseen(label, share, noise, alike, trials)


def _preferred(
    density: DensityModel, modes: Modes, seen: Seen, found: dict[str, Any], tail: float
) -> bool:
    """Whether HDBSCAN's clusters are the modes, and it has noise to set aside."""
    label = density.label(seen.x).segment
    agreement = adjusted_rand(label[modes.core], modes.label[modes.core])
    found["hdbscan_agreement"] = agreement
    noisy = max(tail, found["noise_share"]) > TAILED
    return density.k == modes.k and agreement >= AGREE and noisy
