"""``bench.py rfm``: transactions to segmented, scored, published customers against the group-by
alone by hand in Polars. Whole processes, from start to end, in turn."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import polars as pl

from benchmarks import data, measure, pipeline, record, segpipe_run

COLUMNS = ("name", "status", "repeats", "seconds_median", "seconds_min", "seconds_max",
           "times_base", "rows_per_s", "peak_mb_max")  # fmt: skip
OURS, THEIRS = "segpipe rfm", "polars by hand"
KEY = "customer_id"


def bench(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    """Measure, compare every feature, print and write."""
    env = measure.environ(asked.keep_blas)
    place = data.transactions(asked.data, asked.rows)
    measure.warm(data.parquet_files(place))
    rows: list[record.Row] = []
    for repeat in range(asked.repeats + 1):  # the first round warms up, and is compared
        with tempfile.TemporaryDirectory(prefix="work-", dir=asked.data) as work:
            turn = [_ours(place, Path(work), env), _theirs(place, Path(work), env)]
            if repeat == 0:
                good = all(row["status"] == "ok" for row in turn)
                told["differences"] = differences(Path(work)) if good else None
                continue
        for row in turn:
            row |= {"repeat": repeat - 1, "rows": asked.rows}
            if row["status"] == "ok":
                row["rows_per_s"] = asked.rows / row["seconds"]
            print(f"{row['name']} #{repeat - 1}: {row.get('seconds')}", file=sys.stderr, flush=True)
        rows += turn
        record.write(asked.out, "runs", rows)
    summary = record.summarise(rows, ("name", "rows"), {"name": THEIRS})
    record.write(asked.out, "summary", summary)
    record.write_environment(asked.out, told)
    bars = [
        (row["name"], {m: row[f"seconds_{m}"] for m in ("median", "min", "max")}, "")
        for row in summary
        if row["repeats"]
    ]
    record.plot(asked.out / "rfm.png", f"{asked.rows:,} transactions to customers", bars, "seconds")
    print(record.show(summary, COLUMNS))
    print(f"largest relative difference of a feature: {told['differences']}")


def _ours(place: Path, work: Path, env: dict[str, str]) -> record.Row:
    tree = {
        "source": {"uri": str(place)},
        "features": {"set": "rfm"},
        "fit": {"k": 5},  # as conf/customers.yaml
        "target": {"uri": str(work / "labels"), "format": "parquet"},
    }
    ran = segpipe_run.run(tree, work / "rfm.yaml", env)
    row: record.Row = {"name": OURS, "status": "ok", "seconds": ran.wall, "peak_mb": ran.peak_mb}
    if ran.code:
        return row | {"status": ran.complaint}
    return row | {"stages": json.dumps(ran.told["seconds"])}


def _theirs(place: Path, work: Path, env: dict[str, str]) -> record.Row:
    task = {"data": str(place), "out": str(work / "by_hand.parquet"), "k": 0, "seed": 0}
    program = pipeline.PROGRAMS / "rfm_polars.py"
    ran = measure.run([sys.executable, program, json.dumps(task)], env)
    return {"name": THEIRS, **pipeline.told_by(ran, "local")}


def differences(work: Path) -> dict[str, float]:
    """Largest |ours - theirs| / max(1, |theirs|) of every feature, customers matched by key."""
    ours = pl.read_parquet(data.parquet_files(work / "labels"))
    theirs = pl.read_parquet(work / "by_hand.parquet")
    if sorted(ours[KEY]) != sorted(theirs[KEY]):
        raise SystemExit("bench: ours and the group-by by hand have different customers")
    both = theirs.join(ours, on=KEY, suffix="_ours")
    names = [name for name in theirs.columns if name != KEY]
    gaps = [
        ((pl.col(f"{n}_ours") - pl.col(n)).abs() / pl.col(n).abs().clip(1.0)).max().alias(n)
        for n in names
    ]
    found = both.select(gaps).row(0, named=True)
    return dict(sorted(found.items(), key=lambda item: -item[1])[:5])
