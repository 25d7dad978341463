"""Gaussian mixtures as an estimator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import DensityMixin
from sklearn.utils.validation import check_is_fitted

from segpipe.config import Config
from segpipe.estimators import geometry
from segpipe.estimators.fitting import Prepared
from segpipe.estimators.problems import told
from segpipe.estimators.segmenter import Segmenter
from segpipe.fit.mixture import fit_mixture
from segpipe.fit.select import Decision
from segpipe.models.mixture import MixtureModel
from segpipe.stages import learn
from segpipe.values import Floats


class GaussianMixture(DensityMixin, Segmenter):  # type: ignore[misc]
    """Gaussian mixture by EM on the sample, then exact EM passes over all rows.

    Parameters
    ----------
    k : number of components, or "auto": by BIC, where the data have segments at all
    covariance : "full", "tied", "diag", "spherical", or "auto": the best BIC

    The others are those of ``KMeans``.
    """

    def __init__(
        self,
        k: int | str = "auto",
        *,
        covariance: str = "auto",
        k_max: int = 12,
        n_init: int = 10,
        polish_passes: int = 3,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.k = k
        self.covariance = covariance
        self.k_max = k_max
        self.n_init = n_init
        self.polish_passes = polish_passes
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        names = ("k", "covariance", "k_max", "n_init", "polish_passes")
        return {"model": "gmm", **{name: getattr(self, name) for name in names}}

    def _decide(self, given: Prepared, config: Config) -> Decision:
        """A mixture always: one segment, where there is no other, is one Gaussian."""
        decision, seen = learn.choose(given.seen, config.fit, config.seed), given.seen
        if isinstance(decision.model, MixtureModel):
            return decision
        one = fit_mixture(seen.x, seen.w, 1, config.fit.covariance, 1, config.seed)
        return replace(decision, model=replace(one, unit=seen.scaler.unit), kind="gmm")

    @property
    def _mixture(self) -> MixtureModel:
        check_is_fitted(self)
        model = self.model_.model
        assert isinstance(model, MixtureModel)
        return model

    @property
    def weights_(self) -> Floats:
        """(n_clusters_,) shares of the components."""
        return self._mixture.weights

    @property
    def means_(self) -> npt.NDArray[Any]:
        """(n_clusters_, n_features_in_) in original units, as ``cluster_centers_``."""
        return self.cluster_centers_

    @property
    def covariance_type_(self) -> str:
        """Of ``covariances_``."""
        check_is_fitted(self)
        return geometry.covariances(self.model_, tuple(self._internal()))[0]

    @property
    def covariances_(self) -> Floats:
        """In original units, shaped as scikit-learn's of ``covariance_type_``."""
        check_is_fitted(self)
        return geometry.covariances(self.model_, tuple(self._internal()))[1]

    def predict_proba(self, X: Any) -> Floats:
        """(n, n_clusters_) posteriors, of tables in memory."""
        with told():
            x = self._block(X).astype(np.float64)
        model = self._mixture
        const, factor = model.factors()
        levels = np.empty((x.shape[1], model.k))
        for c in range(model.k):
            z = np.zeros(x.shape[1])
            for line in factor[c]:  # in a fixed order: a row's result is its own
                part = np.zeros(x.shape[1])
                for j in np.flatnonzero(line):
                    part += line[j] * (x[j] - model.means[c, j])
                z += part * part
            levels[:, c] = const[c] - 0.5 * z
        levels = np.exp(levels - levels.max(axis=1, keepdims=True))
        return np.asarray(levels / levels.sum(axis=1, keepdims=True))

    def score_samples(self, X: Any) -> Floats:
        """(n,) log densities in scaled space, of tables in memory."""
        with told():
            x = self._block(X)
        return np.asarray(self._mixture.log_density(x), np.float64)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean log density."""
        del y
        return float(self.score_samples(X).mean())
