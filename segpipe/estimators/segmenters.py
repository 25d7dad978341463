"""Estimators of segments: K-Means, mixtures, density, agglomeration, and the choice among them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import (
    ClassNamePrefixFeaturesOutMixin,
    ClusterMixin,
    DensityMixin,
    TransformerMixin,
)
from sklearn.utils.validation import check_is_fitted

from segpipe import schema
from segpipe.config import Config
from segpipe.estimators import geometry
from segpipe.estimators.base import Estimator, told
from segpipe.estimators.fitting import Prepared, bundle, segmented
from segpipe.estimators.rows import LAZY, kind_of
from segpipe.estimators.saying import say_table
from segpipe.fit.mixture import fit_mixture
from segpipe.fit.select import Decision
from segpipe.kernels import nearest
from segpipe.models.density import DensityModel
from segpipe.models.merged import MergedModel
from segpipe.models.mixture import MixtureModel
from segpipe.stages import learn
from segpipe.values import Block, Floats, Ints


class Segmenter(ClusterMixin, Estimator):  # type: ignore[misc]
    """Base: fits by the stages of ``segpipe run``, labels with the frozen model.

    Attributes
    ----------
    labels_ : (n,) int32
        Segments of the fitted rows, -1 for noise; only of tables in memory.
    n_clusters_ : int
        Segments found, noise not counted.
    inertia_ : float or None
        Squared distances to the segments' centres over all rows, in scaled space; None for shapes.
    why_ : text
        One sentence on what was chosen; ``decision_`` holds every number behind it.
    """

    labels_: Ints
    notes_: list[str]

    def _fit_section(self) -> Mapping[str, Any]:
        raise NotImplementedError

    def _decide(self, given: Prepared, config: Config) -> Decision:
        """The model on the sample."""
        return learn.choose(given.seen, config.fit, config.seed)

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit on the rows of ``X``.

        Parameters
        ----------
        X : array, pandas, Polars or Arrow table, or Dask or Spark DataFrame
            Numbers, or text that becomes categories. Missing numbers count as the median.
        y : ignored, there for scikit-learn's pipelines
        sample_weight : (n,) how many rows each row counts as, or the name of a column of ``X``

        Raises
        ------
        DataValueError, ParameterError
            Both are ValueErrors.
        """
        del y
        with told():
            config = self._settings(fit=self._fit_section())
            with self._given(X, config, sample_weight) as (given, table):
                decision = self._decide(given, config)
                model, inertia = segmented(given, decision)
                said = {"decision": json.dumps(decision.evidence), "why": decision.why}
                fitted = bundle(
                    given, model, None, None, inertia,
                    self._told() | said | {"natural": decision.natural},
                )  # fmt: skip
            self.model_ = fitted
            self.notes_ = given.seen.warnings(given.plan.warnings)
            if table is not None:
                self.labels_ = np.asarray(say_table(table, fitted, schema.SEGMENT_ID))
                self._remember(table)
            elif hasattr(self, "labels_"):
                del self.labels_
        return self

    def _remember(self, table: Any) -> None:
        """What else is kept of the fitted rows."""

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """``fit``, then what ``predict`` says of the same rows."""
        self.fit(X, y, sample_weight)
        return self.predict(X) if kind_of(X) in LAZY else self.labels_

    def predict(self, X: Any) -> Any:
        """Segment of each row, -1 for noise.

        A table in memory gives (n,) int32; a Dask frame a lazy Series with its partitions and
        index; a Spark frame that frame with one more lazy column, ``segment_id``.
        """
        return self._say(X, schema.SEGMENT_ID)

    def confidence(self, X: Any) -> Any:
        """0..1, how clearly each row belongs: posterior, 1 - d1/d2, or membership."""
        return self._say(X, schema.CONFIDENCE)

    def distance(self, X: Any) -> Any:
        """Distance to the segment's centre (shapes: to the nearest core), in scaled units."""
        return self._say(X, schema.DISTANCE)

    def _block(self, x: Any) -> Block:
        table = self._known(x)
        return geometry.block(self.model_, table)

    @property
    def n_clusters_(self) -> int:
        """Segments, noise not counted."""
        check_is_fitted(self)
        return self.model_.model.k

    @property
    def inertia_(self) -> float | None:
        """Squared distances in scaled space, over all fitted rows; None for shapes."""
        check_is_fitted(self)
        return dict(self.model_.quality).get("inertia")

    @property
    def why_(self) -> str:
        """One sentence."""
        return str(self._tell("why"))

    @property
    def decision_(self) -> dict[str, Any]:
        """Every number, threshold and rule of the choice, as ``decision.json`` holds them."""
        found: dict[str, Any] = json.loads(self._tell("decision") or "{}")
        return found

    @property
    def natural_segments_(self) -> bool:
        """Whether the data have segments of their own."""
        return bool(self._tell("natural"))

    @property
    def cluster_centers_(self) -> npt.NDArray[Any]:
        """(n_clusters_, n_features_in_) centres in original units; ``model_`` has them scaled.

        Of logarithmic columns the mean of the logarithms; of categories the level that fits best.
        """
        check_is_fitted(self)
        return geometry.places(self.model_, tuple(self._internal()), self.model_.model.centres)

    def to_sklearn(self) -> Any:
        """A fitted scikit-learn pipeline that predicts the same labels from arrays.

        Raises
        ------
        ParameterError
            There is no faithful equivalent.
        """
        from segpipe.estimators.to_sklearn import convert

        check_is_fitted(self)
        return convert(self.model_, self._internal(), hasattr(self, "feature_names_in_"))

    def to_mllib(self, spark: Any) -> Any:
        """A fitted ``pyspark.ml`` PipelineModel that adds ``prediction`` to raw columns.

        Raises
        ------
        ParameterError
            There is no faithful equivalent, or ``spark`` is a Connect session.
        """
        from segpipe.estimators.to_mllib import convert

        check_is_fitted(self)
        with told():
            return convert(self.model_, spark)


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


class Agglomerative(Segmenter):
    """Agglomeration: a tree of weighted micro-clusters, cut at k, merged back to all rows.

    Parameters
    ----------
    k : number of segments, or "auto"

    The others are those of ``KMeans``.
    """

    def __init__(
        self,
        k: int | str = "auto",
        *,
        k_max: int = 12,
        n_init: int = 10,
        min_share: float = 0.005,
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
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _fit_section(self) -> Mapping[str, Any]:
        names = ("k", "k_max", "n_init", "min_share")
        return {"model": "agglomerative", **{name: getattr(self, name) for name in names}}

    @property
    def linkage_matrix_(self) -> Floats | None:
        """(m - 1, 4) SciPy linkage of the m micro-clusters; None where there is one segment."""
        check_is_fitted(self)
        model = self.model_.model
        return model.height if isinstance(model, MergedModel) else None


class _Density(Segmenter):
    """What the density models share."""

    @property
    def _density(self) -> DensityModel:
        check_is_fitted(self)
        model = self.model_.model
        assert isinstance(model, DensityModel)
        return model

    @property
    def found_(self) -> dict[str, float]:
        """What the fit found: noise_share, dbcv, smallest_group, and the settings it took."""
        return dict(self._density.evidence)


class HDBSCAN(_Density):
    """HDBSCAN of a sample, every row labelled by its nearest core; needs the density extra.

    Attributes
    ----------
    probabilities_ : (n,) membership of the fitted rows, 0 for noise; of tables in memory
    """

    probabilities_: Floats

    def __init__(
        self,
        *,
        min_share: float = 0.005,
        density_rows: int = 20_000,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
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

    def _remember(self, table: Any) -> None:
        said = say_table(table, self.model_, schema.CONFIDENCE)
        self.probabilities_ = said.to_numpy(zero_copy_only=False)


class DBSCAN(_Density):
    """DBSCAN of a sample, every row labelled by its nearest core.

    Attributes
    ----------
    core_sample_indices_ : (m,) fitted rows that are cores; of tables in memory
    """

    core_sample_indices_: npt.NDArray[np.intp]

    def __init__(
        self,
        *,
        min_share: float = 0.005,
        density_rows: int = 20_000,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
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
