"""One self-contained HTML page of a run: no scripts, no fonts, no pictures from elsewhere."""

from __future__ import annotations

import base64
import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from segpipe.errors import ConfigError
from segpipe.report import figures, support
from segpipe.report.figures import Candidate, Picture
from segpipe.report.profile import (
    FeatureProfile,
    SegmentProfile,
    Separation,
    separates_nothing,
)
from segpipe.report.words import RARITIES, humanise, vocabulary
from segpipe.values import Block, Floats, Ints

MISSING = "\u2013"
MOST_RARE = 40.0
"""Above it -ln of a share is of no table's rows."""
KNIVES = 40
"""Segments in one picture at most."""
SAYING = 0.3
"""|2 position - 1| from which a feature is mentioned in a segment's one-line portrait."""


@dataclass(frozen=True, slots=True)
class Outlier:
    """A flagged row of the top list."""

    row: Mapping[str, Any]
    """What a reader needs to find it: its key, or ts, src, dst, dst_port, service ..."""
    segment: int
    score: float
    quantile: float | None = None
    reasons: Sequence[Mapping[str, Any]] = ()
    """feature, share (0..1), value, usual; as in the label table."""
    note: str = ""
    """What to bear in mind, e.g. that it is merely a big spender."""


@dataclass(frozen=True, slots=True)
class ReportData:
    """Everything the page says; absent parts (no sample, no outliers) leave their section out."""

    job: str
    run_id: str
    engine: str
    kind: str
    """kmeans | gmm | ... | merged."""
    k: int
    library: str
    why: str
    """The sentence of the decision."""
    profiles: Sequence[SegmentProfile]
    rows_in: int
    rows_used: int
    rows_labelled: int
    rows_rejected: int
    as_of: str | None = None
    source: str = ""
    labels: str = ""
    natural: bool | None = True
    """False: the data hold no natural segments; None: not asked (explicit k)."""
    ranked: Sequence[Separation] = ()
    candidates: Sequence[Candidate] = ()
    compared: Sequence[support.Compared] = ()
    """The other kinds of model, the choice first."""
    decision: Mapping[str, Any] = field(default_factory=dict)
    """Numbers that decided, in the words of a table: what -> value."""
    stability_floor: float = 0.6
    validation: support.Validation = field(default_factory=support.Validation)
    x: Block | None = None
    """(features, rows) scaled sample, for the map."""
    segment: Ints | None = None
    """Segment of every column of ``x``."""
    outlier_method: str = "none"
    flagged: int = 0
    threshold: float | None = None
    score_edges: Floats | None = None
    score_counts: Floats | None = None
    top: Sequence[Outlier] = ()
    campaigns: Sequence[Mapping[str, Any]] = ()
    """Groups of flagged log rows, as ``stages.campaigns`` tells them."""
    rejects: Mapping[str, int] = field(default_factory=dict)
    """Reason code -> rows."""
    seconds: Mapping[str, float] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    warnings: Sequence[str] = ()
    min_group: int = 20
    """Segments of fewer rows are counted, not described."""
    palette: Mapping[int, str] = field(default_factory=dict)
    """Segment -> hex colour, for pixels."""
    images: Sequence[tuple[str, bytes]] = ()
    """(caption, PNG bytes), for pixels."""


def need_extra() -> None:
    """Raise ``ConfigError`` (78) where the report extra is not installed."""
    if importlib.util.find_spec("jinja2") is None:
        raise ConfigError(
            "the report was asked for, but jinja2 is not installed.",
            hint="pip install 'segpipe[report]'",
        )


def render(data: ReportData) -> str:
    """The page as HTML text; the same ``data`` give the same bytes.

    Segments under ``data.min_group`` rows appear with their size only: no profile, exemplar or
    point on the map. Raises ConfigError without jinja2.
    """
    need_extra()
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("segpipe", "report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number, "percent": percent, "human": humanise, "portrait": portrait,
        "plain": plain,
        "amount": amount, "mark": mark,
        "picture": _picture, "data_uri": _data_uri,
    }  # fmt: skip
    return environment.get_template("report.html.j2").render(
        data=data,
        described=_described(data),
        colour=figures.colours([p.id for p in data.profiles], data.palette),
        useless=separates_nothing(data.ranked),
        names={p.id: p.name for p in data.profiles},
        pictures=_pictures(data),
        outlier_columns=list(dict.fromkeys(c for o in data.top for c in o.row)),
    )


def number(value: Any) -> str:
    """A number as people write it: 1,234,567 · 86.5 · 0.0312; text as it is, None as a dash."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return _decimal(value)
    return MISSING if value is None else str(value)


def amount(value: Any, column: str = "") -> str:
    """``number`` of a value of ``column`` that may come as text, as those of the reasons do.

    Rarities, -ln of a share, are told as the share: 9.21 is 1 in 10,000.
    """
    try:
        read = float(value)
    except (TypeError, ValueError):
        return number(value)
    if column in RARITIES and 0.0 <= read < MOST_RARE:
        return f"1 in {number(round(math.exp(read)))}"
    return number(read)


def mark(value: Any, column: str) -> str:
    """A value that a group of rows shares: ``plain``, but rarities are told."""
    return amount(value, column) if column in RARITIES else plain(value)


def plain(value: Any) -> str:
    """What identifies a row, to be searched for: digits without separators, whole seconds."""
    if isinstance(value, float):
        return f"{value:.6g}" if value != int(value) else f"{value:.0f}"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    return MISSING if value is None else str(value)


def _decimal(value: float) -> str:
    if not math.isfinite(value):
        return MISSING
    size = abs(value)
    if size >= 1e15 or 0 < size < 1e-4:
        return f"{value:.2e}"
    if size >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if size < 1 else f"{value:.1f}"


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal; near 0 and 1 it keeps the digits that matter."""
    if share is None:
        return MISSING
    if 0 < share < 0.001:
        return f"{share * 100:.2g} %"
    if 0.999 < share < 1:
        return f"{math.floor(share * 1e6) / 1e4:.10g} %"
    return f"{share * 100:.1f} %"


def portrait(profile: SegmentProfile, most: int = 3) -> list[tuple[FeatureProfile, str]]:
    """The features that mark a segment, strongest first, each with "high" or "low".

    Features of one idea (orders, orders per month) are said once, by the first of the table.
    """
    words, _ = vocabulary([f.name for f in profile.features])
    heard: dict[str, FeatureProfile] = {}
    for feature in profile.features:
        if abs(2 * feature.position - 1) >= SAYING:
            heard.setdefault(words[feature.name].idea, feature)
    far = sorted(heard.values(), key=lambda f: -abs(round(f.position - 0.5, 6)))
    return [(f, "high" if f.position > 0.5 else "low") for f in far[:most]]


def _described(data: ReportData) -> list[SegmentProfile]:
    return [p for p in data.profiles if p.rows >= data.min_group]


def _pictures(data: ReportData) -> dict[str, Picture | None]:
    shown = [p for p in _described(data) if p.features]
    numeric = {f.name for p in shown for f in p.features}
    features = [s.feature for s in data.ranked if s.feature in numeric]
    features += [f.name for p in shown[:1] for f in p.features if f.name not in features]
    held = [c for c in data.candidates if c.silhouette is not None or c.inertia is not None]
    counts = data.score_counts
    return {
        "choice": figures.k_choice(held, data.stability_floor, data.validation.elbow)
        if len(held) > 1
        else None,
        **_support(data),
        "heat": figures.heat_map(shown, features) if len(shown) > 1 and features else None,
        "map": _map(data),
        "scores": figures.score_histogram(data.score_edges, counts, data.threshold)
        if data.score_edges is not None and counts is not None and counts.sum() > 0
        else None,
    }


def _support(data: ReportData) -> dict[str, Picture | None]:
    """Pictures of what supports the segments; segments too small to describe are left out."""
    ids, held = {p.id for p in _described(data)}, data.validation
    names = {p.id: p.name for p in data.profiles}
    colour = figures.colours([p.id for p in data.profiles], data.palette)
    knives = [k for k in held.knives if k.segment in ids and k.values]
    # Of many segments those that need a look: the lowest silhouettes.
    worst = sorted(knives, key=lambda k: k.mean)[:KNIVES]
    knives = [k for k in knives if k in worst]
    shares = {p.id: p.share for p in data.profiles}
    whole = len(held.stability) <= KNIVES and ids >= set(range(len(held.stability)))
    stable = held.stability if whole else ()
    return {
        "knife": support.silhouette_knife(knives, shares, names, colour) if knives else None,
        "stability": support.stability_bars(stable, names, colour, data.stability_floor)
        if stable
        else None,
        "gap": support.gap_curve(held.gap, held.gap_error, held.gap_k)
        if len(held.gap) > 1
        else None,
    }


def _map(data: ReportData) -> Picture | None:
    if data.x is None or data.segment is None:
        return None
    ids = [p.id for p in _described(data)]
    keep = [i for i, s in enumerate(data.segment[: figures.MAP_ROWS].tolist()) if s in ids]
    if len(keep) < 3:
        return None
    names = {p.id: p.name for p in data.profiles}
    colour = figures.colours(ids, data.palette)
    return figures.pca_map(data.x[:, keep], data.segment[keep], names, colour)


def _picture(picture: Picture) -> Any:
    """Our own SVG, marked safe: ``report.svg`` has escaped every text in it."""
    from markupsafe import Markup, escape

    head, body = picture.svg.split(">", 1)
    label = Markup(' role="img" aria-label="{}">').format(escape(picture.alt))
    return Markup(head) + label + Markup(body)


def _data_uri(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")
