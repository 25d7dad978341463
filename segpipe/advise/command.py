"""The command: look, measure, say, and leave a page and a config behind."""

from __future__ import annotations

import csv
import json
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from segpipe.advise.assumptions import ALGORITHMS, Measured, as_json, explained, measure
from segpipe.advise.page import MARKS, headline, page, reason, second
from segpipe.advise.table import Seen, look_at
from segpipe.config import Fit
from segpipe.errors import ConfigError, FlagError
from segpipe.fit.select import Decision
from segpipe.kernels.cells import numbers
from segpipe.models.weighted import moments
from segpipe.stages import learn

WIDTH = 120
"""Columns where no terminal says how wide it is."""
NAMEABLE = ("kmeans", "gmm", "bisecting", "agglomerative", "hdbscan", "dbscan")


def names_in(text: str) -> list[str]:
    """Column names out of ``a, "b,c"``, read as a csv header is.

    Raises
    ------
    FlagError
        There is none, or an empty one.
    """
    names = [name.strip() for name in next(csv.reader([text], skipinitialspace=True), [])]
    if not names or not all(names):
        raise FlagError(f"--columns {text!r} names nothing.", "Write it as a,b or '\"a,b\",c'.")
    return names


def advise(
    uri: str, columns: Sequence[str] | None, out: Path, as_text: bool = True
) -> dict[str, Any]:
    """Advise on a table; writes ``advice.html``, ``advice.json`` and ``config.yaml`` into ``out``.

    ``columns``: the features, None for those that a run would take. ``as_text``: print it for
    people; otherwise one JSON object. Returns that object.
    """
    found = look_at(uri, columns)
    seen = found.seen
    decision = learn.choose(seen, Fit(), 0)
    measured = measure(seen, decision, _spreads(found), 0)
    tree = config_of(found, decision)
    text = _written(tree, decision)
    document = as_json(measured, decision) | {
        "rows": found.rows,
        "features": list(seen.scaler.names),
        "notes": list(found.notes),
        "config": tree,
    }
    title = tree["job"]
    label = decision.model.label(measured.x).segment
    html = page(title, decision, measured, label, found.notes, text)
    kept = {"advice.html": html, "advice.json": json.dumps(document, indent=1), "config.yaml": text}
    _keep(out, kept)
    if as_text:
        _say(found, decision, measured, text, out)
    else:
        print(json.dumps(document, allow_nan=False))
    return document


def config_of(found: Seen, decision: Decision) -> dict[str, Any]:
    """The config that fits what was chosen; auto where no config names it."""
    tree = {name: section for name, section in found.tree.items() if name != "seed"}
    tree["features"] = {k: v for k, v in tree["features"].items() if v is not None}
    if not tree["features"]:
        tree.pop("features")
    fit: dict[str, Any] = {"model": "auto", "k": "auto"}
    if decision.natural and decision.kind in NAMEABLE:
        fit["model"] = decision.kind
        if decision.kind not in ("hdbscan", "dbscan"):
            fit["k"] = decision.k
    target = tree.pop("target")
    return {**tree, "fit": fit, "target": target}


def _written(tree: dict[str, Any], decision: Decision) -> str:
    said = textwrap.wrap(f"{headline(decision)}. {reason(decision)}", 96)
    head = "".join(f"# {line}\n" for line in said)
    return head + yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


def _spreads(found: Seen) -> dict[str, float]:
    """Standard deviation of the numeric features in their own units, of those that vary."""
    sample, spread = found.seen.description.sample, {}
    for item in found.seen.scaler.inputs:
        if item.kind == "number":
            values = numbers(sample.batch.column(item.name))
            known = np.isfinite(values)
            if known.any():
                spread[item.name] = moments(values[known], sample.weight[known]).std
    return {name: value for name, value in spread.items() if value > 0}


def _keep(out: Path, files: dict[str, str]) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (out / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise ConfigError(
            f"the advice cannot be written to {out}: {error.strerror}.", "Give another --out."
        ) from None


def _say(found: Seen, decision: Decision, measured: Measured, text: str, out: Path) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=WIDTH)
    console.print(f"[bold]{_plain(headline(decision))}[/bold]")
    console.print(_plain(reason(decision)))
    features = found.seen.scaler.names
    more = "" if len(features) <= 12 else f" and {len(features) - 12} more"
    console.print(
        _plain(f"{found.rows:,} rows, {len(features)} features: {', '.join(features[:12])}{more}"),
        style="dim",
    )
    for note in found.notes:
        console.print(_plain(f"note: {note}"), style="dim")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("assumption", no_wrap=True)
    table.add_column("on these data")
    for name in ALGORITHMS:
        table.add_column(name, justify="center")
    paint = {True: "green", False: "bold red", None: "dim"}
    for a in measured.assumptions:
        marks = [f"[{paint[fit]}]{MARKS[fit]}[/]" for fit in a.fits]
        table.add_row(a.name, _plain(a.found), *marks)
    console.print(table)
    console.print("[bold]K-Means or DBSCAN?[/bold]")
    for sentence in explained(measured, decision):
        console.print(_plain(sentence))
    if second(decision):
        console.print(_plain(second(decision)))
    console.print("\n[bold]The config to run[/bold]")
    console.out(text, highlight=False)
    console.print(_plain(f"page: {out / 'advice.html'}"))
    console.print(_plain(f"run:  segpipe run {out / 'config.yaml'}"))


def _plain(text: str) -> str:
    """Text without rich's own mark-up."""
    from rich.markup import escape

    return escape(text)
