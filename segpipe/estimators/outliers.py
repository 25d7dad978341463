"""The outlier score as an estimator, with scikit-learn's signs and with ours."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import OutlierMixin
from sklearn.utils.validation import check_is_fitted

from segpipe import schema
from segpipe.config import Config
from segpipe.estimators.base import Estimator, told
from segpipe.estimators.fitting import Prepared, bundle, detected, segmented
from segpipe.estimators.problems import ParameterError
from segpipe.estimators.rows import LAZY, kind_of
from segpipe.estimators.saying import PREDICTION, all_reasons, say_table
from segpipe.models.calibration import Calibration
from segpipe.models.kmeans import KMeansModel
from segpipe.stages import learn, orders
from segpipe.values import Floats, SegmentModel

USUAL = 0.01
"""The share that is flagged unless the threshold is named."""


class OutlierScorer(OutlierMixin, Estimator):  # type: ignore[misc]
    """How unusual rows are, calibrated on the fitted table.

    Two conventions meet, so both are offered by name. Ours, as in the label table:
    ``outlier_score`` is higher = more unusual, ``outlier_quantile`` and ``outlier_p`` say what a
    score means. scikit-learn's (``OutlierMixin``): ``predict`` is +1 for usual rows and -1 for
    outliers, ``score_samples`` is minus the outlier score (higher = more usual) and
    ``decision_function`` is below 0 for outliers. PyOD's sign is that of ``outlier_score``.

    Parameters
    ----------
    method : "mass", "ensemble", "isolation_forest", "segment", "hdbscan", "dbscan", or "auto":
        what ``segpipe run`` takes for tables of columns
    contamination : share of the rows to flag; "auto" = .01, unless one of the next two is given
    fdr : share of the flagged rows that may be usual ones (Benjamini-Hochberg)
    top_n : number of rows to flag
    mass : share of the data that the mass score looks at
    collapse : "auto" = "none", or "exact": equal rows count once in what is usual (logs)
    density_rows, min_share : of the density methods
    k, k_max : of the segments, which only the method "segment" fits

    The others are those of ``KMeans``.

    Attributes
    ----------
    scores_ : (n,) outlier scores of the fitted rows; only of tables in memory
    threshold_ : float
        Scores at or above it are outliers.
    offset_ : float
        ``decision_function = score_samples - offset_``; a row at the threshold itself is outside.
    """

    scores_: Floats
    notes_: list[str]

    def __init__(
        self,
        method: str = "auto",
        *,
        contamination: float | str = "auto",
        fdr: float | None = None,
        top_n: int | None = None,
        mass: float = 0.05,
        collapse: str = "auto",
        density_rows: int = 20_000,
        min_share: float = 0.005,
        k: int | str = "auto",
        k_max: int = 12,
        sample_rows: int = 200_000,
        columns: Sequence[str] | None = None,
        categorical: str | Sequence[str] = "auto",
        scale: str = "auto",
        random_state: int = 0,
    ) -> None:
        self.method = method
        self.contamination = contamination
        self.fdr = fdr
        self.top_n = top_n
        self.mass = mass
        self.collapse = collapse
        self.density_rows = density_rows
        self.min_share = min_share
        self.k = k
        self.k_max = k_max
        self.sample_rows = sample_rows
        self.columns = columns
        self.categorical = categorical
        self.scale = scale
        self.random_state = random_state

    def _configured(self) -> Config:
        if self.method == "none":
            raise ParameterError("method='none' scores nothing.", "leave it at 'auto'")
        given = {"contamination": self.contamination, "fdr": self.fdr, "top_n": self.top_n}
        threshold = {k: v for k, v in given.items() if v is not None and not isinstance(v, str)}
        if isinstance(self.contamination, str) and self.contamination != "auto":
            raise ParameterError(f"contamination is {self.contamination!r}.", "a share, or 'auto'")
        threshold = {
            k: v.item() if isinstance(v, np.generic) else v for k, v in threshold.items()
        } or {"contamination": USUAL}
        fit = {n: getattr(self, n) for n in ("density_rows", "min_share", "k", "k_max")}
        outliers = {
            "method": self.method, "threshold": threshold, "mass": self.mass,
            "collapse": self.collapse,
        }  # fmt: skip
        return self._settings(fit=fit, outliers=outliers)

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit the reference of usual rows and calibrate the scores on all rows of ``X``.

        Parameters
        ----------
        X : array, pandas, Polars or Arrow table, or Dask or Spark DataFrame
        y : ignored, there for scikit-learn's pipelines
        sample_weight : (n,) how many rows each row counts as in the reference, or the name of a
            column of ``X``; the threshold's share is one of rows, whatever they weigh

        Raises
        ------
        DataValueError, ParameterError
            Both are ValueErrors.
        """
        del y
        with told():
            config = self._configured()
            with self._given(X, config, sample_weight) as (given, table):
                model = self._segments(given, config)
                detector, calibration = detected(given, model)
                self.model_ = bundle(given, model, detector, calibration, None, self._told())
            self.notes_ = given.seen.warnings(given.plan.warnings)
            if table is not None:
                said = say_table(table, self.model_, schema.SCORE)
                self.scores_ = said.to_numpy(zero_copy_only=False)
            elif hasattr(self, "scores_"):
                del self.scores_
        return self

    def _segments(self, given: Prepared, config: Config) -> SegmentModel:
        """Only the segment score asks for segments; the others have one, the centre of all."""
        seen = given.seen
        if orders.method_of(config) == "segment":
            return segmented(given, learn.choose(seen, config.fit, config.seed))[0]
        mean = (seen.w * seen.x.astype(np.float64)).sum(axis=1) / seen.w.sum()
        return KMeansModel(mean[None, :], "kmeans", seen.scaler.unit)

    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """``fit``, then ``predict`` of the same rows."""
        return self.fit(X, y, sample_weight).predict(X)

    @property
    def _calibration(self) -> Calibration:
        check_is_fitted(self)
        assert self.model_.calibration is not None
        return self.model_.calibration

    @property
    def threshold_(self) -> float:
        """Outlier scores at or above it are outliers."""
        return self._calibration.threshold

    @property
    def offset_(self) -> float:
        """Minus the largest score that is still usual: at the threshold a row is an outlier."""
        return -float(np.nextafter(self.threshold_, -np.inf))

    def predict(self, X: Any) -> Any:
        """+1 for usual rows, -1 for outliers.

        A table in memory gives (n,) int32; a Dask frame a lazy Series; a Spark frame that frame
        with one more lazy column, ``prediction``.
        """
        return self._say(X, PREDICTION)

    def outlier_score(self, X: Any) -> Any:
        """The raw score, higher = more unusual, as ``outlier_score`` of the label table."""
        return self._say(X, schema.SCORE)

    def outlier_quantile(self, X: Any) -> Any:
        """0..1, share of the fitted rows that score lower."""
        return self._say(X, schema.QUANTILE)

    def outlier_p(self, X: Any) -> Any:
        """Chance, above 0, that a usual row scores so high."""
        return self._say(X, schema.P)

    def is_outlier(self, X: Any) -> Any:
        """Whether each row scores at or above the threshold."""
        return self._say(X, schema.FLAG)

    def score_samples(self, X: Any) -> Floats:
        """(n,) minus the outlier score: higher = more usual, scikit-learn's sign."""
        self._in_memory_only(X)
        return -np.asarray(self.outlier_score(X))

    def decision_function(self, X: Any) -> Floats:
        """(n,) ``score_samples(X) - offset_``: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def reasons(self, X: Any, *, flagged_only: bool = True) -> Any:
        """Per row the columns that make it unusual, the largest share first.

        Each reason is a dict of feature, share (of the squared distance to the usual place nearby),
        value and usual (texts in original units). Rows that are not flagged have None, unless
        ``flagged_only`` is False. Lazy frames give a lazy column ``outlier_reasons`` of flagged
        rows.
        """
        if kind_of(X) in LAZY and flagged_only:
            return self._say(X, schema.REASONS)
        with told():
            return all_reasons(self._known(X), self.model_, flagged_only)

    def _in_memory_only(self, x: Any) -> None:
        check_is_fitted(self)
        if kind_of(x) in LAZY:
            raise ParameterError(
                "score_samples and decision_function take tables in memory.",
                "use outlier_score, which stays lazy",
            )
