"""dask-ml's K-Means, wrapped against what is wrong with release 2025.1.0 on today's stack.

``init="k-means++"`` raises TypeError and k-means|| finds too few candidates: it gets our start
arrays. ``tol`` is absolute: it is made relative to the variance, as scikit-learn's is. Empty
chunks fail (dask-ml#551): they are left out. An empty cluster becomes the zero vector: a start
that ends so loses against any other. Its model holds the training data: only the centres leave.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.engines import library
from segpipe.engines.frames import Batches, Frame
from segpipe.engines.library import Blocks, Transform
from segpipe.engines.protocol import Engine, LibraryParams
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel
from segpipe.values import Floats

TOLERANCE = 1e-4
"""Of the mean variance, as in scikit-learn."""


def fit(
    engine: Engine,
    frame: Frame,
    chunks: Sequence[Any],
    transform: Transform,
    params: LibraryParams,
    init: Sequence[Floats],
) -> KMeansModel | MixtureModel:
    """K-Means from each array of ``init``; ``chunks``: futures of what ``Chunk`` returns.

    Raises
    ------
    ConfigError
        A gap of the library.
    DataError
        Fewer rows than clusters.
    """
    import dask
    import dask.array as da
    from dask_ml.cluster import KMeans

    library.refuse_gaps(engine.name, params)
    shapes = dask.compute(*(dask.delayed(np.shape)(chunk) for chunk in chunks))
    few = [(chunk, shape) for chunk, shape in zip(chunks, shapes, strict=True) if shape[0]]
    library.few_rows(sum(shape[0] for _, shape in few), params.k)
    x = da.concatenate(
        [da.from_delayed(dask.delayed(chunk), shape, np.float32) for chunk, shape in few]
    )
    scale = float(x.var(axis=0).mean().compute()) or 1.0
    models = []
    for start in init:
        fitted = KMeans(
            params.k,
            init=start.astype(np.float32),
            tol=TOLERANCE * scale,
            random_state=params.seed,
        ).fit(x)
        models.append(KMeansModel(np.array(fitted.cluster_centers_, dtype=np.float64)))
    full = [model for model in models if model.centres.any(axis=1).all()]
    return library.best(engine, frame, transform, full or models)


class Chunk(Blocks):
    """The scaled rows of a part as one array."""

    __slots__ = ()

    def __call__(self, batches: Batches) -> npt.NDArray[np.float32]:  # type: ignore[override]
        """(rows, features) float32; (0, 0) for a part without rows."""
        blocks = super().__call__(batches)
        return np.concatenate(blocks) if blocks else np.empty((0, 0), np.float32)
