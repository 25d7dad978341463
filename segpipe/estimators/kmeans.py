"""K-Means as an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

from segpipe.estimators.problems import told
from segpipe.estimators.segmenter import Segmenter
from segpipe.kernels import nearest
from segpipe.values import Floats


class KMeans(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Segmenter):  # type: ignore[misc]
    """K-Means: greedy weighted k-means++, Lloyd on the sample, exact passes over all rows.

    Parameters
    ----------
    k : number of segments, or "auto": chosen by evidence, which may answer one segment
    k_max : largest number that "auto" considers
    n_init : starts; the best by our inertia counts
    min_share : smallest share of a segment; smaller ones are seeded anew where that helps
    polish_passes : exact passes over all rows, at most
    sample_rows : rows of the sample that the choice is made on, drawn by hash
    columns : names of the columns to use, of tables with names; None = all
    categorical : "auto" (text of few values), "none", or names of columns to read as categories
    scale : "auto" (logarithms of skewed columns, robust scales), "standard", "robust", "none"
    random_state : seed; equal rows and seeds give equal models, whatever holds the rows
    """

    def __init__(
        self,
        k: int | str = "auto",
        *,
        k_max: int = 12,
        n_init: int = 10,
        min_share: float = 0.005,
        polish_passes: int = 3,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.k = k
        self.k_max = k_max
        self.n_init = n_init
        self.min_share = min_share
        self.polish_passes = polish_passes
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        names = ("k", "k_max", "n_init", "min_share", "polish_passes")
        return {"model": "kmeans", **{name: getattr(self, name) for name in names}}

    def transform(self, X: Any) -> Floats:
        """(n, n_clusters_) distances to all centres in scaled units, of tables in memory."""
        with told():
            x = self._block(X)
        centres, unit = self.model_.model.centres, self.model_.scaler.unit
        return np.sqrt(nearest.distances(x, centres).T.astype(np.float64)) * unit

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Minus the squared distances in scaled units to the nearest centres, of rows in memory."""
        del y
        square = self.transform(X).min(axis=1) ** 2
        return -float((square if sample_weight is None else square * sample_weight).sum())

    @property
    def _n_features_out(self) -> int:
        return self.n_clusters_
