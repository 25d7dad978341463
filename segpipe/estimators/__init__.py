"""Scikit-learn style estimators over the project's own fits, for tables in memory, Dask and Spark.

Loaded by ``segpipe.__getattr__``: this package alone may import scikit-learn at its top.
"""

from __future__ import annotations

from segpipe.estimators.agglomerative import Agglomerative
from segpipe.estimators.auto import AutoCluster
from segpipe.estimators.density import DBSCAN, HDBSCAN
from segpipe.estimators.kmeans import KMeans
from segpipe.estimators.mixture import GaussianMixture
from segpipe.estimators.outliers import OutlierScorer
from segpipe.estimators.saved import load

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
