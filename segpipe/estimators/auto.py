"""The model and the number of segments that the data ask for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.utils.validation import check_is_fitted

from segpipe.estimators.segmenter import Segmenter


class AutoCluster(Segmenter):
    """The model and the number of segments that the data ask for; ``why_`` says why.

    "No natural segments" is an answer: ``natural_segments_`` is False and there is one segment.

    Parameters
    ----------
    k : number of segments, or "auto"
    covariance : of mixtures, see ``GaussianMixture``
    density_rows : distinct rows that a density model is fitted on, at most

    The others are those of ``KMeans``.
    """

    def __init__(
        self,
        k: int | str = "auto",
        *,
        k_max: int = 12,
        covariance: str = "auto",
        n_init: int = 10,
        min_share: float = 0.005,
        density_rows: int = 20_000,
        polish_passes: int = 3,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.k = k
        self.k_max = k_max
        self.covariance = covariance
        self.n_init = n_init
        self.min_share = min_share
        self.density_rows = density_rows
        self.polish_passes = polish_passes
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        names = (
            "k", "k_max", "covariance", "n_init", "min_share", "density_rows", "polish_passes",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    @property
    def kind_(self) -> str:
        """Kmeans, gmm, agglomerative, merged, hdbscan or dbscan."""
        check_is_fitted(self)
        return self.model_.model.kind
