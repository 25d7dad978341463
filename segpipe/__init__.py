"""segpipe: segment customers and score network logs; one config, three engines, one answer.

``import segpipe`` is light: engines, kernels and models load when they are used. Fitting without
labels is ``segpipe.pipeline.fit``: ``segpipe.fit`` is the package of that name.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segpipe.estimators import DBSCAN as DBSCAN
    from segpipe.estimators import HDBSCAN as HDBSCAN
    from segpipe.estimators import Agglomerative as Agglomerative
    from segpipe.estimators import AutoCluster as AutoCluster
    from segpipe.estimators import GaussianMixture as GaussianMixture
    from segpipe.estimators import KMeans as KMeans
    from segpipe.estimators import OutlierScorer as OutlierScorer
    from segpipe.pipeline import run as run
    from segpipe.pipeline import score as score

__version__ = "0.1.0"
__all__ = [
    "DBSCAN",
    "HDBSCAN",
    "Agglomerative",
    "AutoCluster",
    "GaussianMixture",
    "KMeans",
    "OutlierScorer",
    "__version__",
    "run",
    "score",
]

_HOMES = dict.fromkeys(("run", "score"), "segpipe.pipeline") | dict.fromkeys(
    (
        "DBSCAN",
        "HDBSCAN",
        "Agglomerative",
        "AutoCluster",
        "GaussianMixture",
        "KMeans",
        "OutlierScorer",
    ),
    "segpipe.estimators",
)


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        # By name: an import statement here would put every module below the pipeline above it.
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'segpipe' has no attribute {name!r}")
