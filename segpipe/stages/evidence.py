"""The decision's numbers in the shapes that the report draws."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from segpipe.report.figures import Candidate
from segpipe.report.support import Compared, Knife, Validation

_WORDS = {
    "silhouette": "silhouette of the chosen model",
    "smallest_share": "smallest segment's share",
    "without_valley": "borders without a valley",
    "groups": "groups after merging across them",
    "noise_share": "noise found by density",
    "bic_gain_per_row": "BIC gain of Gaussians per row",
}


def stability_of(evidence: Mapping[str, Any]) -> float | None:
    """Mean per-segment Jaccard of the chosen model over refits; None where none was measured."""
    held = [v for v in evidence.get("validation", {}).get("stability", ()) if v is not None]
    for row in evidence.get("kmeans", ()) if not held else ():
        if row["k"] == evidence.get("k_star") and row.get("stability"):
            held = row["stability"]
    return float(np.mean(held)) if held else None


def validation(evidence: Mapping[str, Any]) -> Validation:
    """What supports the segments, for the pictures."""
    held = evidence.get("validation", {})
    gap = held.get("gap") or {}
    return Validation(
        knives=tuple(
            Knife(k["segment"], k["mean"], k["misplaced"], tuple(k["values"]))
            for k in held.get("silhouettes", ())
        ),
        stability=tuple(held.get("stability", ())),
        elbow=held.get("elbow"),
        gap_k=gap.get("k"),
        gap=tuple(gap.get("gap", ())),
        gap_error=tuple(gap.get("standard_error", ())),
    )


def candidates(evidence: Mapping[str, Any]) -> tuple[Candidate, ...]:
    """Every K-Means candidate of the sweep."""
    chosen = evidence.get("chosen", {})
    return tuple(
        Candidate(
            kind="kmeans",
            k=row["k"],
            silhouette=row.get("simplified_silhouette"),
            silhouette_se=row.get("standard_error"),
            inertia=row.get("inertia"),
            stability=float(np.mean(row["stability"])) if row.get("stability") else None,
            chosen=row["k"] == chosen.get("k") and chosen.get("kind") == "kmeans",
        )
        for row in evidence.get("kmeans", ())
    )


_NAMES = {
    "kmeans": "K-Means",
    "gmm": "Gaussian mixture",
    "bisecting": "Bisecting K-Means",
    "agglomerative": "Agglomerative",
    "merged": "Small clusters joined",
    "dbscan": "DBSCAN",
    "hdbscan": "HDBSCAN",
}


def compared(evidence: Mapping[str, Any]) -> tuple[Compared, ...]:
    """Every kind of model that was compared with the choice, which comes first."""
    return tuple(
        Compared(
            _NAMES[row["kind"]] + (f" ({row['linkage']})" if "linkage" in row else ""),
            row["k"],
            row.get("noise_share"),
            row.get("silhouette"),
            row.get("dbcv"),
            row.get("why_not", ""),
        )
        for row in evidence.get("candidates", ())
    )


def numbers(evidence: Mapping[str, Any]) -> dict[str, Any]:
    """The figures that decided, in words."""
    found = {word: evidence[key] for key, word in _WORDS.items() if evidence.get(key) is not None}
    hint = evidence.get("structure_hint")
    if hint:
        found["dip p of distances"] = hint["distances_p"]
        found["dip p of the main axis"] = hint["component_p"]
    shape = evidence.get("shape")
    if isinstance(shape, Mapping):
        found |= {f"cluster {k.replace('_', ' ')}": v for k, v in shape.items()}
    found |= {f"density validity of {k}": v for k, v in (evidence.get("dbcv") or {}).items()}
    return found
