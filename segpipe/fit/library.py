"""What another library is asked to fit (``fit.library``: mllib, dask-ml, sklearn)."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LibrarySpec:
    """Handed to ``Engine.library_fit``; what a library cannot do is refused there (78)."""

    library: str
    """mllib | dask-ml | sklearn."""
    model: str
    """kmeans | gmm | bisecting."""
    k: int
    covariance: str = "auto"
    """auto (= full) | full | tied | diag | spherical; read for gmm only."""
    n_init: int = 1
    """Starts that differ by seed; K-Means of sklearn and dask-ml has start arrays instead."""
    seed: int = 0
