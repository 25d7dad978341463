"""Charts as SVG text: a drawing of marks, axes with round ticks, and a frame around both.

A plotting library's import and layout would cost a small run a second, more than all its work.
Units are points at 9-point text. Texts take the page's font and colour, so that pictures follow its
dark mode; no dates and no ids, so that the same run gives the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from html import escape
from typing import Any

import numpy as np

from segpipe.values import Floats

TEXT = 9.0
"""Font size of everything that does not ask for another."""
SCALE = 1.4
"""Pixels per unit on a wide screen."""
INK, LINE = "currentColor", "var(--line)"
_NARROW, _WIDE = frozenset("iljtfr.,:;|!'()[] -"), frozenset("mwMW@%")
_ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)


@dataclass(slots=True)
class Drawing:
    """Marks on a canvas, y downwards; colours are CSS."""

    width: float
    height: float
    marks: list[str] = field(default_factory=list)

    def line(self, a: Sequence[float], b: Sequence[float], colour: str, *, width: float = 0.6,
             dash: str = "") -> None:  # fmt: skip
        """A straight line from point ``a`` to point ``b``."""
        self.lines(np.array([a, b]), colour, width=width, dash=dash)

    def lines(self, points: Floats, colour: str, *, width: float = 1.4, dash: str = "") -> None:
        """A polyline through ``points`` (n, 2)."""
        path = "M" + "L".join(f"{_n(x)} {_n(y)}" for x, y in points)
        dashes = f' stroke-dasharray="{dash}"' if dash else ""
        self.marks.append(
            f'<path d="{path}" fill="none" style="stroke:{colour}" stroke-width="{_n(width)}"'
            f"{dashes}/>"
        )

    def dots(self, points: Floats, colour: str, *, size: float, opacity: float = 1.0) -> None:
        """Discs of diameter ``size`` at ``points`` (n, 2), each one seen through the others."""
        drawn = "".join(f'<path d="M{_n(x)} {_n(y)}h0"/>' for x, y in points)
        self.marks.append(
            f'<g style="stroke:{colour}" stroke-width="{_n(size)}" stroke-linecap="round" '
            f'stroke-opacity="{_n(opacity)}">{drawn}</g>'
        )

    def ring(self, at: Sequence[float], colour: str, *, radius: float, fill: str = "none") -> None:
        """A circle around ``at``."""
        self.marks.append(
            f'<circle cx="{_n(at[0])}" cy="{_n(at[1])}" r="{_n(radius)}" fill="{fill}" '
            f'style="stroke:{colour}" stroke-width="1.8"/>'
        )

    def boxes(self, corners: Iterable[Sequence[float]], colour: str) -> None:
        """Filled rectangles (left, top, right, bottom) of one colour."""
        path = "".join(f"M{_n(a)} {_n(b)}H{_n(c)}V{_n(d)}H{_n(a)}z" for a, b, c, d in corners)
        if path:
            self.marks.append(f'<path d="{path}" style="fill:{colour}"/>')

    def text(self, at: Sequence[float], said: str, *, anchor: str = "start", size: float = TEXT,
             colour: str = INK, turn: float = 0.0, bold: bool = False) -> None:  # fmt: skip
        """``said`` with its middle height at ``at``; ``anchor`` start | middle | end."""
        x, y = at
        turned = f' transform="rotate({_n(turn)} {_n(x)} {_n(y)})"' if turn else ""
        weight = ' font-weight="bold"' if bold else ""
        self.marks.append(
            f'<text x="{_n(x)}" y="{_n(y)}" dy=".35em" text-anchor="{anchor}" '
            f'font-size="{_n(size)}" style="fill:{colour}"{weight}{turned}>{escape(said)}</text>'
        )

    def svg(self) -> str:
        """The inline element; as wide as its page lets it be, up to ``SCALE``."""
        w, h = _n(self.width), _n(self.height)
        head = f'<svg viewBox="0 0 {w} {h}" style="max-width:{self.width * SCALE:.0f}px">'
        return f"{head}{''.join(self.marks)}</svg>"


@dataclass(frozen=True, slots=True)
class Axis:
    """Values low..high laid out from start to stop; a flat range is widened."""

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, values: Any) -> Any:
        """Places of ``values``, a number or an array."""
        low, high, at = self.low, self.high, np.asarray(values, np.float64)
        if self.log:
            low, high, at = math.log10(low), math.log10(high), np.log10(at)
        share = (at - low) / (high - low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, most: int = 7, whole: bool = False) -> list[tuple[float, str]]:
        """At most about ``most`` round values with what is written at them."""
        if self.log:
            values = _decades(self.low, self.high, most)
            return [(v, written(v, v)) for v in values]
        step = _step((self.high - self.low) / most)
        step = max(1.0, math.ceil(step)) if whole else step
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, written(i * step, step)) for i in range(first, last + 1)]


def spanning(values: Floats, start: float, stop: float, *, low: float | None = None) -> Axis:
    """An axis over ``values`` with a margin; from ``low`` where that is given."""
    bottom = float(np.min(values)) if low is None else low
    top = float(np.max(values))
    size = (top - bottom) or abs(top) or 1.0
    return Axis(bottom - 0.05 * size if low is None else low, top + 0.05 * size, start, stop)


def frame(drawing: Drawing, x: Axis, y: Axis, *, x_title: str = "", y_title: str = "",
          whole: bool = False) -> None:  # fmt: skip
    """Grid, ticks, axis lines and titles of the rectangle that ``x`` and ``y`` span.

    ``whole``: x counts things, so that its ticks are integers.
    """
    room = abs(x.stop - x.start)
    beside = y.ticks(max(2, int(abs(y.stop - y.start) / 24)))
    for value, said in beside:
        at = float(y(value))
        drawing.line((x.start, at), (x.stop, at), LINE, width=0.5)
        drawing.text((x.start - 5, at), said, anchor="end", size=8.5)
    for value, said in x.ticks(max(2, int(room / (22 if whole else 40))), whole):
        at = float(x(value))
        drawing.line((at, y.start), (at, y.stop), LINE, width=0.5)
        drawing.text((at, y.start + 9), said, anchor="middle", size=8.5)
    drawing.line((x.start, y.start), (x.stop, y.start), LINE, width=1.0)
    drawing.line((x.start, y.start), (x.start, y.stop), LINE, width=1.0)
    drawing.text(((x.start + x.stop) / 2, y.start + 23), x_title, anchor="middle")
    if y_title:
        left = x.start - 12 - max((breadth(said, 8.5) for _, said in beside), default=0.0)
        drawing.text((left, (y.start + y.stop) / 2), y_title, anchor="middle", turn=-90)


def breadth(said: str, size: float = TEXT) -> float:
    """About how wide ``said`` is, on the safe side: the page's font is not known here."""
    widths = (0.36 if c in _NARROW else 0.95 if c in _WIDE else 0.62 for c in said)
    return size * sum(widths)


def written(value: float, step: float) -> str:
    """A tick: as many decimals as ``step`` needs, thousands grouped, millions abbreviated."""
    sign, size = "\u2212" if value < 0 and round(value / step) else "", abs(value)
    large = ((1e12, " T"), (1e9, " G"), (1e6, " M"))
    scale, unit = next(((s, name) for s, name in large if size >= s), (1.0, ""))
    if 0 < step < 1e-5:
        return f"{sign}{size:.2g}"
    return f"{sign}{size / scale:,.{_decimals(step / scale)}f}{unit}"


def _decimals(step: float) -> int:
    """Of the multiples of a round step: 0.2 has one, 0.25 two."""
    found = max(0, 1 - math.floor(math.log10(step))) if step < 10 else 0
    return found - (found > 0 and round(step * 10**found) % 10 == 0)


def _step(rough: float) -> float:
    """The smallest round step that is at least ``rough``."""
    ten = 10.0 ** math.floor(math.log10(rough))
    return next(m * ten for m in _ROUND if m * ten >= rough * (1 - 1e-9))


def _decades(low: float, high: float, most: int) -> list[float]:
    """Powers of ten within low..high, thinned to ``most``; 2 and 5 as well if they are few."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    inside = [10.0**p for p in powers if low <= 10.0**p <= high]
    if len(inside) < 3:
        between = [m * 10.0**p for p in powers for m in (1, 2, 5)]
        return [v for v in between if low <= v <= high]
    return inside[:: -(-len(inside) // most)]


def _n(value: float) -> str:
    """A coordinate with two decimals at most."""
    return f"{round(value, 2) + 0.0:.2f}".rstrip("0").rstrip(".")  # + 0.0: no minus zero
