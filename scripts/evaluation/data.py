"""Tables with known outliers, drawn as the protocols say, from a folder outside the project."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

ADBENCH_MOST, ADBENCH_LEAST = 10_000, 1_000
"""ADBench cuts larger sets, and draws smaller ones up with replacement."""
NETWORK = {"nsl_kdd_train": (0.01, 0.05, 0.2), "kdd99_10percent": (0.01, 0.1)}


@dataclass(frozen=True)
class Case:
    """Rows to fit on and rows to score; the same rows where nothing is held out."""

    protocol: str
    name: str
    seed: int
    fit: pa.Table
    score: pa.Table
    truth: np.ndarray
    """(rows of ``score``,) bool, True = outlier."""
    features: str
    """features.set of the job."""


def adbench(folder: Path, seeds: int) -> Iterator[Case]:
    """Han et al. 2022: at most 10,000 rows, 70/30 split by class, no label in the fit."""
    from sklearn.model_selection import train_test_split

    for path in sorted((folder / "outliers").glob("*.npz")):
        held = np.load(path)
        x, y = held["X"].astype(np.float64), held["y"].astype(bool)
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            rows = np.arange(len(x))
            if len(x) > ADBENCH_MOST:
                rows = rng.choice(rows, ADBENCH_MOST, replace=False)
            elif len(x) < ADBENCH_LEAST:
                rows = rng.choice(rows, ADBENCH_LEAST)
            train, test = train_test_split(rows, test_size=0.3, stratify=y[rows], random_state=seed)
            yield Case(
                "adbench", path.stem, seed, table(x[train]), table(x[test]), y[test], "columns"
            )


def network(folder: Path, seeds: int, most: int) -> Iterator[Case]:
    """All normals (at most ``most``) with attacks drawn to a share; fitted on what is scored."""
    for name, rates in NETWORK.items():
        whole = pq.read_table(folder / "network" / f"{name}.parquet")
        attack = ~np.char.startswith(np.array(whole["attack"].to_pylist(), str), "normal")
        for rate in rates:
            for seed in range(seeds):
                rng = np.random.default_rng([seed, round(rate * 1000)])
                usual, odd = np.flatnonzero(~attack), np.flatnonzero(attack)
                if len(usual) > most:
                    usual = rng.choice(usual, most, replace=False)
                wanted = min(len(odd), round(rate / (1 - rate) * len(usual)))
                rows = np.sort(np.concatenate([usual, rng.choice(odd, wanted, replace=False)]))
                drawn = whole.take(pa.array(rows))
                yield Case(
                    "network", f"{name} {rate:g}", seed, drawn, drawn, attack[rows], "connections"
                )


def table(x: np.ndarray) -> pa.Table:
    """Columns c000, c001, ..."""
    return pa.table({f"c{j:03d}": x[:, j] for j in range(x.shape[1])})
