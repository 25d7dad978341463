"""Tables to measure on: written once into a cache folder, in bounded memory, the same each time."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import measure

FILE_ROWS, ROW_GROUP = 1_000_000, 250_000
LEAST_FILES = 8
SPREAD = 2.0
"""Standard deviation of the centres per feature; that of the points around them is 1."""


def blobs(cache: Path, rows: int, d: int, k: int, seed: int = 0) -> Path:
    """A folder of Parquet files with f0..f<d-1> float32: k Gaussian clusters of unequal size.

    Chunk i is drawn from (seed, i) alone, so memory is that of one file.
    """
    folder = cache / f"blobs-{rows}x{d}-k{k}-s{seed}"
    if folder.is_dir():
        return folder
    making = folder.with_name(f".{folder.name}.making")
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(parents=True)
    centres = np.random.default_rng([seed, 2**31]).normal(0.0, SPREAD, (k, d)).astype(np.float32)
    share = np.arange(k, 0, -1) + k / 2.0  # the largest about three times the smallest
    share /= share.sum()
    names = [f"f{j}" for j in range(d)]
    step = min(FILE_ROWS, -(-rows // LEAST_FILES))
    for number, first in enumerate(range(0, rows, step)):
        n = min(step, rows - first)
        rng = np.random.default_rng([seed, number])
        cluster = rng.choice(k, n, p=share)
        columns = []
        for j in range(d):
            values = rng.standard_normal(n, dtype=np.float32)
            values += centres[cluster, j]
            columns.append(pa.array(values))
        pq.write_table(
            pa.table(columns, names=names),
            making / f"part-{number:05d}.parquet",
            row_group_size=ROW_GROUP,
            use_dictionary=False,  # as many values as rows: a dictionary only costs
        )
    making.rename(folder)
    return folder


def transactions(cache: Path, rows: int, seed: int = 0) -> Path:
    """The product's own synthetic shop (``segpipe data make customers``); a file per month."""
    place = cache / f"transactions-{rows}-s{seed}"
    if not place.exists():
        cache.mkdir(parents=True, exist_ok=True)
        done = measure.run(
            [sys.executable, "-m", "segpipe", "data", "make", "customers", "--rows", rows,
             "--out", place, "--seed", seed]
        )  # fmt: skip
        if done.code:
            raise SystemExit(f"bench: making {place} {done.complaint}")
    return place


def mall(cache: Path, seed: int = 0) -> Path:
    """200 customers with the columns of the well-known mall table, five loose groups."""
    path = cache / f"mall-s{seed}.csv"
    if path.exists():
        return path
    cache.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 5, 200)
    income = np.array([26, 26, 55, 87, 87])[group] + rng.normal(0, 7, 200)
    spending = np.array([20, 79, 50, 18, 82])[group] + rng.normal(0, 8, 200)
    age = np.array([45, 25, 43, 41, 33])[group] + rng.normal(0, 8, 200)
    lines = ["CustomerID,Age,Annual Income (k$),Spending Score (1-100)"]
    for i in range(200):
        cells = (i + 1, max(18, round(age[i])), max(15, round(income[i])), round(spending[i]))
        lines.append(",".join(str(max(1, int(cell))) for cell in cells))
    path.write_text("\n".join(lines) + "\n")
    return path


def parquet_files(place: Path) -> list[Path]:
    """The table's files; names that start with _ hold the truth."""
    if place.is_file():
        return [place]
    found = (p for p in place.rglob("*.parquet") if p.is_file())  # Spark and Dask write folders
    return sorted(p for p in found if not p.name.startswith(("_", ".")))
