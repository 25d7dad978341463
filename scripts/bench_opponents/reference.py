"""The yardstick: scikit-learn's KMeans on all rows, one run a seed; inertia by our definition."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import polars as pl
from sklearn.cluster import KMeans

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks import data, quality

CHUNK = 1_000_000


def main() -> None:
    """Print the inertia of each seed's run."""
    task = json.loads(sys.argv[1])
    space = quality.Space(np.array(task["mean"]), np.array(task["std"]))
    x = pl.read_parquet(data.parquet_files(Path(task["data"]))).to_numpy(order="c")
    x = x if x.flags.writeable else x.copy()
    x -= space.mean.astype(x.dtype)
    x /= space.std.astype(x.dtype)
    unscaled = quality.Space(np.zeros(x.shape[1]), np.ones(x.shape[1]))
    found = []
    for seed in task["seeds"]:
        labels = KMeans(task["k"], n_init=1, random_state=seed, copy_x=False).fit(x).labels_
        seen = quality.Inertia(unscaled)
        for lo in range(0, len(x), CHUNK):
            seen.add(x[lo : lo + CHUNK], labels[lo : lo + CHUNK])
        found.append(seen.value)
    print(json.dumps({"inertia": found}))


main()
