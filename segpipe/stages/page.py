"""The HTML page of a run: what was counted, chosen and found, in the shapes that are drawn."""

from __future__ import annotations

import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.features.plan import Built
from segpipe.lake.record import run_folder
from segpipe.lake.uris import locate
from segpipe.models.fitted import Fitted
from segpipe.models.lens import LensDetector
from segpipe.report.profile import Separation
from segpipe.scoring.notes import note_of
from segpipe.scoring.reasons import reasons
from segpipe.scoring.tally import Tally
from segpipe.stages.described import Described
from segpipe.stages.evidence import candidates, compared, numbers, validation
from segpipe.stages.learn import told_by
from segpipe.stages.narrate import PROFILE_ROWS, Notes, Told

_OF_RUN = ("job", "run_id", "engine", "rows_in", "rows_used", "rows_rejected", "seconds")


def can_report(notes: Notes) -> bool:
    """Whether the report extra is installed; a warning where it is not."""
    found = importlib.util.find_spec("jinja2") is not None
    if not found:
        notes["warnings"].append("no report: pip install 'segpipe[report]'")
    return found


def common(notes: Notes, evidence: Mapping[str, Any], packages: Sequence[str]) -> dict[str, Any]:
    """What the page of every job says of its run: keywords of ``ReportData``."""
    return {
        **{name: notes[name] for name in _OF_RUN},
        **{name: notes["model"][name] for name in ("kind", "k", "library", "why")},
        # Named after the job: no path of a machine stands on a page.
        "labels": notes["job"] or "labels",
        "candidates": candidates(evidence),
        "compared": compared(evidence),
        "decision": numbers(evidence),
        "versions": {p: importlib.metadata.version(p) for p in packages},
        "warnings": tuple(notes["warnings"]),
    }


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
    """Write the HTML page beside the record; None where the report extra is missing."""
    if not can_report(notes):
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
            **common(notes, evidence, ("numpy", "pyarrow", "scikit-learn")),
            profiles=found.profiles,
            rows_labelled=tally.total,
            as_of=notes["as_of"],
            source=source,
            natural=notes["quality"]["natural_segments"],
            ranked=tuple(
                Separation(s["feature"], s["explained"], s["between_within"])
                for s in evidence["validation"]["features"]
            ),
            validation=validation(evidence),
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
            min_group=min_group,
        )
    )


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
    why = reasons(batch, every, fitted.scaler, fitted.model, fitted.detector).to_pylist()
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
