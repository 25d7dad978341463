"""Pictures of a run as SVG text that goes straight into the page, drawn with ``report.svg``.

Text stays text and takes the page's colour, so that pictures work in dark mode and for screen
readers; the same run gives the same bytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segpipe.report.profile import SegmentProfile
from segpipe.report.svg import Axis, Drawing, breadth, frame, spanning
from segpipe.values import Block, Floats, Ints

WIDTH = 640.0
"""Of a picture that fills its section, in units of ``report.svg``."""
MAP_ROWS = 5_000
HEAT_FEATURES = 14
NOISE_COLOUR = "#8a8f98"
# Okabe & Ito 2008, then Tol's muted set: safe for colour-blind readers.
_COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a400", "#7a5195"),
    *("#882255", "#44aa99", "#999933", "#aa4499", "#332288", "#117733", "#ddaa33", "#bb5566"),
)
ACCENT, ALARM = "#0072b2", "#d55e00"
# Blue over white to red: ColorBrewer's RdBu in eleven steps, reversed (Harrower & Brewer 2003).
_HEAT = np.array(
    [
        [5, 48, 97], [33, 102, 172], [67, 147, 195], [146, 197, 222], [209, 229, 240],
        [247, 247, 247], [253, 219, 199], [244, 165, 130], [214, 96, 77], [178, 24, 43],
        [103, 0, 31],
    ]
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Candidate:
    """One model that was considered; numbers that were not computed are None."""

    kind: str
    k: int
    silhouette: float | None = None
    silhouette_se: float | None = None
    inertia: float | None = None
    stability: float | None = None
    chosen: bool = False


@dataclass(frozen=True, slots=True)
class Picture:
    """SVG text and what it shows, in words."""

    svg: str
    alt: str


def colours(segments: Sequence[int], own: Mapping[int, str] | None = None) -> dict[int, str]:
    """A colour per segment id, the same in every picture; noise is grey, ``own`` goes first."""
    return {
        s: (own or {}).get(s) or (NOISE_COLOUR if s < 0 else _COLOURS[s % len(_COLOURS)])
        for s in segments
    }


def k_choice(
    candidates: Sequence[Candidate], threshold: float = 0.6, elbow: int | None = None
) -> Picture:
    """Silhouette (one standard error), inertia and stability of every K; the chosen one ringed.

    ``threshold`` is the mean Jaccard below which a K is refused as unstable; ``elbow`` the K at the
    bend of the inertia, which decides nothing.
    """
    panels = [
        ("silhouette", "Silhouette (higher is better)"),
        ("inertia", "Inertia" + (f" (elbow at {elbow})" if elbow else "")),
        ("stability", "Stability (Jaccard)"),
    ]
    # A curve needs two points; a single one is in the table.
    panels = [p for p in panels if sum(getattr(c, p[0]) is not None for c in candidates) > 1]
    drawing = Drawing(WIDTH, 195)
    kinds = list(dict.fromkeys(c.kind for c in candidates))
    room = WIDTH / len(panels) if panels else WIDTH
    for number, (name, title) in enumerate(panels):
        left = number * room
        drawing.text((left + 4, 8), title, size=10)
        _curves(drawing, candidates, kinds, name, threshold, left + 46, left + room - 14)
    for number, kind in enumerate(kinds if len(kinds) > 1 and panels else ()):
        at = WIDTH - 20, 30.0 + 13 * number
        drawing.text(at, kind, anchor="end", size=8.5, colour=_COLOURS[number])
    chosen = ", ".join(f"{c.kind} with K = {c.k}" for c in candidates if c.chosen) or "none"
    tried = f"{min(c.k for c in candidates)} to {max(c.k for c in candidates)}"
    bend = f"; elbow of the inertia at {elbow}" if elbow else ""
    told = f"Quality of the models tried, K from {tried}; chosen: {chosen}{bend}."
    return Picture(drawing.svg(), told)


def _curves(drawing: Drawing, candidates: Sequence[Candidate], kinds: Sequence[str], name: str,
            threshold: float, left: float, right: float) -> None:  # fmt: skip
    """One panel of ``k_choice``: a curve per kind of model."""
    shown = [c for c in candidates if getattr(c, name) is not None]
    value = np.array([getattr(c, name) for c in shown], np.float64)
    error = np.array([(c.silhouette_se or 0.0) * (name == "silhouette") for c in shown])
    x = spanning(np.array([c.k for c in shown], np.float64), left, right)
    if name == "stability":
        y = Axis(0.0, 1.05, 160, 22)
    else:
        y = spanning(np.r_[value - error, value + error], 160, 22,
                     low=0.0 if name == "inertia" else None)  # fmt: skip
    frame(drawing, x, y, x_title="K", whole=True)
    if name == "stability":
        at = float(y(threshold))
        drawing.line((left, at), (right, at), ALARM, width=1, dash="4 3")
    for number, kind in enumerate(kinds):
        own = sorted((c.k, v, e) for c, v, e in zip(shown, value, error, strict=True)
                     if c.kind == kind)  # fmt: skip
        if not own:
            continue
        colour = _COLOURS[number]
        k, v, e = (np.array(column) for column in zip(*own, strict=True))
        for at, low, high in zip(x(k), y(v - e), y(v + e), strict=True):
            if low > high:  # y runs downwards
                drawing.line((at, low), (at, high), colour, width=1)
                drawing.line((at - 2, low), (at + 2, low), colour, width=1)
                drawing.line((at - 2, high), (at + 2, high), colour, width=1)
        points = np.column_stack([x(k), y(v)])
        drawing.lines(points, colour)
        drawing.dots(points, colour, size=4)
    for c, v in zip(shown, value, strict=True):
        if c.chosen:
            drawing.ring((float(x(c.k)), float(y(v))), ALARM, radius=5.5)


def heat_map(profiles: Sequence[SegmentProfile], features: Sequence[str]) -> Picture:
    """Where a typical member of each segment stands among everybody, in percent (50 = usual)."""
    shown = list(features)[:HEAT_FEATURES]
    table = np.array(
        [[{f.name: f.position for f in p.features}[name] for name in shown] for p in profiles]
    )
    rows = [f"{p.id}  {cut(p.name, 34)}" for p in profiles]
    heads = [cut(name, 30) for name in shown]
    left, high = max(breadth(said) for said in rows) + 8, 24.0
    wide = min(86.0, (WIDTH - left - 40) / len(shown))
    long = max(breadth(said) for said in heads)
    turned = long > wide - 4
    if turned:  # the first one reaches to the left of the table
        left = max(left, 0.83 * breadth(heads[0]) - wide / 2)
    bottom = high * len(rows)
    drawing = Drawing(
        max(320.0, left + wide * len(shown) + 20), bottom + (14 + 0.57 * long if turned else 18)
    )
    for (i, j), value in np.ndenumerate(table):
        a, b = left + wide * j, high * i
        drawing.boxes([(a, b, a + wide, b + high)], _heat(float(value)))
        ink = "#ffffff" if abs(value - 0.5) > 0.3 else "#000000"
        drawing.text((a + wide / 2, b + high / 2), f"{value * 100:.0f}", anchor="middle",
                     colour=ink)  # fmt: skip
    for i, said in enumerate(rows):
        drawing.text((left - 6, high * (i + 0.5)), said, anchor="end")
    for j, said in enumerate(heads):
        at = left + wide * (j + 0.5), bottom + 9
        drawing.text(at, said, anchor="end" if turned else "middle", turn=-35 if turned else 0)
    told = "; ".join(f"{p.name}: {_summary(p)}" for p in profiles[:8])
    return Picture(drawing.svg(), f"Heat map of segment profiles in percentiles. {told}.")


def pca_map(
    x: Block, segment: Ints, names: Mapping[int, str], colour: Mapping[int, str]
) -> Picture:
    """The first <= 5,000 sample rows on their two principal axes, coloured by segment.

    ``x`` is (features, rows), scaled; each axis points where its largest loading is positive.
    """
    segment = segment[:MAP_ROWS]
    xy, share = _principal(x[:, :MAP_ROWS].astype(np.float64))
    drawing = Drawing(WIDTH, 430)
    across, up = spanning(xy[0], 52, WIDTH - 8), spanning(xy[1], 396, 8)
    frame(drawing, across, up,
          x_title=f"first principal axis ({share[0]:.0%} of the variance)",
          y_title=f"second principal axis ({share[1]:.0%})")  # fmt: skip
    at = np.column_stack([across(xy[0]), up(xy[1])])
    shown = sorted(set(segment.tolist()))
    for s in shown:  # noise lies below
        drawing.dots(at[segment == s], colour[s], size=3.6, opacity=0.65)
    for s in shown:
        if s >= 0:
            middle = np.median(at[segment == s], axis=0)
            drawing.ring(middle, colour[s], radius=8, fill="#ffffff")
            drawing.text(middle, str(s), anchor="middle", size=10, colour="#000000", bold=True)
    held = f"two axes that hold {share.sum():.0%} of the variance"
    said = ", ".join(f"{s} {names[s]}" for s in shown)
    alt = f"Map of {len(segment):,} sampled rows on {held}: {said}."
    return Picture(drawing.svg(), alt)


def score_histogram(edges: Floats, counts: Floats, threshold: float | None) -> Picture:
    """Rows per outlier score on a log scale; the flagged part in the colour of alarm."""
    edges, counts = _rebinned(np.asarray(edges, float), np.asarray(counts, float), 90)
    drawing = Drawing(WIDTH, 225)
    most = max(10.0, float(counts.max(initial=1.0)))
    ends = edges if threshold is None else np.r_[edges, threshold]
    x, y = spanning(ends, 66, WIDTH - 8), Axis(0.8, 1.8 * most, 190, 8, log=True)
    frame(drawing, x, y, x_title="outlier score (higher is more unusual)", y_title="rows (log)")
    flagged = edges[:-1] >= threshold if threshold is not None else np.zeros(len(counts), bool)
    left, right, top = x(edges[:-1]), x(edges[1:]), y(np.maximum(counts, y.low))
    for mask, colour in ((~flagged, ACCENT), (flagged, ALARM)):
        bars = np.flatnonzero(mask & (counts > y.low))
        drawing.boxes(((left[i], top[i], right[i], y.start) for i in bars), colour)
    if threshold is not None:
        at, said = float(x(threshold)), f"threshold {threshold:.3g}"
        late = at + breadth(said) + 8 > x.stop
        drawing.line((at, y.start), (at, y.stop), ALARM, width=1.2, dash="4 3")
        drawing.text((at - 5 if late else at + 5, 14), said, anchor="end" if late else "start")
    cut = "" if threshold is None else f"; rows from {threshold:.3g} on are flagged"
    return Picture(
        drawing.svg(), f"Histogram of the outlier scores of {counts.sum():,.0f} rows{cut}."
    )


def _heat(share: float) -> str:
    """Colour of 0..1 between blue, white and red, linear between the eleven steps."""
    steps = np.arange(len(_HEAT)) / (len(_HEAT) - 1)
    red, green, blue = (round(float(np.interp(share, steps, _HEAT[:, c]))) for c in range(3))
    return f"#{red:02x}{green:02x}{blue:02x}"


def _principal(x: Floats) -> tuple[Floats, Floats]:
    """((2, rows) coordinates, variance shares of the two axes); a missing second axis is zero."""
    x = x - x.mean(axis=1, keepdims=True)
    value, vector = np.linalg.eigh(x @ x.T / max(1, x.shape[1]))
    axes = vector[:, ::-1][:, :2].T
    axes = axes * np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    share = value[::-1][:2] / (value.sum() or 1.0)
    xy = np.zeros((2, x.shape[1]))
    xy[: len(axes)] = axes @ x
    return xy, np.pad(share, (0, 2 - len(share)))


def _rebinned(edges: Floats, counts: Floats, bins: int) -> tuple[Floats, Floats]:
    """``bins`` equal bins over the occupied range; fine bins of any width are dealt out evenly."""
    held = np.flatnonzero(counts)
    if not len(held):
        return edges, counts
    upto = np.concatenate([[0.0], np.cumsum(counts)])
    grid = np.linspace(edges[held[0]], edges[held[-1] + 1], bins + 1)
    return grid, np.diff(np.interp(grid, edges, upto))


def _summary(profile: SegmentProfile) -> str:
    far = sorted(profile.features, key=lambda f: -abs(f.position - 0.5))[:2]
    return ", ".join(f"{f.name} at {f.position * 100:.0f}" for f in far)


def cut(text: str, length: int) -> str:
    """At most ``length`` characters of ``text``."""
    return text if len(text) <= length else text[: length - 1] + "…"
