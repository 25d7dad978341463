"""``bench.py workers``: the same job on one local worker process and on two, in turn.

Dask: LocalCluster, a thread each. Spark: local-cluster, a core each. Timed as in ``pipeline``: the
run summary's seconds without the start of session or cluster.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import data, measure, record, segpipe_run

COLUMNS = ("engine", "name", "status", "repeats", "seconds_median", "seconds_min", "seconds_max",
           "times_base", "peak_mb_max")  # fmt: skip
EXECUTOR_MB = 2048


def bench(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    """Measure, print and write; ``times_base`` of one worker is the gain by the second."""
    env = measure.environ(asked.keep_blas)
    place = data.blobs(asked.data, asked.rows, asked.d, asked.k)
    files = data.parquet_files(place)
    measure.warm(files)
    engines = ["dask", "spark"] if asked.engine == "all" else [asked.engine]
    rows: list[record.Row] = []
    for engine in engines:
        for repeat in range(-1, asked.repeats):  # the first, on one file, warms up
            for workers in (1, 2) if repeat % 2 else (2, 1):
                source = files[0] if repeat < 0 else place
                row = _once(engine, workers, source, asked, env)
                print(f"{engine} {workers}: {row.get('seconds')}", file=sys.stderr, flush=True)
                if repeat >= 0:
                    rows.append({"engine": engine, "repeat": repeat, "rows": asked.rows, **row})
    summary: list[record.Row] = []
    for engine in engines:
        mine = [row for row in rows if row["engine"] == engine]
        summary += record.summarise(mine, ("engine", "name", "rows"), {"name": name_of(2)})
    record.write(asked.out, "runs", rows)
    record.write(asked.out, "summary", summary)
    record.write_environment(asked.out, told)
    bars = [
        (f"segpipe {row['engine']}, {row['name']}",
         {m: row[f"seconds_{m}"] for m in ("median", "min", "max")},
         f"{row['times_base']:.3g}x two workers" if row.get("times_base") else "")
        for row in summary
        if row["repeats"]
    ]  # fmt: skip
    record.plot(asked.out / "workers.png", f"{asked.rows:,} rows, one worker, two", bars, "seconds")
    print(record.show(summary, COLUMNS))


def name_of(workers: int) -> str:
    """How a row is called."""
    return f"{workers} worker" + ("s" if workers > 1 else "")


def options(engine: str, workers: int) -> dict[str, Any]:
    """Engine settings for so many single-core processes."""
    if engine == "dask":
        return {"dask": {"options": {"n_workers": workers, "threads_per_worker": 1}}}
    # This Python and this checkout for executors, which do not inherit the driver's path.
    return {
        "spark": {
            "spark.master": f"local-cluster[{workers},1,{EXECUTOR_MB}]",
            "spark.executor.memory": f"{EXECUTOR_MB}m",
            "spark.executorEnv.PYTHONPATH": str(record.ROOT),
            "spark.pyspark.python": sys.executable,
            "spark.driver.host": "127.0.0.1",
            "spark.driver.bindAddress": "127.0.0.1",
        }
    }


def _once(
    engine: str, workers: int, source: Path, asked: argparse.Namespace, env: Mapping[str, str]
) -> record.Row:
    with tempfile.TemporaryDirectory(prefix="work-", dir=asked.data) as work:
        tree = segpipe_run.config(
            source, Path(work) / "labels", engine=engine, k=asked.k,
            options=options(engine, workers),
        )  # fmt: skip
        ran = segpipe_run.run(tree, Path(work) / "workers.yaml", env)
    row: record.Row = {"name": name_of(workers), "wall": ran.wall, "peak_mb": ran.peak_mb}
    if ran.code:
        return row | {"status": ran.complaint}
    row |= {"status": "ok", "seconds": segpipe_run.working(ran.told)}
    return row | {"stages": json.dumps(ran.told["seconds"])}
