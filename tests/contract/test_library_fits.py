"""Fits by the libraries of each engine: found centres, refused wishes."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError, DataError
from segpipe.fit.library import LibrarySpec
from segpipe.models.kmeans import KMeansModel
from segpipe.values import Block

BLOBS = pa.schema([("a", pa.float32()), ("b", pa.float32())])


def blobs() -> list[pa.RecordBatch]:
    """Three tight groups of 60 around (0, 0), (8, 0), (0, 8); corners of a small square."""
    centres = np.repeat([[0, 0], [8, 0], [0, 8]], 60, axis=0)
    corners = np.tile([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], (45, 1))
    points = (centres + corners).astype(np.float32)
    whole = pa.record_batch([points[:, 0], points[:, 1]], schema=BLOBS)
    return [whole.slice(0, 100), whole.slice(100), whole.slice(0, 0)]


def block(batch: pa.RecordBatch) -> Block:
    return np.stack([batch.column(i).to_numpy() for i in range(2)]).astype(np.float32)


LIBRARIES = {"local": "sklearn", "dask": "dask-ml", "spark": "mllib"}


def test_library_kmeans_finds_the_centres(engine: Engine, engine_name: str) -> None:
    frame = engine.from_batches(blobs(), BLOBS)
    good = np.array([[1.0, 1], [7, 1], [1, 7]])
    bad = np.array([[8.0, 0], [8.1, 0], [8.2, 0]])
    spec = LibrarySpec(LIBRARIES[engine_name], "kmeans", 3, n_init=2, seed=1)
    model = engine.library_fit(frame, block, spec, [bad, good])
    assert isinstance(model, KMeansModel)
    assert sorted(model.centres.round(6).tolist()) == [[0, 0], [0, 8], [8, 0]]


def test_library_gaps_are_refused(engine: Engine, engine_name: str) -> None:
    frame = engine.from_batches(blobs(), BLOBS)
    home = LIBRARIES[engine_name]
    refused = [LibrarySpec(name, "kmeans", 3) for name in LIBRARIES.values() if name != home]
    refused += [LibrarySpec("dask-ml", "gmm", 3), LibrarySpec("mllib", "gmm", 3, "diag")]
    for spec in refused:
        with pytest.raises(ConfigError):
            engine.library_fit(frame, block, spec, [])
    with pytest.raises(DataError, match="1000 clusters"):
        init = [np.zeros((1000, 2))]
        engine.library_fit(frame, block, LibrarySpec(home, "kmeans", 1000), init)


def test_library_mixture_and_bisecting(engine: Engine, engine_name: str) -> None:
    if engine_name == "dask":
        pytest.skip("dask-ml has neither: refused, see test_library_gaps_are_refused")
    home = LIBRARIES[engine_name]
    two = engine.from_batches(blobs()[:1], BLOBS)
    mixture = engine.library_fit(two, block, LibrarySpec(home, "gmm", 2), [])
    assert sorted(np.abs(mixture.means.round(3)).tolist()) == [[0, 0], [8, 0]]
    # Each coordinate is -0.5 or 0.5 equally often: variance 0.25, no covariance.
    assert np.allclose(mixture.covariances, 0.25 * np.eye(2), atol=1e-3)
    frame = engine.from_batches(blobs(), BLOBS)
    cut = engine.library_fit(frame, block, LibrarySpec(home, "bisecting", 3), [])
    assert cut.kind == "bisecting"
    assert sorted(cut.centres.round(6).tolist()) == [[0, 0], [0, 8], [8, 0]]
