"""Eight Gaussian clusters of unequal size in 16 dimensions: for speed and for exact answers."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from segpipe.datasets.chunk import Chunk, draws

FEATURES = 16
CLUSTERS = 8
SPREAD = 2.0
"""Standard deviation of the centres; of the points around them it is 1 per feature. Two centres are
then about 11 apart (2 sqrt(2 * 16)): clear clusters whose K can be told."""
SHARES = np.array([0.22, 0.18, 0.15, 0.13, 0.11, 0.09, 0.07, 0.05])


def chunks(rows: int, seed: int) -> Iterator[Chunk]:
    """Rows in random order of clusters; a file per chunk."""
    centres = np.random.default_rng([seed, 2**31]).normal(0.0, SPREAD, (CLUSTERS, FEATURES))
    names = [f"f{j}" for j in range(FEATURES)]
    for number, n, rng in draws(rows, seed):
        cluster = rng.choice(CLUSTERS, n, p=SHARES).astype(np.int32)
        columns = []
        for j in range(FEATURES):
            values = rng.standard_normal(n, dtype=np.float32)
            values += centres[:, j].astype(np.float32)[cluster]
            columns.append(pa.array(values))
        truth = pa.table(
            {"file": pa.nulls(n, pa.string()), "row": np.arange(n), "cluster": cluster}
        )
        table = pa.table(columns, names=names)
        yield Chunk(f"{number:05d}", table, truth, tuple(names))
