"""Pictures of what supports the segments: silhouettes, stability, the gap statistic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from segpipe.report.figures import ACCENT, ALARM, WIDTH, Picture, cut
from segpipe.report.svg import LINE, Axis, Drawing, frame, spanning

LEFT = 186.0
"""Room for segment names."""


@dataclass(frozen=True, slots=True)
class Knife:
    """The silhouettes of one segment's sampled rows."""

    segment: int
    mean: float
    misplaced: float
    """Share of its rows that lie nearer to another segment."""
    values: Sequence[float]
    """Falling; evenly spaced among the sorted ones."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One kind of model on the rows that all kinds were compared on; None: not measured."""

    name: str
    k: int
    noise: float | None
    silhouette: float | None
    validity: float | None
    """DBCV, -1..1: suits groups of any shape."""
    why_not: str
    """Empty for the model that was chosen."""


@dataclass(frozen=True, slots=True)
class Validation:
    """What supports the segments; empty or None where it was not measured."""

    knives: Sequence[Knife] = ()
    stability: Sequence[float | None] = ()
    """Mean Jaccard of each segment over refits, by segment id."""
    elbow: int | None = None
    """K at the elbow of the inertia."""
    gap_k: int | None = None
    gap: Sequence[float] = ()
    """Gap statistic at K = 1, 2, ..."""
    gap_error: Sequence[float] = ()


def silhouette_knife(knives: Sequence[Knife], shares: Mapping[int, float],
                     names: Mapping[int, str], colour: Mapping[int, str]) -> Picture:  # fmt: skip
    """Silhouettes of every segment's rows, falling; a segment is as high as its ``shares``."""
    left, high = LEFT, 14.0
    room = [max(high, 220.0 * shares.get(k.segment, 0.0)) for k in knives]
    bottom = 10 + sum(room) + 4 * len(room)
    drawing = Drawing(WIDTH, bottom + 34)
    least = min((v for k in knives for v in k.values), default=0.0)
    x = Axis(min(0.0, least) - 0.02, 1.0, left, WIDTH - 12)
    y = Axis(0.0, 1.0, bottom, 6)
    for value, said in x.ticks(8):
        at = float(x(value))
        drawing.line((at, y.start), (at, y.stop), LINE, width=0.5)
        drawing.text((at, y.start + 9), said, anchor="middle", size=8.5)
    top, zero = 8.0, float(x(0.0))
    for knife, tall in zip(knives, room, strict=True):
        step = tall / len(knife.values)
        ends = [(zero, float(x(v))) for v in knife.values]
        drawing.boxes(
            ((min(e), top + i * step, max(e), top + (i + 1) * step) for i, e in enumerate(ends)),
            colour[knife.segment],
        )
        said = f"{knife.segment}  {cut(names.get(knife.segment, ''), 26)}"
        drawing.text((left - 6, top + tall / 2), said, anchor="end")
        top += tall + 4
    mean = sum(k.mean * shares.get(k.segment, 0.0) for k in knives)
    mean /= sum(shares.get(k.segment, 0.0) for k in knives) or 1.0
    drawing.line((float(x(mean)), y.start), (float(x(mean)), y.stop), ALARM, width=1, dash="4 3")
    drawing.text(((left + WIDTH) / 2, bottom + 24), "silhouette", anchor="middle")
    told = "; ".join(
        f"{k.segment}: {k.mean:.2f}, {k.misplaced:.0%} nearer to another segment" for k in knives
    )
    return Picture(drawing.svg(), f"Silhouettes by segment, mean {mean:.2f}. {told}.")


def stability_bars(stability: Sequence[float | None], names: Mapping[int, str],
                   colour: Mapping[int, str], threshold: float = 0.6) -> Picture:  # fmt: skip
    """How much of each segment is found again in other samples, 0..1."""
    left, high = LEFT, 18.0
    bottom = 8 + high * len(stability)
    drawing = Drawing(WIDTH, bottom + 34)
    x = Axis(0.0, 1.0, left, WIDTH - 44)
    for value, said in x.ticks(6):
        at = float(x(value))
        drawing.line((at, bottom), (at, 6), LINE, width=0.5)
        drawing.text((at, bottom + 9), said, anchor="middle", size=8.5)
    for s, found in enumerate(stability):
        middle = 8 + high * (s + 0.5)
        said = f"{s}  {cut(names.get(s, ''), 26)}"
        drawing.text((left - 6, middle), said, anchor="end")
        if found is None:
            drawing.text((left + 5, middle), "not in any half")
            continue
        drawing.boxes([(left, middle - 6, float(x(found)), middle + 6)], colour[s])
        drawing.text((float(x(found)) + 4, middle), f"{found:.2f}", size=8.5)
    at = float(x(threshold))
    drawing.line((at, bottom), (at, 6), ALARM, width=1, dash="4 3")
    title = (left + x.stop) / 2, bottom + 24
    drawing.text(title, "share found again (Jaccard, refits on halves)", anchor="middle")
    weak = [str(s) for s, v in enumerate(stability) if v is not None and v < threshold]
    told = f"; below {threshold}: {', '.join(weak)}" if weak else f"; all from {threshold} on"
    return Picture(drawing.svg(), f"Stability of {len(stability)} segments{told}.")


def gap_curve(gap: Sequence[float], error: Sequence[float], chosen: int | None) -> Picture:
    """Gap statistic by K with one standard error; its choice ringed."""
    drawing = Drawing(WIDTH / 2, 195)
    value, spread = np.asarray(gap, np.float64), np.asarray(error, np.float64)
    k = np.arange(1, len(value) + 1, dtype=np.float64)
    x = spanning(k, 46, WIDTH / 2 - 14)
    y = spanning(np.r_[value - spread, value + spread], 160, 22)
    frame(drawing, x, y, x_title="K", whole=True)
    drawing.text((4, 8), "Gap: gain over uniform data (report only)", size=10)
    for at, low, up in zip(x(k), y(value - spread), y(value + spread), strict=True):
        drawing.line((at, low), (at, up), ACCENT, width=1)
    points = np.column_stack([x(k), y(value)])
    drawing.lines(points, ACCENT)
    drawing.dots(points, ACCENT, size=4)
    if chosen is not None:
        drawing.ring(points[chosen - 1], ALARM, radius=5.5)
    said = "none" if chosen is None else str(chosen)
    return Picture(drawing.svg(), f"Gap statistic, K from 1 to {len(value)}; its choice: {said}.")
