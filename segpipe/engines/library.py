"""Fits by other people's libraries: what they cannot do, who wins, and scikit-learn.

A library's own figure of merit is never read (dask-ml's ``inertia_`` mixes plain and squared
distances, MLlib's ``trainingCost`` and scikit-learn's are sums in another order): of several
starts the best is chosen by our inertia or likelihood, with a fold over all rows.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.engines.frames import Batches
from segpipe.engines.protocol import Engine, Frame, LibraryParams
from segpipe.errors import ConfigError, DataError
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats

Transform = Callable[[pa.RecordBatch], Block]

HOMES: Mapping[str, str] = {"sklearn": "local", "dask-ml": "dask", "mllib": "spark"}
"""The engine that each library runs on."""

GAPS: Mapping[tuple[str, str], str] = {
    ("dask-ml", "gmm"): "dask-ml has no Gaussian mixture",
    ("dask-ml", "bisecting"): "dask-ml has no bisecting K-Means",
    ("mllib", "tied"): "MLlib's Gaussian mixture has full covariances only",
    ("mllib", "diag"): "MLlib's Gaussian mixture has full covariances only",
    ("mllib", "spherical"): "MLlib's Gaussian mixture has full covariances only",
}
"""What is refused, by library and model or covariance; never replaced by something else."""


EM_TOLERANCE, EM_STEPS = 1e-5, 300
"""Nats per row; scikit-learn's .001 and 100 steps stop on the plateaus of discrete features."""


def refuse_gaps(engine: str, params: LibraryParams) -> None:
    """ConfigError for what the library cannot do, or not on this engine."""
    asked = [params.model]
    if params.model == "gmm":
        asked.append(params.covariance)
    elif params.model not in ("kmeans", "bisecting"):
        raise ConfigError(
            f"fit.library {params.library} has no model {params.model!r}.",
            "use kmeans, gmm or bisecting, or fit.library: native",
        )
    for name in asked:
        if gap := GAPS.get((params.library, name)):
            raise ConfigError(f"{gap}.", "use fit.library: native")
    if params.library == "mllib" and params.k < 2:
        raise ConfigError("MLlib fits two clusters or more.", "use fit.library: native")
    if HOMES.get(params.library) != engine:
        raise ConfigError(
            f"fit.library {params.library} does not run on engine {engine}.",
            f"libraries and their engines: {dict(HOMES)}",
        )


def covariance_of(params: LibraryParams) -> str:
    """``auto`` is full, the default of every library."""
    return "full" if params.covariance == "auto" else params.covariance


@dataclass(frozen=True, slots=True)
class Losses:
    """For each candidate: squared distances to its centres, or minus the log likelihood."""

    transform: Transform
    models: tuple[KMeansModel | MixtureModel, ...]

    def __call__(self, batches: Batches) -> Floats:
        """(candidates,) sums over the part's rows."""
        total = np.zeros(len(self.models))
        for batch in batches:
            x = self.transform(batch)
            if not x.shape[1]:
                continue
            ones = np.ones(x.shape[1])
            for i, model in enumerate(self.models):
                total[i] += (
                    model.inertia(x, ones)
                    if isinstance(model, KMeansModel)
                    else -float(model.log_density(x).sum())
                )
        return total


def best(
    engine: Engine,
    frame: Frame,
    transform: Transform,
    models: Sequence[KMeansModel | MixtureModel],
) -> KMeansModel | MixtureModel:
    """The candidate with the least loss over all rows; the first of equals."""
    if len(models) == 1:
        return models[0]
    losses = engine.fold(frame, Losses(transform, tuple(models)), operator.add)
    return models[int(np.argmin(losses))]


@dataclass(frozen=True, slots=True)
class Blocks:
    """The scaled rows of a part, row-major as libraries want them."""

    transform: Transform

    def __call__(self, batches: Batches) -> list[np.ndarray[Any, np.dtype[np.float32]]]:
        """(rows, features) float32 arrays, none of them empty."""
        blocks = (np.ascontiguousarray(self.transform(batch).T) for batch in batches)
        return [block for block in blocks if len(block)]


def few_rows(rows: int, k: int) -> None:
    """DataError where there are fewer rows than clusters."""
    if rows < k:
        raise DataError(f"{k} clusters were asked of {rows} rows.", "ask for a smaller fit.k")


def sklearn_fit(
    engine: Engine,
    frame: Frame,
    transform: Transform,
    params: LibraryParams,
    init: Sequence[Floats],
) -> KMeansModel | MixtureModel:
    """Scikit-learn on all rows in memory (4 bytes a value).

    K-Means starts once from each array of ``init``; the others ``n_init`` times from the seed.

    Raises
    ------
    ConfigError
        A gap of the library.
    DataError
        Fewer rows than clusters.
    """
    from sklearn.cluster import BisectingKMeans, KMeans
    from sklearn.mixture import GaussianMixture

    refuse_gaps(engine.name, params)
    blocks = engine.fold(frame, Blocks(transform), operator.add)
    few_rows(sum(map(len, blocks)), params.k)
    x = np.concatenate(blocks)
    del blocks
    models: list[KMeansModel | MixtureModel] = []
    if params.model == "kmeans":
        for start in init:
            kmeans = KMeans(params.k, init=start.astype(x.dtype), n_init=1).fit(x)
            models.append(KMeansModel(kmeans.cluster_centers_.astype(np.float64)))
    for seed in range(params.seed, params.seed + params.n_init):
        if params.model == "bisecting":
            cut = BisectingKMeans(params.k, random_state=seed, n_init=1).fit(x)
            models.append(KMeansModel(cut.cluster_centers_.astype(np.float64), "bisecting"))
        elif params.model == "gmm":
            kind = covariance_of(params)
            mixture = GaussianMixture(
                params.k,
                covariance_type=kind,
                random_state=seed,
                tol=EM_TOLERANCE,
                max_iter=EM_STEPS,
            ).fit(x.astype(np.float64))
            models.append(
                MixtureModel(mixture.weights_, mixture.means_, mixture.covariances_, kind)
            )
    return best(engine, frame, transform, models)
