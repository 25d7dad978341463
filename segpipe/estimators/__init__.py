"""Scikit-learn style estimators over the project's own fits, for tables in memory, Dask and Spark.

Loaded by ``segpipe.__getattr__``: this package alone may import scikit-learn at its top.
"""

from __future__ import annotations

from segpipe.estimators.outliers import OutlierScorer
from segpipe.estimators.saved import load
from segpipe.estimators.segmenters import (
    DBSCAN,
    HDBSCAN,
    Agglomerative,
    AutoCluster,
    GaussianMixture,
    KMeans,
)

__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "Agglomerative",
    "AutoCluster",
    "GaussianMixture",
    "KMeans",
    "OutlierScorer",
    "load",
]
