"""``segpipe demo``: a scenario on data made here or shipped with an installed package."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from segpipe.errors import ConfigError

ROWS = {"customers": 50_000, "network": 100_000}
SHOWN = 5


def demo(scenario: str, engine: str | None, out: Path) -> None:
    """Make the data, run the scenario into ``out``, print what a reader wants to know."""
    from segpipe.pipeline import RunFailed, execute

    if scenario not in _TREES:
        raise ConfigError(
            f"demo {scenario!r} is unknown.", f"Take one of {', '.join(sorted(_TREES))}."
        )
    tree = _TREES[scenario](out)
    try:
        run = execute(mode="run", config=tree, engine=engine)
    except RunFailed as failed:
        # The summary has told it; the command ends with the error's own code.
        raise (failed.__cause__ or failed) from None
    show(run.summary, run.labels)


def _customers(out: Path) -> dict[str, Any]:
    from segpipe.datasets import make

    data = out / "data" / "customers"
    if not data.exists():  # a demo that runs again keeps its data
        make("customers", ROWS["customers"], str(data), 0)
    return {
        "job": "demo customers",
        "source": {"uri": str(data)},
        "features": {"set": "rfm"},
        "fit": {"k": 5},
        "target": {"uri": str(out / "customers")},
    }


def _network(out: Path) -> dict[str, Any]:
    from segpipe.datasets import make

    data = out / "data" / "connections"
    if not data.exists():  # a demo that runs again keeps its data
        make("connections", ROWS["network"], str(data), 0)
    return {
        "job": "demo network (synthetic connections)",
        "source": {"uri": str(data)},
        "features": {"set": "connections"},
        "target": {"uri": str(out / "network")},
    }


def _palette(out: Path) -> dict[str, Any]:
    spec = importlib.util.find_spec("sklearn")
    if spec is None or spec.origin is None:
        raise ConfigError("scikit-learn is not installed.", "pip install segpipe")
    image = Path(spec.origin).parent / "datasets" / "images" / "china.jpg"
    return {
        "job": "demo palette",
        "source": {"uri": str(image), "format": "image"},
        "features": {"set": "pixels"},
        "fit": {"model": "kmeans", "k": 8},
        "outliers": {"method": "none"},
        "target": {"uri": str(out / "palette"), "format": "parquet"},
    }


_TREES = {"customers": _customers, "network": _network, "palette": _palette}


def show(summary: Mapping[str, Any], labels: Any) -> None:
    """Segments, the most unusual rows, and where the report lies."""
    model = summary["model"]
    print(f"\n{model['kind']}, k = {model['k']}: {model['why']}")
    width = max((len(s["name"]) for s in summary["segments"]), default=0)
    for s in summary["segments"]:
        print(f"  {s['id']:>3}  {s['name']:<{width}}  {s['rows']:>9,} rows  {s['share']:6.1%}")
    if summary["outliers"]["method"] not in (None, "none"):
        print(f"\n{summary['outliers']['flagged']:,} outliers by {summary['outliers']['method']};"
              " the most unusual:")  # fmt: skip
        for row in top_outliers(labels):
            print(f"  {row}")
    for kind, place in (summary.get("palette") or {}).items():
        print(f"\n{kind:<7} {place}")
    print(f"\nlabels  {summary['labels']['uri']} ({summary['labels']['format']})")
    print(f"report  {summary['report'] or 'none: pip install segpipe[report]'}")


def top_outliers(labels: Any) -> list[str]:
    """The rows of highest score, one line each: what they are and why."""
    import pyarrow as pa
    import pyarrow.compute as pc

    scores = labels.to_table(columns=["outlier_score"])["outlier_score"].combine_chunks()
    rows = min(SHOWN, len(scores))
    best = pc.select_k_unstable(pa.table({"s": scores}), k=rows, sort_keys=[("s", "descending")])
    lines = []
    for row in labels.take(best).to_pylist():
        why = "; ".join(
            f"{r['feature']} {r['value']} (usual {r['usual']})"
            for r in row["outlier_reasons"] or ()
        )
        who = ", ".join(
            f"{name} {row[name]}"
            for name in ("customer_id", "ts", "src", "dst", "dst_port", "service")
            if row.get(name) is not None
        )
        lines.append(f"{row['outlier_score']:7.2f}  {who or row['segment']}: {why}")
    return lines
