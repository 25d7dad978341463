"""Results as CSV, a plot, and the environment that they hold for."""

from __future__ import annotations

import csv
import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

Row = dict[str, Any]
ROOT = Path(__file__).parents[2]
PACKAGES = (
    "segpipe", "numpy", "numba", "scikit-learn", "scipy", "polars", "pyarrow", "pyspark", "dask",
    "distributed", "dask-ml", "pandas", "faiss-cpu", "hdbscan", "deltalake", "threadpoolctl",
)  # fmt: skip
WIDEST = 60
"""Characters of a cell on a terminal; the CSV holds everything."""
VARIABLES = ("OPENBLAS_", "OMP_", "MKL_", "NUMBA_", "POLARS_", "JAVA_HOME")


def environment(settings: Mapping[str, Any]) -> dict[str, Any]:
    """What a reader needs to judge the figures; taken before anything is measured."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "from this checkout" if name == "segpipe" else "not installed"
    return {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "settings": dict(settings),
        "cpu": _after("/proc/cpuinfo", "model name"),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _after("/proc/meminfo", "MemTotal"),
        "load_average": os.getloadavg(),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "java": _first_line(["java", "-version"]),
        "system_blas": _system_blas(),
        "commit": _first_line(["git", "-C", str(ROOT), "describe", "--always", "--dirty"]),
        "packages": versions,
        "variables": {k: v for k, v in sorted(os.environ.items()) if k.startswith(VARIABLES)},
    }


def _after(path: str, key: str) -> str:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return "unknown"
    return next((line.partition(":")[2].strip() for line in lines if key in line), "unknown")


def _first_line(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "not installed"
    lines = (done.stdout + done.stderr).strip().splitlines()
    return lines[0] if lines else "unknown"


def _system_blas() -> str:
    """What MLlib's JNI finds; without one it falls back to Java."""
    try:
        done = subprocess.run(["ldconfig", "-p"], capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    found = [line.split("=>")[-1].strip() for line in done.stdout.splitlines() if "blas" in line]
    return ", ".join(os.path.realpath(path) for path in found) or "none (Debian: libopenblas0)"


def spread(values: Sequence[float]) -> Row:
    """Median, smallest and largest of some repeats."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def summarise(rows: Sequence[Row], by: Sequence[str], base: Row | None = None) -> list[Row]:
    """One row per group in order of appearance: how its repeats went.

    ``times_base`` is the median over that of the group that agrees with ``base``. Other numbers
    are medians, except the worst memory and the worst inertia ratio. A group without a single
    good repeat keeps its row and says why.
    """
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row.get(name) for name in by), []).append(row)
    result = []
    for key, members in groups.items():
        good = [m for m in members if m["status"] == "ok"]
        bad = [m["status"] for m in members if m["status"] != "ok"]
        row: Row = dict(zip(by, key, strict=True))
        row |= {"repeats": len(good), "status": bad[0] if bad else "ok"}
        if good:
            row |= {f"seconds_{k}": v for k, v in spread([m["seconds"] for m in good]).items()}
            for name in ("wall", "session", "rows_per_s", "log_likelihood", "step_seconds"):
                values = [m[name] for m in good if m.get(name) is not None]
                row[name] = statistics.median(values) if values else None
            for name in ("peak_mb", "inertia_ratio"):
                values = [m[name] for m in good if m.get(name) is not None]
                row[f"{name}_max"] = max(values) if values else None
            values = [m["inertia_ratio"] for m in good if m.get("inertia_ratio") is not None]
            row["inertia_ratio"] = statistics.median(values) if values else None
        result.append(row)
    if base is not None:
        reference = next((r for r in result if base.items() <= r.items()), {})
        level = reference.get("seconds_median")
        for row in result:
            mine = row.get("seconds_median")
            row["times_base"] = mine / level if mine is not None and level else None
    return result


def write(folder: Path, name: str, rows: Sequence[Row]) -> Path:
    """``rows`` as <folder>/<name>.csv; a column for every key that any row has."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = list(dict.fromkeys(key for row in rows for key in row))
    path = folder / f"{name}.csv"
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, columns)
        writer.writeheader()
        writer.writerows(rows)
    return path


def write_environment(folder: Path, told: Mapping[str, Any]) -> None:
    """<folder>/environment.json, rewritten when an opponent told more of itself."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "environment.json").write_text(json.dumps(told, indent=1, default=str) + "\n")


def show(rows: Sequence[Row], columns: Sequence[str]) -> str:
    """A table for a terminal."""
    cells = [list(columns)] + [[_cell(row.get(c)) for c in columns] for row in rows]
    widths = [max(len(line[i]) for line in cells) for i in range(len(columns))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(line, widths, strict=True)) for line in cells]
    return "\n".join(line.rstrip() for line in lines)


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    text = str(value)
    return text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…"


def plot(path: Path, title: str, bars: Sequence[tuple[str, Row, str]], unit: str) -> None:
    """Horizontal bars of medians with their range; (label, median/min/max, note) each."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.42 * len(bars)), layout="constrained")
    for at, (label, value, note) in enumerate(bars):
        ours = label.startswith("segpipe")
        error = [[value["median"] - value["min"]], [value["max"] - value["median"]]]
        axes.barh(at, value["median"], xerr=error, color="#1f6f8b" if ours else "#b9c4cb")
        axes.text(value["max"], at, f"  {_cell(float(value['median']))}  {note}", va="center")
    axes.set_yticks(range(len(bars)), [label for label, _, _ in bars])
    axes.invert_yaxis()
    axes.set_xlim(0, 1.75 * max((v["max"] for _, v, _ in bars), default=1.0))
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
