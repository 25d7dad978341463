"""``python -m segpipe.warm``: compile the kernels once per machine, by dry runs on made-up tables.

numba keeps machine code beside the package (``kernels.jit``); without this the first large run of
a machine pays for the compilation, about half a minute of one core.
"""

from __future__ import annotations

import importlib.util
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ROWS = 40_000
"""Enough for every loop to leave its NumPy path."""
RUNS: tuple[dict[str, Any], ...] = (  # the last needs the extra density
    {"fit": {"model": "kmeans", "k": 6}, "outliers": {"method": "mass"}},
    {"fit": {"model": "kmeans", "k": 64, "n_init": 1}, "outliers": {"method": "ensemble"}},
    {"fit": {"model": "gmm", "k": 3, "covariance": "full"}, "outliers": {"method": "segment"}},
    {"fit": {"model": "gmm", "k": 3, "covariance": "diag"}, "outliers": {"method": "none"}},
    {"fit": {"model": "hdbscan"}, "outliers": {"method": "hdbscan"}},
)


def table(seed: int = 0) -> pa.Table:
    """Four blobs in every kind of column that a kernel meets: both floats, integers, text."""
    rng = np.random.default_rng(seed)
    blob = rng.integers(0, 4, ROWS)
    x = (
        rng.normal(0, 1, (8, ROWS))
        + 6 * np.array([[b & 1, b >> 1] * 4 for b in range(4)]).T[:, blob]
    )
    columns: dict[str, Any] = {f"s{j}": x[j].astype(np.float32) for j in range(3)}
    columns |= {f"d{j}": x[j] for j in range(3, 8)}
    columns["d3"] = np.where(rng.random(ROWS) < 0.01, np.nan, x[3])
    columns["spend"] = np.exp(x[4])
    columns["group"] = np.array(["a", "b", "c", "d"])[blob]
    columns["id"], columns["name"] = np.arange(ROWS), [f"row {i}" for i in range(ROWS)]
    return pa.table(columns)


def flows(seed: int = 0) -> pa.Table:
    """Connections, as many as make windows leave their plain loops."""
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "ts": pa.array(np.sort(rng.integers(0, 86_400, ROWS)) * 10**6, pa.timestamp("us")),
            "src": np.array([f"10.0.0.{i}" for i in range(50)])[rng.integers(0, 50, ROWS)],
            "dst": np.array([f"10.1.0.{i}" for i in range(90)])[rng.integers(0, 90, ROWS)],
            "dst_port": rng.integers(1, 99, ROWS),
            "duration": rng.exponential(1.0, ROWS),
            "src_bytes": rng.integers(0, 10_000, ROWS),
            "flag": np.array(["SF", "S0"])[rng.integers(0, 2, ROWS)],
        }
    )


def runs() -> tuple[dict[str, Any], ...]:
    """``RUNS`` that this installation can do: the demonstration's has no hdbscan."""
    return RUNS if importlib.util.find_spec("hdbscan") else RUNS[:-1]


def main() -> None:
    """Every kernel, compiled or found compiled; says how long it took."""
    from segpipe.pipeline import execute

    start = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="segpipe-warm-") as folder:
        pq.write_table(table(), Path(folder) / "rows.parquet")
        for number, run in enumerate(runs()):
            keys: list[list[str]] = [[], ["id"], ["name"], [], []]
            execute(
                mode="run",
                config={
                    "source": {"uri": f"{folder}/rows.parquet"},
                    "contract": {"keys": keys[number]},
                    "target": {"uri": f"{folder}/labels", "format": "parquet"},
                    **run,
                },
            )
        pq.write_table(flows(), Path(folder) / "flows.parquet")
        execute(
            mode="run",
            config={
                "source": {"uri": f"{folder}/flows.parquet"},
                "features": {"set": "connections"},
                "fit": {"model": "kmeans", "k": 3},
                "target": {"uri": f"{folder}/flows", "format": "parquet"},
            },
        )
    print(f"kernels ready after {time.perf_counter() - start:.0f} s")


if __name__ == "__main__":
    main()
