"""Gaussian mixtures: full, tied, diagonal and spherical covariances."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segpipe.errors import DataError
from segpipe.kernels import nearest
from segpipe.values import Block, Floats, Labels

COVARIANCES = ("full", "tied", "diag", "spherical")


@dataclass(frozen=True, slots=True, eq=False)
class MixtureModel:
    """k Gaussians in scaled space; component i is segment i."""

    weights: Floats
    """(k,), sums to 1."""
    means: Floats
    """(k, d)."""
    covariances: Floats
    """full (k, d, d), tied (d, d), diag (k, d), spherical (k,)."""
    covariance_type: str = "full"
    unit: float = 1.0
    """Distances written to the label table are Euclidean distances to the mean times this."""

    @property
    def kind(self) -> str:
        """Gmm, as the run summary calls it."""
        return "gmm"

    @property
    def k(self) -> int:
        """Number of components."""
        return int(self.means.shape[0])

    @property
    def centres(self) -> Floats:
        """(k, d) means."""
        return self.means

    def full_covariances(self) -> Floats:
        """(k, d, d) whatever the type."""
        k, d = self.means.shape
        eye = np.eye(d)
        if self.covariance_type == "full":
            return self.covariances
        if self.covariance_type == "tied":
            return np.broadcast_to(self.covariances, (k, d, d)).copy()
        if self.covariance_type == "diag":
            return self.covariances[:, :, None] * eye
        return self.covariances[:, None, None] * eye

    @property
    def diagonal(self) -> bool:
        """No covariance between features."""
        return self.covariance_type in ("diag", "spherical")

    def factors(self) -> tuple[Floats, Floats]:
        """(k,) log weight minus log normaliser, and (k, d, d) inverse lower Cholesky factors.

        Raises
        ------
        DataError
            A covariance is not positive definite.
        """
        d = self.means.shape[1]
        try:
            lower = np.linalg.cholesky(self.full_covariances())
        except np.linalg.LinAlgError as error:
            raise DataError(
                f"a {self.covariance_type} covariance of the mixture is not positive definite.",
                "use fewer components or fit.covariance: diag",
            ) from error
        log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
        with np.errstate(divide="ignore"):  # an empty component: weight 0, never chosen
            const = np.log(self.weights) - 0.5 * d * math.log(2 * math.pi) - log_det
        return const, np.tril(np.linalg.inv(lower))

    def label(self, x: Block) -> Labels:
        """Likeliest component, its posterior, Euclidean distance to its mean."""
        from segpipe.kernels import mixture

        const, factor = self.factors()
        segment, p, _ = mixture.posterior(x, const, self.means, factor, self.diagonal)
        distance = np.sqrt(nearest.squared_error(x, segment, self.means)) * self.unit
        return Labels(segment, np.clip(p, 0.0, 1.0), distance)

    def log_density(self, x: Block) -> Floats:
        """Log density (n,) of each row in scaled space."""
        from segpipe.kernels import mixture

        const, factor = self.factors()
        return mixture.posterior(x, const, self.means, factor, self.diagonal)[2]

    @property
    def parameters(self) -> int:
        """Free parameters, as BIC counts them."""
        k, d = self.k, int(self.means.shape[1])
        free = {
            "full": k * d * (d + 1) // 2,
            "tied": d * (d + 1) // 2,
            "diag": k * d,
            "spherical": k,
        }
        return free[self.covariance_type] + k * d + k - 1

    def bic(self, log_likelihood: float, rows: float) -> float:
        """Bayesian information criterion, lower is better: p log n - 2 log L."""
        return self.parameters * math.log(rows) - 2.0 * log_likelihood

    def reordered(self, order: npt.NDArray[np.intp]) -> MixtureModel:
        """The same model with component ``order[i]`` renamed to i."""
        tied = self.covariance_type == "tied"
        return replace(
            self,
            weights=self.weights[order],
            means=np.ascontiguousarray(self.means[order]),
            covariances=self.covariances if tied else np.ascontiguousarray(self.covariances[order]),
        )
