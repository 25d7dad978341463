"""``bench.py pipeline``: Parquet in, labelled Parquet out, ours and theirs in turn.

What is timed. On local: the whole process, from its start to its end, ours and theirs. On Dask and
Spark: everything after session or cluster is up; theirs is timed inside the process from there to
the last file, ours is the run summary's ``seconds`` without the stage ``engine`` (so our
interpreter's start, imports, report and commit count, theirs do not). ``wall`` is the whole process
for everybody.

``step_seconds`` is what a Lloyd or EM step on all rows cost: for a library its fit over its steps
(start included, caching not); for us the whole stage ``polish``, one pass or more that reads,
scales, steps and counts, so never less than a step.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks import data, measure, quality, record, segpipe_run

ENGINES = ("local", "dask", "spark")
PROGRAMS = Path(__file__).parents[1] / "bench_opponents"
COPIES = {"local": "local_copy", "dask": "dask_copy", "spark": "spark_copy"}
OPPONENTS: dict[str, dict[str, str]] = {
    "copy": COPIES,  # with the engine's own default codec
    "copy-plain": COPIES,  # uncompressed, as our label table stores floats: the faster copy
    "sklearn": {"local": "local_sklearn"},
    "minibatch": {"local": "local_minibatch"},
    "faiss": {"local": "local_faiss"},
    "faiss-all": {"local": "local_faiss_all"},
    "dask-ml": {"dask": "dask_ml_tuned"},
    "dask-ml-default": {"dask": "dask_ml_default"},
    "mllib": {"spark": "spark_mllib"},
}
"""Name -> engine -> program."""
MIXTURES = ("copy", "copy-plain", "sklearn", "mllib")
"""The other libraries have no Gaussian mixture."""
COLUMNS = ("engine", "name", "status", "repeats", "seconds_median", "seconds_min", "seconds_max",
           "times_base", "rows_per_s", "peak_mb_max", "inertia_ratio", "inertia_ratio_max",
           "log_likelihood", "step_seconds", "wall")  # fmt: skip


@dataclass(frozen=True)
class Side:
    """Somebody who labels the table: ``work(seed, source, folder)``, which does not exist yet."""

    engine: str
    name: str
    work: Callable[[int, Path, Path], record.Row]


def bench(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    """Measure, print and write everything."""
    engines = list(ENGINES) if asked.engine == "all" else [asked.engine]
    opponents = chosen(asked.opponents, engines, asked.model)
    env = measure.environ(asked.keep_blas)
    place = data.blobs(asked.data, asked.rows, asked.d, asked.k, asked.data_seed)
    files = data.parquet_files(place)
    features = [f"f{j}" for j in range(asked.d)]
    runs = asked.reference_runs if asked.model == "kmeans" else 0
    yard = quality.yardstick(place, features, asked.k, runs, env)
    sides = _sides(asked, engines, opponents, env)
    told |= {"table": str(place), "files": len(files), "best_inertia": yard.best}
    measure.warm(files)
    rows: list[record.Row] = []
    with tempfile.TemporaryDirectory(prefix="work-", dir=asked.data) as work:
        if asked.warm_up:  # libraries into the page cache, kernels into the compilers' caches
            for side in sides:
                _turn(side, 0, files[0], Path(work), None, features)
        for repeat in range(asked.repeats):
            # Everybody is once after everybody else: what one leaves behind hits all alike.
            at = repeat % len(sides)
            for side in sides[at:] + sides[:at]:
                row = _turn(side, repeat, place, Path(work), yard, features)
                row |= {"rows": asked.rows, "d": asked.d, "k": asked.k}
                if row["status"] == "ok":
                    row["rows_per_s"] = asked.rows / row["seconds"]
                rows.append(row)
                said = {k: row.get(k) for k in ("status", "seconds", "peak_mb", "inertia_ratio")}
                print(f"{side.engine} {side.name} #{repeat}: {said}", file=sys.stderr, flush=True)
                record.write(asked.out, "runs", rows)
    _report(asked, engines, rows, told)


def chosen(asked: str | None, engines: list[str], model: str) -> list[str]:
    """Opponents by name; one that cannot take part is refused, not left out."""
    fitting = [
        name
        for name, where in OPPONENTS.items()
        if set(where) & set(engines) and (model == "kmeans" or name in MIXTURES)
    ]
    if asked is None:
        return fitting
    names = [name for name in asked.split(",") if name]
    for name in names:
        if name not in OPPONENTS:
            raise SystemExit(f"bench: no opponent {name!r}; there are {', '.join(OPPONENTS)}")
        if name not in fitting:
            raise SystemExit(
                f"bench: {name} takes no part in {model} on {', '.join(engines)}; "
                f"it runs on {', '.join(OPPONENTS[name])}"
            )
    return names


def _sides(
    asked: argparse.Namespace, engines: list[str], opponents: list[str], env: Mapping[str, str]
) -> list[Side]:
    found = []
    for engine in engines:
        for outliers in asked.outliers.split(","):
            found.append(_ours(asked, engine, outliers, asked.k, env))
            if asked.k_auto:
                found.append(_ours(asked, engine, outliers, "auto", env))
        found += [
            _theirs(asked, engine, name, OPPONENTS[name][engine], env)
            for name in opponents
            if engine in OPPONENTS[name]
        ]
    return found


def ours_name(outliers: str, k: int | str, memory: str) -> str:
    """How a variant of ours is called in the tables."""
    parts = ["segpipe", "labels only" if outliers == "none" else f"with {outliers}"]
    parts += ["k=auto"] if k == "auto" else []
    parts += [memory] if memory != "auto" else []
    return ", ".join(parts)


def _ours(
    asked: argparse.Namespace, engine: str, outliers: str, k: int | str, env: Mapping[str, str]
) -> Side:
    def work(seed: int, source: Path, folder: Path) -> record.Row:
        tree = segpipe_run.config(
            source, folder / "labels", engine=engine, k=k, model=asked.model, outliers=outliers,
            memory=asked.memory, seed=seed,
        )  # fmt: skip
        ran = segpipe_run.run(tree, folder / "bench.yaml", env)
        if ran.code:
            return {"status": ran.complaint, "wall": ran.wall}
        told = ran.told
        row = {
            "status": "ok",
            "seconds": ran.wall if engine == "local" else segpipe_run.working(told),
            "session": told["seconds"].get("engine"),
            "k_found": told["model"]["k"],
            "stages": json.dumps(told["seconds"]),
            "wall": ran.wall,
            "peak_mb": ran.peak_mb,
            "step_seconds": told["seconds"].get("polish"),
            "label": "segment_id",
        }
        if asked.model == "gmm":
            row["mixture"] = segpipe_run.mixture(told["model_uri"])
        return row

    return Side(engine, ours_name(outliers, k, asked.memory), work)


def _theirs(
    asked: argparse.Namespace, engine: str, name: str, program: str, env: Mapping[str, str]
) -> Side:
    def work(seed: int, source: Path, folder: Path) -> record.Row:
        task = {"data": str(source), "out": str(folder / "labels.parquet"), "k": asked.k}
        task |= {"seed": seed, "model": asked.model, "plain": name == "copy-plain"}
        ran = measure.run(
            [sys.executable, PROGRAMS / f"{program}.py", json.dumps(task)], env, asked.timeout
        )
        return told_by(ran, engine) | {"label": None if program in COPIES.values() else "segment"}

    return Side(engine, name, work)


def told_by(ran: measure.Ran, engine: str) -> record.Row:
    """A row from what an opponent's process did and said."""
    told = ran.told
    if "missing" in told:
        return {"status": f"not installed: {told['missing']}"}
    if ran.code or "seconds" not in told:
        return {"status": ran.complaint, "wall": ran.wall}
    known = {k: told[k] for k in ("session", "fit", "steps", "blas", "mixture") if k in told}
    if told.get("steps") and "fit" in told:
        known["step_seconds"] = told["fit"] / told["steps"]
    seconds = ran.wall if engine == "local" else told["seconds"]
    return {"status": "ok", "seconds": seconds, "wall": ran.wall, "peak_mb": ran.peak_mb, **known}


def _turn(
    side: Side,
    repeat: int,
    source: Path,
    work: Path,
    yard: quality.Yardstick | None,
    features: list[str],
) -> record.Row:
    """One run and the quality of what it wrote, which is then removed."""
    folder = work / "turn"
    folder.mkdir()
    try:
        row = side.work(repeat, source, folder)
        label, mixture = row.pop("label", None), row.pop("mixture", None)
        if row["status"] == "ok" and yard is not None:
            row |= _judged(folder, label, mixture, source, yard, features)
    finally:
        shutil.rmtree(folder)
    return {"engine": side.engine, "name": side.name, "repeat": repeat, **row}


def _judged(
    folder: Path,
    label: str | None,
    mixture: Mapping[str, Any] | None,
    source: Path,
    yard: quality.Yardstick,
    features: list[str],
) -> record.Row:
    """Rows, bytes and quality of the files below ``folder``."""
    written = quality.table_of(folder / "labels" if label == "segment_id" else folder)
    row: record.Row = {"bytes_out": sum(Path(f).stat().st_size for f in written.files)}
    rows = quality.table_of(source).count_rows()
    if written.count_rows() != rows:
        return {**row, "status": f"failed: wrote {written.count_rows():,} of {rows:,} rows"}
    if mixture is not None:
        model = quality.Mixture.of(mixture)
        row["log_likelihood"] = quality.mean_log_likelihood(
            quality.table_of(source), features, model
        )
    elif label is not None:
        seen = quality.inertia(written, label, features, yard.space)
        row |= {"inertia": seen.value, "labels": seen.labels}
        if yard.best is not None:
            row["inertia_ratio"] = seen.value / yard.best
    return row


def _report(
    asked: argparse.Namespace, engines: list[str], rows: list[record.Row], told: dict[str, Any]
) -> None:
    summary: list[record.Row] = []
    for engine in engines:
        mine = [row for row in rows if row["engine"] == engine]
        first = mine[0]["name"]
        copied = any(row["name"] == "copy" and row["status"] == "ok" for row in mine)
        # Multiples of the bare copy, or of our first variant where there is none.
        base = {"engine": engine, "name": "copy" if copied else first}
        summary += [
            row | {"base": base["name"]}
            for row in record.summarise(mine, ("engine", "name", "rows", "d", "k"), base)
        ]
    told["mllib_blas"] = sorted({row["blas"] for row in rows if row.get("blas")})
    record.write(asked.out, "summary", summary)
    record.write_environment(asked.out, told)
    bars = [
        (f"{row['name']} ({row['engine']})", {m: row[f"seconds_{m}"] for m in _SPREAD}, _note(row))
        for row in summary
        if row["repeats"]
    ]
    record.plot(
        asked.out / "pipeline.png",
        f"{asked.rows:,} x {asked.d} float32, k = {asked.k}: Parquet to labelled Parquet",
        bars,
        f"seconds, median and range of {asked.repeats}",
    )
    print(record.show(summary, COLUMNS))


_SPREAD = ("median", "min", "max")


def _note(row: record.Row) -> str:
    parts = []
    if row.get("times_base"):
        parts.append(f"{row['times_base']:.3g}x {row['base']}")
    if row.get("inertia_ratio"):
        parts.append(f"inertia {row['inertia_ratio']:.4f}")
    if row.get("peak_mb_max"):
        parts.append(f"{row['peak_mb_max']:,.0f} MiB")
    return " · ".join(parts)
