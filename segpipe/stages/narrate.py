"""Narrate: counts, profiles, names, quality and the report, for people and the run summary."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.features.plan import Built
from segpipe.fit.select import Decision
from segpipe.lake.record import run_folder
from segpipe.lake.uris import locate
from segpipe.models.calibration import Calibration
from segpipe.models.fitted import Fitted, name_of
from segpipe.models.lens import LensDetector
from segpipe.report.naming import name_segments
from segpipe.report.profile import (
    SegmentProfile,
    Separation,
    named,
    profile,
    separates_nothing,
    separation,
)
from segpipe.schema import NOISE
from segpipe.scoring.notes import note_of, shift_of
from segpipe.scoring.reasons import reasons
from segpipe.scoring.tally import Tally
from segpipe.stages.evidence import candidates, numbers, stability_of, validation
from segpipe.stages.intake import Intake
from segpipe.stages.learn import Described, told_by
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


def can_report() -> bool:
    """Whether the report extra is installed."""
    return importlib.util.find_spec("jinja2") is not None


def write_report(
    target_uri: str,
    run_id: str,
    notes: Notes,
    found: Told,
    seen: Described,
    built: Built,
    tally: Tally,
    fitted: Fitted,
    evidence: Mapping[str, Any],
    min_group: int,
    source: str,
    campaigns: Sequence[Mapping[str, Any]] = (),
) -> str | None:
    """Write the HTML page beside the record; a warning where the report extra is missing."""
    if not can_report():
        notes["warnings"].append("no report: pip install 'segpipe[report]'")
        return None
    html = _page(notes, found, seen, built, tally, fitted, evidence, min_group, source, campaigns)
    place = f"{run_folder(target_uri, run_id)}/report.html"
    filesystem, path = locate(place)
    filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
    with filesystem.open_output_stream(path) as out:
        out.write(html.encode())
    return place


def _page(
    notes: Notes,
    found: Told,
    seen: Described,
    built: Built,
    tally: Tally,
    fitted: Fitted,
    evidence: Mapping[str, Any],
    min_group: int,
    source: str,
    campaigns: Sequence[Mapping[str, Any]],
) -> str:
    from segpipe.report.render import ReportData, render

    calibration = fitted.calibration
    binned = None
    if calibration is not None and len(calibration.edges) > 1:
        binned = np.asarray(tally.histogram[1:-1], np.float64).copy()
        binned[0] += tally.histogram[0]
        binned[-1] += tally.histogram[-1]
    seen = seen.head(PROFILE_ROWS)
    return render(
        ReportData(
            job=notes["job"],
            run_id=notes["run_id"],
            engine=notes["engine"],
            kind=notes["model"]["kind"],
            k=notes["model"]["k"],
            library=notes["model"]["library"],
            why=notes["model"]["why"],
            profiles=found.profiles,
            rows_in=notes["rows_in"],
            rows_used=notes["rows_used"],
            rows_labelled=tally.total,
            rows_rejected=notes["rows_rejected"],
            as_of=notes["as_of"],
            source=source,
            labels=target_name(notes),
            natural=notes["quality"]["natural_segments"],
            ranked=tuple(
                Separation(s["feature"], s["explained"], s["between_within"])
                for s in evidence["validation"]["features"]
            ),
            validation=validation(evidence),
            candidates=candidates(evidence),
            decision=numbers(evidence),
            x=seen.x,
            segment=found.labels.segment,
            outlier_method=notes["outliers"]["method"],
            flagged=notes["outliers"]["flagged"] or 0,
            threshold=notes["outliers"]["threshold"],
            score_edges=None if binned is None or calibration is None else calibration.edges,
            score_counts=binned,
            top=_top(tally, built, fitted) if calibration is not None else (),
            campaigns=campaigns,
            rejects=notes["rejects"]["reasons"],
            seconds=notes["seconds"],
            versions={
                p: importlib.metadata.version(p) for p in ("numpy", "pyarrow", "scikit-learn")
            },
            warnings=tuple(notes["warnings"]),
            min_group=min_group,
        )
    )


def target_name(notes: Notes) -> str:
    """The label table as the page names it: the folder's last part, no machine's path."""
    return str(notes.get("job") or "labels")


def _top(tally: Tally, built: Built, fitted: Fitted) -> tuple[Any, ...]:
    """The most unusual rows with their reasons."""
    from segpipe.report.render import Outlier

    if not tally.unusual or fitted.detector is None or fitted.calibration is None:
        return ()
    names = [name for name, _ in tally.unusual[0].values]
    schema = pa.schema([built.schema.field(name) for name in names])
    rows = [dict(row.values) for row in tally.unusual]
    batch = pa.RecordBatch.from_pylist(rows, schema=schema)
    x = fitted.scaler.transform(batch)
    score = np.array([row.score for row in tally.unusual])
    said = fitted.model.label(x).segment
    every = np.ones(len(rows), np.bool_)
    why = reasons(batch, x, every, fitted.scaler, fitted.model, fitted.detector).to_pylist()
    quantile = fitted.calibration.quantile(score)
    shown = told_by(built) or names[:8]
    detector, entities = fitted.detector, fitted.detector.method == "mass"
    scaler = detector.scaler if isinstance(detector, LensDetector) else fitted.scaler
    return tuple(
        Outlier(
            {name: _readable(built, name, row[name]) for name in shown},
            int(said[i]),
            float(score[i]),
            float(quantile[i]),
            why[i] or (),
            note_of(why[i] or (), scaler) if entities else "",
        )
        for i, row in enumerate(rows)
    )


def _readable(built: Built, name: str, value: Any) -> Any:
    """Times are int64 microseconds within a run."""
    if name == "ts" and isinstance(value, int) and built.schema.field(name).type == pa.int64():
        return datetime.fromtimestamp(value / 1e6, UTC)
    return value
