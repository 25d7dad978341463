"""A table of purchases with three kinds of customers, and runs of it in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml


def transactions(path: Path, lines: int = 12_000, customers: int = 600) -> Path:
    """Purchases of January to June 2011; every customer buys in January."""
    rng = np.random.default_rng(11)
    who = np.concatenate([np.arange(customers), rng.integers(0, customers, lines - customers)])
    first = np.concatenate([np.full(customers, True), np.zeros(lines - customers, np.bool_)])
    second = rng.integers(0, np.where(first, 31, 181)) * 86_400 + rng.integers(0, 86_400, lines)
    kind = who % 3
    table = pa.table(
        {
            "customer_id": who,
            "ts": np.datetime64("2011-01-01", "us") + second.astype("timedelta64[s]"),
            "order_id": rng.integers(0, lines // 2, lines),
            "quantity": rng.integers(1, np.array([3, 9, 60])[kind]),
            "price": np.round(rng.gamma(2.0, np.array([9.0, 3.0, 1.5])[kind]) + 0.5, 2),
        }
    )
    pq.write_table(table, path, row_group_size=lines // 4)
    return path


def tree(source: Path, uri: Path, /, **sections: Any) -> dict[str, Any]:
    """A config: rfm features, three segments, published by day."""
    base: dict[str, Any] = {
        "job": "customers",
        "source": {"uri": str(source)},
        "features": {"set": "rfm"},
        "fit": {"model": "kmeans", "k": 3, "n_init": 2},
        "target": {"uri": str(uri), "partition_by": ["as_of"]},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return base


def config(folder: Path, held: dict[str, Any]) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(held))
    return path


def started(path: Path, *options: Any, command: str = "run") -> subprocess.Popen[str]:
    """``segpipe`` at work; its progress comes as JSON lines."""
    line = [sys.executable, "-m", "segpipe", command, path, *options]
    return subprocess.Popen(
        list(map(str, line)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )


def ended(child: subprocess.Popen[str]) -> tuple[int, dict[str, Any]]:
    """Its exit code and run summary; what a failed one logged is shown if the test fails."""
    out, err = child.communicate(timeout=300)
    assert out.strip(), err
    if child.returncode:
        print(err)
    return child.returncode, json.loads(out.strip().splitlines()[-1])


def until(child: subprocess.Popen[str], stage: str) -> None:
    """Read progress until ``stage`` is done."""
    assert child.stderr is not None
    said = []
    for line in child.stderr:
        said.append(line)
        if line.startswith("{") and json.loads(line)["context"].get("stage") == stage:
            return
    raise AssertionError(f"the run ended before {stage} was done: {''.join(said[-5:])}")
