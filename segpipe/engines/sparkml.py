"""MLlib's K-Means, bisecting K-Means and Gaussian mixture, as our frozen models.

MLlib takes no start arrays, so the starts differ by seed. Works on Spark Connect.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.engines import library
from segpipe.engines.library import Transform
from segpipe.engines.protocol import LibraryParams
from segpipe.engines.sparkerrors import translated
from segpipe.fit.mixture import REG_COVAR
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel

VECTORS = pa.schema([("x", pa.list_(pa.float64()))])
PART_ROWS = 20_000
"""Rows of a partition: an iteration over tiny ones is nothing but the starting of tasks."""
MAX_ITER = 100
"""MLlib stops at 20, often before it has converged."""
TOLERANCE = 1e-4
"""Of the mixture's log likelihood; MLlib's 0.01 stops on the plateau that its start lies on."""


@dataclass(frozen=True, slots=True)
class Vectors:
    """Scaled rows as arrays, which Spark turns into vectors."""

    transform: Transform

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """One list column."""
        x = self.transform(batch)
        offsets = np.arange(0, x.size + 1, max(x.shape[0], 1), dtype=np.int32)
        lists = pa.ListArray.from_arrays(offsets, x.T.astype(np.float64).ravel())
        return pa.RecordBatch.from_arrays([lists], schema=VECTORS)


def fit(
    engine: Any, frame: Any, transform: Transform, params: LibraryParams
) -> KMeansModel | MixtureModel:
    """``n_init`` fits from different seeds, the best by our measure.

    Raises
    ------
    ConfigError
        A gap of the library.
    DataError
        Fewer rows than clusters.
    """
    from pyspark.ml.functions import array_to_vector

    library.refuse_gaps(engine.name, params)
    arrays = engine.dataframe(engine.map_batches(frame, Vectors(transform), VECTORS))
    with translated():
        rows = arrays.select(array_to_vector("x").alias("features")).persist()
        try:
            size = rows.count()
            library.few_rows(size, params.k)
            fewer = rows.coalesce(-(-size // PART_ROWS))
            seeds = range(params.seed, params.seed + params.n_init)
            models = [_fit_one(fewer, params, seed) for seed in seeds]
        finally:
            rows.unpersist()
    return library.best(engine, frame, transform, models)


def _fit_one(rows: Any, params: LibraryParams, seed: int) -> KMeansModel | MixtureModel:
    from pyspark.ml.clustering import BisectingKMeans, GaussianMixture, KMeans

    if params.model == "gmm":
        fitted = GaussianMixture(k=params.k, seed=seed, maxIter=MAX_ITER, tol=TOLERANCE).fit(rows)
        parts = fitted.gaussiansDF.collect()
        covariances = np.array([part["cov"].toArray() for part in parts])
        # MLlib lets a component shrink onto equal values, where the likelihood has no bound and
        # the covariance no inverse: the least variance of the other libraries holds for it too.
        covariances += REG_COVAR * np.eye(covariances.shape[-1])
        return MixtureModel(
            np.array(fitted.weights, dtype=np.float64),
            np.array([part["mean"].toArray() for part in parts]),
            covariances,
            "full",
        )
    kinds = {"kmeans": KMeans, "bisecting": BisectingKMeans}
    model = kinds[params.model](k=params.k, seed=seed, maxIter=MAX_ITER).fit(rows)
    return KMeansModel(np.array(model.clusterCenters(), dtype=np.float64), params.model)
