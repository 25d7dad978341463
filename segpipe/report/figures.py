"""Pictures of a run as SVG text that goes straight into the page; the only user of matplotlib.

Drawn without pyplot (no display, no figure kept alive) and without dates or random ids, so the same
run gives the same bytes. Text stays text and takes the page's colour, so that pictures work in dark
mode and for screen readers.
"""

from __future__ import annotations

import functools
import importlib.util
import io
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ParamSpec

import numpy as np

from segpipe.errors import ConfigError
from segpipe.report.profile import SegmentProfile
from segpipe.values import Block, Floats, Ints

Args = ParamSpec("Args")

MAP_ROWS = 5_000
HEAT_FEATURES = 14
NOISE_COLOUR = "#8a8f98"
# Okabe & Ito 2008, then Tol's muted set: safe for colour-blind readers.
_COLOURS = (
    *("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#b3a400", "#7a5195"),
    *("#882255", "#44aa99", "#999933", "#aa4499", "#332288", "#117733", "#ddaa33", "#bb5566"),
)
_INK, _LINE = "#1b1e23", "#c9ced6"
_ACCENT, _ALARM = "#0072b2", "#d55e00"
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segpipe",
    "text.parse_math": False,  # a column "Income (k$) or (m$)" is no formula
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _LINE,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "axes.grid": True,
    "grid.color": _LINE,
    "grid.linewidth": 0.5,
    "xtick.color": _INK,
    "ytick.color": _INK,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "font.size": 9,
    "legend.frameon": False,
}


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


def need_matplotlib() -> None:
    """Raise ``ConfigError`` (78) where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise ConfigError(
            "the report was asked for, but matplotlib is not installed.",
            hint="pip install 'segpipe[report]'",
        )


def _styled(draw: Callable[Args, Picture]) -> Callable[Args, Picture]:
    """``draw`` under our style, which matplotlib reads when axes and texts are made, not saved."""

    @functools.wraps(draw)
    def styled(*args: Args.args, **named: Args.kwargs) -> Picture:
        need_matplotlib()
        from matplotlib import rc_context

        with rc_context(_STYLE):
            return draw(*args, **named)

    return styled


def colours(segments: Sequence[int], own: Mapping[int, str] | None = None) -> dict[int, str]:
    """A colour per segment id, the same in every picture; noise is grey, ``own`` goes first."""
    return {
        s: (own or {}).get(s) or (NOISE_COLOUR if s < 0 else _COLOURS[s % len(_COLOURS)])
        for s in segments
    }


@_styled
def k_choice(candidates: Sequence[Candidate], threshold: float = 0.6) -> Picture:
    """Silhouette (one standard error), inertia and stability of every K; the chosen one ringed.

    ``threshold`` is the mean Jaccard below which a K is refused as unstable.
    """
    panels = [
        ("silhouette", "Silhouette (higher is better)"),
        ("inertia", "Inertia (look for the elbow)"),
        ("stability", "Stability (Jaccard)"),
    ]
    # A curve needs two points; a single one is in the table.
    panels = [p for p in panels if sum(getattr(c, p[0]) is not None for c in candidates) > 1]
    figure = _figure(8.6, 2.7)
    kinds = list(dict.fromkeys(c.kind for c in candidates))
    for axis, (field, title) in zip(_row(figure, len(panels)), panels, strict=True):
        axis.set_title(title)
        axis.set_xlabel("K")
        for number, kind in enumerate(kinds):
            points = sorted(
                (c.k, getattr(c, field), c.silhouette_se or 0.0)
                for c in candidates
                if c.kind == kind and getattr(c, field) is not None
            )
            if not points:
                continue
            k, value, error = (np.array(v) for v in zip(*points, strict=True))
            bars = error if field == "silhouette" and error.any() else None
            axis.errorbar(k, value, yerr=bars, fmt="o-", color=_COLOURS[number], ms=3.5, lw=1.4,
                          elinewidth=1, capsize=2, label=kind)  # fmt: skip
        for c in candidates:
            if c.chosen and getattr(c, field) is not None:
                axis.plot(c.k, getattr(c, field), "o", ms=11, mfc="none", mec=_ALARM, mew=1.8)
        if field == "stability":
            axis.axhline(threshold, color=_ALARM, lw=1, ls="--")
            axis.set_ylim(0, 1.05)
        if field == "inertia":
            axis.set_ylim(bottom=0)
        axis.xaxis.get_major_locator().set_params(integer=True)
        if len(kinds) > 1 and field == panels[-1][0]:
            axis.legend(fontsize=8)
    chosen = ", ".join(f"{c.kind} with K = {c.k}" for c in candidates if c.chosen) or "none"
    tried = f"{min(c.k for c in candidates)} to {max(c.k for c in candidates)}"
    return Picture(_svg(figure), f"Quality of the models tried, K from {tried}; chosen: {chosen}.")


@_styled
def heat_map(profiles: Sequence[SegmentProfile], features: Sequence[str]) -> Picture:
    """Where a typical member of each segment stands among everybody, in percent (50 = usual)."""
    shown = list(features)[:HEAT_FEATURES]
    table = np.array(
        [[{f.name: f.position for f in p.features}[name] for name in shown] for p in profiles]
    )
    figure = _figure(min(9.6, 3.0 + 0.55 * len(shown)), 1.5 + 0.34 * len(profiles))
    axis = figure.add_subplot()
    axis.imshow(table * 100, cmap="RdBu_r", vmin=0, vmax=100, aspect="auto")
    axis.grid(False)
    axis.set_xticks(range(len(shown)), shown, rotation=35, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(len(profiles)), [f"{p.id}  {_cut(p.name, 34)}" for p in profiles])
    axis.spines[:].set_visible(False)
    axis.tick_params(length=0)
    for (i, j), value in np.ndenumerate(table):
        colour = "#ffffff" if abs(value - 0.5) > 0.3 else "#000000"
        axis.text(j, i, f"{value * 100:.0f}", ha="center", va="center", color=colour, fontsize=8.5)
    told = "; ".join(f"{p.name}: {_summary(p)}" for p in profiles[:8])
    return Picture(_svg(figure), f"Heat map of segment profiles in percentiles. {told}.")


@_styled
def pca_map(
    x: Block, segment: Ints, names: Mapping[int, str], colour: Mapping[int, str]
) -> Picture:
    """The first <= 5,000 sample rows on their two principal axes, coloured by segment.

    ``x`` is (features, rows), scaled; each axis points where its largest loading is positive.
    """
    segment = segment[:MAP_ROWS]
    xy, share = _principal(x[:, :MAP_ROWS].astype(np.float64))
    figure = _figure(7.2, 4.8)
    axis = figure.add_subplot()
    for s in sorted(set(segment.tolist()), key=lambda s: (s >= 0, s)):  # noise lies below
        rows = segment == s
        axis.scatter(xy[0, rows], xy[1, rows], s=7, c=colour[s], alpha=0.65, lw=0, rasterized=True,
                     label=_cut(f"{s}  {names[s]}", 40))  # fmt: skip
    badge = {"boxstyle": "circle,pad=.25", "fc": "#ffffff"}
    for s in sorted(set(segment.tolist())):
        if s >= 0:
            at = np.median(xy[:, segment == s], axis=1)
            axis.text(*at, str(s), ha="center", va="center", fontsize=10, fontweight="bold",
                      color="#000000", bbox=badge | {"ec": colour[s]})  # fmt: skip
    axis.set_xlabel(f"first principal axis ({share[0]:.0%} of the variance)")
    axis.set_ylabel(f"second principal axis ({share[1]:.0%})")
    held = f"two axes that hold {share.sum():.0%} of the variance"
    alt = f"Map of {len(segment):,} sampled rows on {held}."
    return Picture(_svg(figure), alt)


@_styled
def score_histogram(edges: Floats, counts: Floats, threshold: float | None) -> Picture:
    """Rows per outlier score on a log scale; the flagged part in the colour of alarm."""
    edges, counts = _rebinned(np.asarray(edges, float), np.asarray(counts, float), 90)
    figure = _figure(7.2, 2.6)
    axis = figure.add_subplot()
    flagged = edges[:-1] >= threshold if threshold is not None else np.zeros(len(counts), bool)
    width = np.diff(edges)
    for mask, colour in ((~flagged, _ACCENT), (flagged, _ALARM)):
        if mask.any():
            axis.bar(edges[:-1][mask], counts[mask], width[mask], align="edge", color=colour)
    if threshold is not None:
        axis.axvline(threshold, color=_ALARM, lw=1.2, ls="--")
        axis.annotate(f"threshold {threshold:.3g}", (threshold, 0.97), (4, 0), ha="left", va="top",
                      xycoords=("data", "axes fraction"), textcoords="offset points")  # fmt: skip
    axis.set_yscale("log")
    axis.set_ylim(bottom=0.8)
    axis.yaxis.set_major_formatter("{x:,.0f}")  # the default writes powers in TeX
    axis.set_xlabel("outlier score (higher is more unusual)")
    axis.set_ylabel("rows (log scale)")
    cut = "" if threshold is None else f"; rows from {threshold:.3g} on are flagged"
    return Picture(
        _svg(figure), f"Histogram of the outlier scores of {counts.sum():,.0f} rows{cut}."
    )


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


def _row(figure: Any, panels: int) -> list[Any]:
    return [figure.add_subplot(1, panels, i + 1) for i in range(panels)]


def _svg(figure: Any) -> str:
    """The figure as an inline <svg>: no prologue, no date, page fonts and page colours."""
    out = io.StringIO()
    figure.savefig(out, format="svg", transparent=True, metadata={"Date": None})
    svg = out.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    # matplotlib's only style rule is meant for its own file, but would reach the whole page.
    svg = re.sub(r"<style[^>]*>.*?</style>", "", svg, flags=re.S)
    svg = re.sub(r"(font: [^;\"]*?px) [^;\"]*", r"\1 system-ui, sans-serif", svg)
    return svg.replace(_INK, "currentColor").replace(_LINE, "var(--line)").strip()


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


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
