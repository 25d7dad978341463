"""A small fitted job that the scoring tests share."""

from itertools import pairwise

import numpy as np
import pyarrow as pa

from segpipe.models.description import Category, Description, Number
from segpipe.models.kmeans import KMeansModel
from segpipe.models.scaler import fit_scaler
from segpipe.scoring.outliers import fit_mass
from segpipe.values import Sample


def customers(n=500, seed=0):
    rng = np.random.default_rng(seed)
    spend = np.round(rng.gamma(2.0, 30.0, n), 2)
    spend[n // 2] = 4000.0
    visits = rng.poisson(5, n).astype(float)
    visits[3] = np.nan
    return pa.record_batch(
        {
            "id": pa.array(np.arange(n), pa.int64()),
            "spend": spend,
            "visits": pa.array(visits, from_pandas=True),
            "region": pa.array(rng.choice(["north", "south"], n)),
        }
    )


def fitted(batch):
    n = batch.num_rows
    spend, visits = batch["spend"].to_numpy(), batch["visits"].to_numpy(zero_copy_only=False)
    region, count = np.unique(batch["region"].to_numpy(zero_copy_only=False), return_counts=True)
    order = np.argsort(-count)
    description = Description(
        n,
        (
            Number("spend", 0, spend.min(), spend.max()),
            Number("visits", 1, np.nanmin(visits), np.nanmax(visits)),
        ),
        (Category("region", 0, tuple(str(r) for r in region[order]), count[order]),),
        Sample(batch, np.ones(n), np.ones(n)),
    )
    scaler = fit_scaler(description)
    x = scaler.transform(batch)
    model = KMeansModel(x[:, [0, 7, 11]].T.astype(float))
    return scaler, model, fit_mass(x, np.ones(n), x[:, :40].T.astype(float), 0.05), x


def pieces(batch, *ends):
    ends = [0, *ends, batch.num_rows]
    return [batch.slice(a, b - a) for a, b in pairwise(ends)]
