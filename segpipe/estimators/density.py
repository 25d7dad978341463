"""HDBSCAN and DBSCAN as estimators."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from segpipe import schema
from segpipe.config import Config
from segpipe.estimators import geometry
from segpipe.estimators.fitting import Prepared
from segpipe.estimators.problems import ParameterError
from segpipe.estimators.saying import say_table
from segpipe.estimators.segmenter import Segmenter
from segpipe.fit.density import fit_density
from segpipe.fit.order import ordered
from segpipe.fit.select import Decision
from segpipe.models.density import DensityModel
from segpipe.stages import learn
from segpipe.values import Floats


class _Density(Segmenter):
    """What the density models share."""

    @property
    def _density(self) -> DensityModel:
        check_is_fitted(self)
        model = self.model_.model
        assert isinstance(model, DensityModel)
        return model

    @abstractmethod
    def _asked(self) -> Mapping[str, Any]:
        """Settings given by the user, by ``fit_density``'s names."""

    def _decide(self, given: Prepared, config: Config) -> Decision:
        asked = {name: value for name, value in self._asked().items() if value is not None}
        if not asked:
            return learn.choose(given.seen, config.fit, config.seed)
        seen, fit, kind = given.seen, config.fit, config.fit.model
        if "eps" in asked:
            asked["eps"] = asked["eps"] / seen.scaler.unit
        fitted = fit_density(
            kind, seen.x, seen.w, rows=fit.density_rows, min_share=fit.min_share,
            seed=config.seed, unit=seen.scaler.unit, **asked,
        )  # fmt: skip
        model = ordered(fitted, seen.x, seen.w)
        why = f"{kind} was asked for with {self._asked()}; it found {model.k} segments"
        return Decision(model, kind, model.k, model.k >= 2, why, dict(fitted.evidence))

    def _number(self, name: str, least: float, whole: bool = True) -> Any:
        """A parameter that is "auto" (None) or a number of at least, or above, ``least``."""
        value = getattr(self, name)
        if value == "auto":
            return None
        kind = numbers.Integral if whole else numbers.Real
        good = isinstance(value, kind) and not isinstance(value, bool)
        if not good or not np.isfinite(value) or value < least or (value == 0 and not whole):
            span = f"a whole number from {least:.0f}" if whole else "a number above 0"
            raise ParameterError(f"{name} is {value!r}.", f"use 'auto' or {span}")
        return int(value) if whole else float(value)

    @property
    def found_(self) -> dict[str, float]:
        """What the fit found: noise_share, dbcv, smallest_group, and the settings it took.

        ``smallest_group`` is the size in rows of the smallest group that its sample can show;
        ``eps`` is in scaled units, like ``distance``.
        """
        told = dict(self._density.evidence)
        if "eps" in told:
            told["eps"] *= self.model_.scaler.unit
        return told


class HDBSCAN(_Density):
    """HDBSCAN of a sample, every row labelled by its nearest core; needs the density extra.

    Parameters
    ----------
    min_cluster_size : smallest cluster among the rows that HDBSCAN sees (``density_rows`` distinct
        ones at most), or "auto": several are tried, density validity chooses
    min_samples : neighbours that the density is measured by, among the same rows, or "auto"
    density_rows : distinct rows that the library sees, at most
    min_share : clusters with a smaller share of the table become noise

    The others are those of ``KMeans``.

    Attributes
    ----------
    probabilities_ : (n,) membership of the fitted rows, 0 for noise; of tables in memory
    """

    probabilities_: Floats

    def __init__(
        self,
        *,
        min_cluster_size: int | str = "auto",
        min_samples: int | str = "auto",
        min_share: float = 0.005,
        density_rows: int = 20_000,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.min_cluster_size = min_cluster_size
        self.min_samples = min_samples
        self.min_share = min_share
        self.density_rows = density_rows
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        return {
            "model": "hdbscan", "min_share": self.min_share, "density_rows": self.density_rows,
        }  # fmt: skip

    def _asked(self) -> Mapping[str, Any]:
        size = self._number("min_cluster_size", 2)
        return {"min_cluster_size": size, "min_samples": self._number("min_samples", 1)}

    def _remember(self, table: Any) -> None:
        said = say_table(table, self.model_, schema.CONFIDENCE)
        self.probabilities_ = said.to_numpy(zero_copy_only=False)


class DBSCAN(_Density):
    """DBSCAN of a sample, every row labelled by its nearest core within ``eps``.

    Parameters
    ----------
    eps : radius in scaled units (scale="none": the columns' own), or "auto": by the knee of the
        k-distances, density validity chooses around it
    min_samples : rows of the table within ``eps`` of a core, itself counted, or "auto"
    density_rows : distinct rows that the library sees, at most
    min_share : clusters with a smaller share of the table become noise; 0 keeps all

    The others are those of ``KMeans``.

    Attributes
    ----------
    core_sample_indices_ : (m,) fitted rows that are cores; of tables in memory
    """

    core_sample_indices_: npt.NDArray[np.intp]

    def __init__(
        self,
        *,
        eps: float | str = "auto",
        min_samples: int | str = "auto",
        min_share: float = 0.005,
        density_rows: int = 20_000,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.eps = eps
        self.min_samples = min_samples
        self.min_share = min_share
        self.density_rows = density_rows
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        return {
            "model": "dbscan", "min_share": self.min_share, "density_rows": self.density_rows,
        }  # fmt: skip

    def _asked(self) -> Mapping[str, Any]:
        eps = self._number("eps", 0.0, whole=False)
        return {"eps": eps, "min_samples": self._number("min_samples", 1)}

    def _remember(self, table: Any) -> None:
        _, _, plain = self._density.reach(geometry.block(self.model_, table))
        inside = (plain == 0) & (self.labels_ >= 0)
        self.core_sample_indices_ = np.flatnonzero(inside)

    @property
    def components_(self) -> npt.NDArray[Any]:
        """(c, n_features_in_) the distinct cores that rows are compared with, in original units."""
        cells = self._density.cells
        cores = cells.cores.T[np.argsort(cells.order)].astype(np.float64)
        return geometry.places(self.model_, tuple(self._internal()), cores)
