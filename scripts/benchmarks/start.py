"""``bench.py start``: what a user with a small table waits for, from the command to its end."""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml

from benchmarks import data, measure, record, segpipe_run

NAMES = {
    "customer_id": ("customer_id", "CustomerID", "Customer ID"),
    "ts": ("ts", "InvoiceDate", "date"),
    "order_id": ("order_id", "InvoiceNo", "Invoice"),
    "quantity": ("quantity", "Quantity"),
    "price": ("price", "UnitPrice", "Price"),
}
"""Columns of transactions under the names of the known retail tables."""
COLUMNS = ("name", "status", "repeats", "seconds_median", "seconds_min", "seconds_max",
           "peak_mb_max")  # fmt: skip


def bench(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    """One warm-up and then the repeats of each table, in turn."""
    env = measure.environ(asked.keep_blas)
    trees = {"mall": mall(asked.mall or data.mall(asked.data))}
    if asked.table is not None:
        trees[asked.table.stem] = transactions(asked.table)
    rows: list[record.Row] = []
    for repeat in range(-1, asked.repeats):
        for name, tree in trees.items():
            row = {"name": name, "repeat": repeat, **_once(tree, asked.data, env)}
            print(f"{name} #{repeat}: {row['seconds']:.3f} s", file=sys.stderr, flush=True)
            if repeat >= 0:
                rows.append(row)
    summary = record.summarise(rows, ("name",))
    record.write(asked.out, "runs", rows)
    record.write(asked.out, "summary", summary)
    record.write_environment(asked.out, told)
    bars = [
        (f"segpipe {row['name']}", {m: row[f"seconds_{m}"] for m in ("median", "min", "max")}, "")
        for row in summary
        if row["repeats"]
    ]
    record.plot(asked.out / "start.png", "Small tables: the whole process", bars, "seconds")
    print(record.show(summary, COLUMNS))


def mall(table: Path) -> dict[str, Any]:
    """conf/mall.yaml on this table."""
    shipped = yaml.safe_load((record.ROOT / "conf/mall.yaml").read_text())
    shipped["extends"] = [str(record.ROOT / "conf/base.yaml")]
    shipped["source"]["uri"] = str(table.resolve())
    return dict(shipped)


def transactions(table: Path) -> dict[str, Any]:
    """conf/customers.yaml on this table, its columns found by name."""
    held = pq.read_schema(table).names
    columns = {
        ours: next((name for name in known if name in held), "") for ours, known in NAMES.items()
    }
    lacking = [ours for ours, name in columns.items() if not name]
    if lacking:
        raise SystemExit(f"bench: {table} has no column for {lacking}; it has {held}")
    return {
        "extends": [str(record.ROOT / "conf/customers.yaml")],
        "source": {"uri": str(table.resolve()), "columns": columns},
        "target": {},
    }


def _once(tree: Mapping[str, Any], cache: Path, env: Mapping[str, str]) -> record.Row:
    with tempfile.TemporaryDirectory(prefix="work-", dir=cache) as work:
        target = {**tree["target"], "uri": f"{work}/labels"}
        ran = segpipe_run.run({**tree, "target": target}, Path(work) / "start.yaml", env)
    row: record.Row = {"status": "ok", "seconds": ran.wall, "peak_mb": ran.peak_mb}
    if ran.code:
        return row | {"status": ran.complaint}
    return row | {"stages": json.dumps(ran.told["seconds"])}
