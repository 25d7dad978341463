"""One definition of every quality figure, from what was written and never from what was claimed.

Space: each feature minus its mean over its standard deviation (divisor n) of the whole table.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds

from benchmarks import data, measure

Floats = npt.NDArray[np.float64]
BATCH = 250_000
REFERENCE = Path(__file__).parents[1] / "bench_opponents/reference.py"


@dataclass(frozen=True)
class Space:
    """The standard scaling of a table."""

    mean: Floats
    std: Floats

    def __call__(self, x: npt.NDArray[Any]) -> Floats:
        return (x - self.mean) / self.std


def space_of(batches: Iterable[npt.NDArray[Any]]) -> Space:
    """Mean and standard deviation (divisor n) of (rows, d) batches, in one pass.

    Sums are taken around the first batch's mean, so that far-off columns do not cancel.
    """
    rows, shift = 0, np.zeros(0)
    first, second = np.zeros(0), np.zeros(0)
    for x in batches:
        if rows == 0:
            shift = x.mean(axis=0, dtype=np.float64)
            first, second = np.zeros_like(shift), np.zeros_like(shift)
        moved = x - shift
        rows += len(x)
        first += moved.sum(axis=0)
        second += (moved * moved).sum(axis=0)
    offset = first / rows
    std = np.sqrt(np.maximum(second / rows - offset * offset, 0.0))
    return Space(shift + offset, np.where(std > 0, std, 1.0))


@dataclass
class Inertia:
    """Squared distances of rows to the mean of their label; noise (-1) is a label like others."""

    space: Space
    rows: int = 0
    squares: float = 0.0

    def __post_init__(self) -> None:
        self.count: dict[int, float] = {}
        self.sums: dict[int, Floats] = {}

    def add(self, x: npt.NDArray[Any], label: npt.NDArray[Any]) -> None:
        """Take in (rows, d) in original units and their labels."""
        z = self.space(x.astype(np.float64))
        self.rows += len(z)
        self.squares += float(np.einsum("ij,ij->", z, z))
        names, code = np.unique(label, return_inverse=True)
        count = np.bincount(code)
        sums = np.stack([np.bincount(code, z[:, j], len(names)) for j in range(z.shape[1])], 1)
        for at, name in enumerate(names.tolist()):
            self.count[name] = self.count.get(name, 0.0) + float(count[at])
            self.sums[name] = self.sums.get(name, 0.0) + sums[at]

    @property
    def value(self) -> float:
        """The sum over rows: sum |z|^2 - sum over labels |sum z|^2 / n."""
        explained = sum(float(s @ s) / self.count[name] for name, s in self.sums.items())
        return self.squares - explained

    @property
    def labels(self) -> int:
        """Distinct labels, noise not counted."""
        return sum(1 for name in self.count if name >= 0)


def inertia(table: ds.Dataset, label: str, features: list[str], space: Space) -> Inertia:
    """Streamed over a labelled table."""
    seen = Inertia(space)
    for x, said in labelled(table, label, features):
        seen.add(x, said)
    return seen


def labelled(
    table: ds.Dataset, label: str, features: list[str]
) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """(rows, d) and labels, batch by batch."""
    for batch in table.to_batches(columns=[*features, label], batch_size=BATCH, batch_readahead=2):
        if batch.num_rows:
            yield _matrix(batch, features), batch.column(label).to_numpy(zero_copy_only=False)


def _matrix(batch: Any, features: list[str]) -> npt.NDArray[Any]:
    return np.stack([batch.column(name).to_numpy(zero_copy_only=False) for name in features], 1)


def table_of(place: Path) -> ds.Dataset:
    """The Parquet files below ``place``, truth and markers left out."""
    return ds.dataset([str(p) for p in data.parquet_files(place)], format="parquet")


@dataclass(frozen=True)
class Mixture:
    """k Gaussians in the space x -> (x - centre) / scale."""

    weights: Floats
    means: Floats
    covariances: Floats
    """(k, d, d)."""
    centre: Floats
    scale: Floats

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Mixture:
        """From the JSON that a program printed."""
        names = ("weights", "means", "covariances", "centre", "scale")
        return cls(*(np.asarray(told[name], np.float64) for name in names))

    def log_likelihood(self, x: npt.NDArray[Any]) -> float:
        """Sum over rows of the log density in original units."""
        z = (x.astype(np.float64) - self.centre) / self.scale
        d = z.shape[1]
        joint = np.empty((len(self.weights), len(z)))
        for c, covariance in enumerate(self.covariances):
            lower = np.linalg.cholesky(covariance)
            t = np.linalg.solve(lower, (z - self.means[c]).T)
            log_det = float(np.log(np.diagonal(lower)).sum())
            level = np.log(self.weights[c]) - 0.5 * d * np.log(2 * np.pi) - log_det
            joint[c] = level - 0.5 * np.einsum("ij,ij->j", t, t)
        top = joint.max(axis=0)
        total = float((top + np.log(np.exp(joint - top).sum(axis=0))).sum())
        return total - len(z) * float(np.log(self.scale).sum())


def mean_log_likelihood(table: ds.Dataset, features: list[str], model: Mixture) -> float:
    """Nats per row, original units."""
    total, rows = 0.0, 0
    for batch in table.to_batches(columns=features, batch_size=BATCH, batch_readahead=2):
        if batch.num_rows:
            total += model.log_likelihood(_matrix(batch, features))
            rows += batch.num_rows
    return total / rows


@dataclass(frozen=True)
class Yardstick:
    """What results on a table are measured against; kept beside the table."""

    space: Space
    best: float | None
    """Least inertia of the reference runs; None where no reference was asked for."""


def yardstick(
    place: Path, features: list[str], k: int, runs: int, env: Mapping[str, str]
) -> Yardstick:
    """Take from the table's own JSON what is there; work out and keep what is not."""
    path = place.with_name(f"{place.name}.reference.json")
    kept = json.loads(path.read_text()) if path.exists() else {}
    if "mean" not in kept:
        batches = table_of(place).to_batches(columns=features, batch_size=BATCH)
        space = space_of(_matrix(b, features) for b in batches if b.num_rows)
        kept |= {"mean": space.mean.tolist(), "std": space.std.tolist()}
        path.write_text(json.dumps(kept, indent=1))
    name = f"k={k}"
    known = kept.setdefault("inertia", {}).get(name, [])
    if len(known) < runs:
        task = {"data": str(place), "k": k, "seeds": list(range(len(known), runs))}
        task |= {"mean": kept["mean"], "std": kept["std"]}
        done = measure.run([sys.executable, REFERENCE, json.dumps(task)], env)
        if done.code or "inertia" not in done.told:
            raise SystemExit(f"bench: the reference {done.complaint}")
        kept["inertia"][name] = known = [*known, *done.told["inertia"]]
        path.write_text(json.dumps(kept, indent=1))
    space = Space(np.array(kept["mean"]), np.array(kept["std"]))
    return Yardstick(space, min(known[:runs], default=None) if runs else None)
