"""Narrate: counts, profiles, names and quality, for people and the run summary."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from segpipe.features.plan import Built
from segpipe.fit.select import Decision
from segpipe.models.calibration import Calibration
from segpipe.models.fitted import Fitted, name_of
from segpipe.report.naming import name_segments
from segpipe.report.profile import (
    SegmentProfile,
    named,
    profile,
    separates_nothing,
    separation,
)
from segpipe.schema import NOISE
from segpipe.scoring.notes import shift_of
from segpipe.scoring.tally import Tally
from segpipe.stages.described import Described
from segpipe.stages.evidence import stability_of
from segpipe.stages.intake import Intake
from segpipe.values import Labels, SegmentModel

Notes = dict[str, Any]
PROFILE_ROWS = 65_536
"""Sampled rows that medians, ranks and pictures are made of; sizes and means are of all rows."""


def counts(notes: Notes, taken: Intake) -> None:
    """What the contract counted."""
    audit = taken.audit
    notes["rows_in"], notes["rows_used"] = audit.rows_in, audit.rows_used
    notes["rows_rejected"] = audit.rows_rejected
    reasons_found = {k: n for k, n in sorted(audit.rejected.items()) if n}
    notes["rejects"] |= {"rows": audit.rows_rejected, "reasons": reasons_found}
    notes["as_of"] = None if taken.as_of is None else taken.as_of.isoformat()
    notes["warnings"] += taken.warnings


@dataclass(frozen=True)
class Told:
    """Segments in words, and the sample's labels."""

    profiles: tuple[SegmentProfile, ...]
    labels: Labels
    weight_shares: Mapping[int, float] = field(default_factory=dict)
    """Segment id -> its share of the rows' weight; empty without weights."""

    @property
    def names(self) -> dict[int, str]:
        """Segment id -> name."""
        return {p.id: p.name for p in self.profiles}

    @property
    def segments(self) -> list[dict[str, Any]]:
        """For the run summary."""
        return [
            {"id": p.id, "name": p.name, "rows": p.rows, "share": p.share}
            | shared(self.weight_shares, p.id)
            for p in self.profiles
        ]


def segment_rows(tally: Tally, k: int) -> dict[int, int]:
    """Rows of every segment, and of the noise where there is some."""
    rows = {i: int(tally.rows[i + 1]) for i in range(k)}
    return rows | ({NOISE: int(tally.rows[0])} if tally.rows[0] else {})


def weight_shares(tally: Tally) -> dict[int, float]:
    """Share of the weight of every segment that has rows or a place; empty without weights."""
    if tally.mass is None:
        return {}
    total = float(tally.mass.sum()) or 1.0
    return {i - 1: float(mass) / total for i, mass in enumerate(tally.mass)}


def shared(shares: Mapping[int, float], segment: int) -> dict[str, float]:
    """``weight_share`` of a segment in the summary, where rows have weights."""
    return {"weight_share": shares[segment]} if segment in shares else {}


def told(seen: Described, model: SegmentModel, tally: Tally, built: Built) -> Told:
    """Profiles of exact sizes and means, medians from the sample; then names."""
    numeric = tuple(n.name for n in seen.description.numbers)
    rows = segment_rows(tally, model.k)
    exact = tally.means
    means = {
        i: {
            name: float(exact[i + 1, j])
            for j, name in enumerate(numeric)
            if np.isfinite(exact[i + 1, j])
        }
        for i in rows
    }
    shown = seen.head(PROFILE_ROWS)
    labels = model.label(shown.x)
    found = profile(
        shown.description.sample.batch, labels, shown.w, numeric, built.categorical, rows, means
    )
    return Told(named(found, name_segments(found)), labels, weight_shares(tally))


def ranking(found: Told, seen: Described, built: Built) -> dict[str, Any]:
    """Features by how well they tell the segments apart, for ``decision.json``."""
    numeric = tuple(n.name for n in seen.description.numbers)
    shown = seen.head(PROFILE_ROWS)
    batch, label = shown.description.sample.batch, found.labels.segment
    ranked = separation(batch, label, shown.w, numeric, built.categorical)
    return {
        "features": [
            {"feature": s.feature, "explained": s.explained, "between_within": s.ratio}
            for s in ranked
        ],
        "separates_nothing": separates_nothing(ranked) if len(found.profiles) > 1 else [],
    }


def learnt(
    notes: Notes,
    decision: Decision,
    model: SegmentModel,
    library: str,
    tally: Tally,
    seen: Described,
    calibration: Calibration | None,
) -> None:
    """Model, quality and threshold."""
    notes["model"] = {
        "kind": model.kind,
        "k": model.k,
        "library": library,
        "why": decision.why,
    }
    notes["quality"] = {
        "inertia": _in_users_weight(tally.inertia(model, seen.scaler.unit), seen.per_weight),
        "silhouette": decision.evidence.get("silhouette"),
        "stability": stability_of(decision.evidence),
        # one segment that was asked for says nothing of the data
        "natural_segments": None if decision.evidence["asked"]["k"] == 1 else decision.natural,
    }
    if calibration is not None:
        notes["outliers"] = {
            "method": calibration.method,
            "flagged": calibration.flagged,
            "threshold": calibration.threshold,
        }
        if 2 * calibration.flagged > calibration.rows:
            asked = ", ".join(f"{name} {value:g}" for name, value in calibration.asked)
            notes["warnings"].append(
                f"{calibration.flagged:,} of {calibration.rows:,} rows are flagged: "
                f"outliers.threshold asks for {asked}"
            )
    else:
        notes["outliers"] = {"method": "none", "flagged": None, "threshold": None}


def scored(notes: Notes, fitted: Fitted, tally: Tally, place: str) -> None:
    """The same for rows that an earlier model, kept at ``place``, labels.

    The tally's one bin edge is the model's threshold.
    """
    notes["model_uri"] = place
    names, total, shares = dict(fitted.names), max(tally.total, 1), weight_shares(tally)
    notes["segments"] = [
        {"id": i, "name": name_of(names, i), "rows": rows, "share": rows / total}
        | shared(shares, i)
        for i, rows in segment_rows(tally, fitted.model.k).items()
    ]
    notes["model"] = {
        "kind": fitted.model.kind,
        "k": fitted.model.k,
        "library": None,
        "why": f"fitted earlier (model {fitted.model_id})",
    }
    each = 1.0 if tally.mass is None else 1.0 / (fitted.weight_scale or 1.0)
    inertia = tally.inertia(fitted.model, fitted.scaler.unit)
    notes["quality"]["inertia"] = _in_users_weight(inertia, each)
    known = fitted.calibration
    notes["outliers"] = {
        "method": known.method if known else "none",
        "flagged": int(tally.histogram[-1]) if known else None,
        "threshold": known.threshold if known else None,
    }
    shifted = known and shift_of(notes["outliers"]["flagged"], tally.total, known)
    if shifted:
        notes["warnings"].append(shifted)


def _in_users_weight(inertia: float | None, each: float) -> float | None:
    return None if inertia is None else inertia * each


def conserved(notes: Notes, counted: int, grouped: bool) -> None:
    """Law 5: nothing was lost or doubled on the way; a breach stops the run before the commit."""
    used, labelled = notes["rows_used"], notes["rows_labelled"]
    if used + notes["rows_rejected"] != notes["rows_in"] or labelled != counted:
        raise AssertionError(f"rows were lost: {notes['rows_in']=} {used=} {labelled=} {counted=}")
    if not grouped and labelled != used:
        raise AssertionError(f"rows were lost: {used=} {labelled=}")
