"""The advice as one HTML page: the same numbers as the terminal's, with pictures."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np

from segpipe.advise.assumptions import ALGORITHMS, NEIGHBOUR, Clustering, Measured, explained
from segpipe.fit.select import Decision
from segpipe.report.figures import ACCENT, ALARM, Picture, colours, k_choice, pca_map
from segpipe.report.render import number, percent
from segpipe.report.svg import Drawing, frame, spanning
from segpipe.stages.evidence import candidates, compared
from segpipe.values import Block, Floats, Ints

MARKS = {True: "✓", False: "✗", None: "·"}
_STYLE = """
:root { --ink:#1b1e23; --soft:#5b626d; --line:#d9dde3; --page:#f5f6f8; --card:#fff; }
@media (prefers-color-scheme: dark) {
  :root { --ink:#e8eaed; --soft:#a3abb6; --line:#3a404a; --page:#14171b; --card:#1d2127; } }
body { margin:0 auto; max-width:1080px; padding:20px; background:var(--page); color:var(--ink);
  font:15px/1.5 system-ui, "Segoe UI", Roboto, sans-serif }
section { background:var(--card); border:1px solid var(--line); border-radius:10px;
  padding:16px 20px; margin:16px 0 }
table { border-collapse:collapse; width:100%; font-size:14px }
th, td { text-align:left; padding:6px 10px 6px 0; border-bottom:1px solid var(--line);
  vertical-align:top }
td.m { text-align:center; white-space:nowrap } .no { color:#d55e00; font-weight:bold }
.yes { color:#009e73 } .soft, figcaption { color:var(--soft); font-size:13px }
.why { font-size:16px; border-left:4px solid #0072b2; padding-left:12px }
.pair { display:grid; grid-template-columns:repeat(auto-fit,minmax(400px,1fr)); gap:16px }
figure { margin:8px 0 } svg { width:100%; height:auto }
pre { overflow-x:auto; font:13px ui-monospace, Menlo, Consolas, monospace }
"""


def page(
    title: str, decision: Decision, measured: Measured, label: Ints, notes: Sequence[str], yaml: str
) -> str:
    """HTML without scripts or anything from elsewhere; ``label``: of the compared rows, chosen."""
    rows = "".join(
        f"<tr><th scope=row>{escape(a.name)}</th><td>{escape(a.found)}</td>"
        + "".join(_mark(fit) for fit in a.fits)
        + "</tr>"
        for a in measured.assumptions
    )
    heads = "".join(f"<th scope=col>{name}</th>" for name in ALGORITHMS)
    maps = [("the choice", label, decision.kind), *_compared(measured)]
    pictures = "".join(
        _figure(_map(measured.x, labels), f"{escape(what)}: {escape(how)}")
        for what, labels, how in maps
    )
    bend = knee(measured.distances, _eps(measured))
    curves = [(bend, "DBSCAN takes its radius where the curve bends")]
    tried = [c for c in candidates(decision.evidence) if c.silhouette is not None]
    if len(tried) > 1:
        curves.append((k_choice(tried), "K-Means at every K: where is the silhouette highest?"))
    said = "".join(f"<p>{escape(text)}</p>" for text in explained(measured, decision))
    noted = "".join(f"<li>{escape(text)}</li>" for text in notes)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Advice for {escape(title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>Advice for {escape(title)}</h1><section><h2>{escape(headline(decision))}</h2>"
        f'<p class="why">{escape(reason(decision))}</p>'
        f"{f'<ul class=soft>{noted}</ul>' if noted else ''}</section>"
        "<section><h2>Assumption by assumption</h2>"
        f"<table><thead><tr><th></th><th scope=col>On these data</th>{heads}</tr></thead>"
        f"<tbody>{rows}</tbody></table><p class=soft>✓ holds or is not needed, ✗ is broken, "
        "· says nothing of it.</p></section>"
        f"<section><h2>K-Means or DBSCAN?</h2>{said}<div class=pair>{pictures}</div>"
        + "".join(_figure(picture, escape(text)) for picture, text in curves)
        + f"</section>{_others(decision)}"
        f"<section><h2>The config to run</h2><pre>{escape(yaml)}</pre></section>"
        "</body></html>\n"
    )


def second(decision: Decision) -> str:
    """The runner-up and why it lost, as a sentence; empty where nothing was compared."""
    rows = compared(decision.evidence)[1:2]
    return "".join(f"Next came {c.name}, {_parts(c.k)}: {c.why_not}." for c in rows)


def _parts(k: int) -> str:
    return f"{k} segment" + ("" if k == 1 else "s")


def _others(decision: Decision) -> str:
    """The table of the kinds of model that were compared."""
    rows = "".join(
        f"<tr><th scope=row>{escape(c.name)}</th><td>{c.k}</td><td>{percent(c.noise)}</td>"
        f"<td>{number(c.silhouette)}</td><td>{number(c.validity)}</td>"
        f"<td>{escape(c.why_not or 'chosen')}</td></tr>"
        for c in compared(decision.evidence)
    )
    heads = "".join(
        f"<th scope=col>{name}</th>"
        for name in ("K", "Noise", "Silhouette", "Density validity", "Why not")
    )
    return (
        "<section><h2>Every kind of model on the same few rows</h2><table><thead><tr><th></th>"
        f"{heads}</tr></thead><tbody>{rows}</tbody></table></section>"
        if rows
        else ""
    )


def headline(decision: Decision) -> str:
    """The choice in a few words."""
    if not decision.natural:
        return "No natural segments"
    names = {"kmeans": "K-Means", "gmm": "a Gaussian mixture", "bisecting": "bisecting K-Means",
             "agglomerative": "agglomerative clustering", "hdbscan": "HDBSCAN",
             "dbscan": "DBSCAN", "merged": "small clusters joined"}  # fmt: skip
    return f"Take {names.get(decision.kind, decision.kind)}: {decision.k} segments"


def reason(decision: Decision) -> str:
    """Why, as a sentence of its own beside ``headline``."""
    why = decision.why.removeprefix("no natural segments: ")
    return why[:1].upper() + why[1:] + "."


def knee(distances: Floats, eps: float | None) -> Picture:
    """The rising k-distance curve and the radius that DBSCAN takes from it."""
    drawing = Drawing(640.0, 215)
    share = np.linspace(0.0, 1.0, len(distances))
    kept = np.unique(np.linspace(0, len(distances) - 1, 400).astype(int))
    high = float(np.quantile(distances, 0.995)) or 1.0
    if eps is not None:
        high = max(high, 1.2 * eps)
    x, y = spanning(100 * share, 52, 632), spanning(np.array([0.0, high]), 180, 8, low=0.0)
    frame(drawing, x, y, x_title="rows, from the densest on (%)",
          y_title=f"distance to neighbour {NEIGHBOUR}")  # fmt: skip
    inside = kept[distances[kept] <= high]
    drawing.lines(np.column_stack([x(100 * share[inside]), y(distances[inside])]), ACCENT)
    said = ""
    if eps is not None:
        at = float(y(eps))
        drawing.line((x.start, at), (x.stop, at), ALARM, width=1.2, dash="4 3")
        drawing.text((x.start + 6, at - 8), f"eps = {eps:.3g}")
        said = f" DBSCAN's radius is {eps:.3g}."
    return Picture(
        drawing.svg(), f"Distance of {len(distances):,} rows to neighbour {NEIGHBOUR}.{said}"
    )


def _eps(measured: Measured) -> float | None:
    return measured.density[0].settings.get("eps")


def _compared(measured: Measured) -> list[tuple[str, Ints, str]]:
    def told(c: Clustering) -> str:
        return f"{c.k} clusters" + (f", {c.noise:.0%} noise (grey)" if c.noise else "")

    return [(c.name, c.label, told(c)) for c in (measured.kmeans, *measured.density)]


def _map(x: Block, label: Ints) -> Picture:
    held = sorted(set(label.tolist()))
    names = {s: "noise" if s < 0 else f"segment {s}" for s in held}
    return pca_map(x, label, names, colours(held))


def _mark(fit: bool | None) -> str:
    kind = {True: "m yes", False: "m no", None: "m soft"}[fit]
    said = {True: "holds", False: "broken", None: "says nothing"}[fit]
    return f'<td class="{kind}" title="{said}">{MARKS[fit]}</td>'


def _figure(picture: Picture, caption: str) -> str:
    head, body = picture.svg.split(">", 1)
    label = f' role="img" aria-label="{escape(picture.alt)}">'
    return f"<figure>{head}{label}{body}<figcaption>{caption}</figcaption></figure>"
