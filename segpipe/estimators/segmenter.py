"""What the estimators of segments share: one fit, labels, centres, ways out."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import ClusterMixin
from sklearn.utils.validation import check_is_fitted

from segpipe import schema
from segpipe.config import Config
from segpipe.estimators import geometry
from segpipe.estimators.base import Estimator, told
from segpipe.estimators.fitting import Prepared, bundle, segmented
from segpipe.estimators.rows import LAZY, kind_of
from segpipe.estimators.saying import say_table
from segpipe.fit.select import Decision
from segpipe.stages import learn
from segpipe.values import Block, Ints


class Segmenter(ClusterMixin, Estimator, ABC):  # type: ignore[misc]
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

    @abstractmethod
    def _fit_section(self) -> Mapping[str, Any]:
        """The config's section ``fit`` that the parameters amount to."""

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
        sample_weight : (n,) how many rows each row counts as, or the name of a column of ``X``,
            which is no feature then: name the others in ``columns`` to predict from whole tables

        A lazy frame is gone through three to six times: persist what is costly to make.

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
