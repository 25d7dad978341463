"""What all estimators share: parameters to settings, any table to rows, one frozen ``model_``."""

from __future__ import annotations

import contextlib
import numbers
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from segpipe.config import Config
from segpipe.estimators import rows as sources
from segpipe.estimators.fitting import Prepared, prepared, settings
from segpipe.estimators.problems import DataValueError, ParameterError, told
from segpipe.estimators.rows import LAZY
from segpipe.estimators.saying import params_of, say_lazily, say_table
from segpipe.models.fitted import Fitted

__all__ = ["Estimator", "told"]


class Estimator(BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; subclasses name their parameters and fit.

    Attributes
    ----------
    model_ : models.fitted.Fitted
        Scaler, segments, outlier reference and calibration: frozen, what ``segpipe run`` saves.
    n_features_in_ : int
        Columns of the table that was fitted (``columns``, where they are given).
    feature_names_in_ : (n_features_in_,) text, for tables whose columns have names.
    notes_ : list of text
        Columns left out because they say nothing, and values that were filled.
    """

    model_: Fitted
    columns: Sequence[str] | None
    categorical: Any
    scale: str
    sample_rows: int
    random_state: Any

    def __sklearn_tags__(self) -> Any:
        """Missing values are filled with the median, text columns become categories."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.target_tags.required = False
        return tags

    def _settings(self, **sections: Mapping[str, Any]) -> Config:
        """The parameters as a config.

        Raises
        ------
        ParameterError
            One is out of its range.
        """
        seed = self.random_state
        if isinstance(seed, bool) or not isinstance(seed, numbers.Integral):
            raise ParameterError(
                f"random_state is {seed!r}; equal rows give equal models here, so it is a seed.",
                "use a whole number from 0 to 4294967295",
            )
        features = {"categorical": self.categorical, "scale": self.scale}
        fit = {"sample_rows": self.sample_rows, **sections.pop("fit", {})}
        return settings(
            type(self).__name__, {"features": features, "fit": fit, **sections}, int(seed)
        )

    @contextlib.contextmanager
    def _given(
        self, x: Any, config: Config, sample_weight: Any
    ) -> Iterator[tuple[Prepared, pa.Table | None]]:
        """Rows described and scaled, and all of them as a table where they are in memory."""
        kind = sources.kind_of(x)
        x = sources.settled(x, kind)
        self._name(x, kind, sample_weight if isinstance(sample_weight, str) else None)
        if kind in LAZY:
            if sample_weight is not None and not isinstance(sample_weight, str):
                raise ParameterError(
                    f"sample_weight of a {kind} frame is the name of a column, "
                    f"not a {type(sample_weight).__name__}."
                )
            names = self._internal()
            with sources.opened(x, kind, names, sample_weight) as found:
                yield prepared(found, config, names), None
            return
        table, weights = self._in_memory(x, kind, sample_weight)
        names = self._internal()
        table = table.select(names)
        with sources.opened(sources.with_weight(table, weights), kind, names, None) as found:
            yield prepared(found, config, names), table

    def _name(self, x: Any, kind: str, weight: str | None) -> None:
        """Set what scikit-learn keeps of the names; arrays are named when they are read."""
        if kind != "array":
            head = self._picked(sources.header(x, kind), weight)
            validate_data(self, head, skip_check_array=True, reset=True)
        elif self.columns is not None:
            raise ParameterError(
                f"columns={list(self.columns)!r} picks columns by name; an array has none.",
                "give a table with named columns, or leave columns out",
            )

    def _picked(self, table: Any, weight: str | None = None) -> Any:
        """The chosen columns of a table with names, the weights left out."""
        have = list(table.column_names if isinstance(table, pa.Table) else table.columns)
        chosen = [c for c in have if c != weight] if self.columns is None else list(self.columns)
        if lost := [c for c in [*chosen, *([weight] if weight else [])] if c not in have]:
            raise DataValueError(f"columns {lost} are asked for; the table has {have}.")
        if chosen == have:
            return table
        return table.select(chosen) if isinstance(table, pa.Table) else table[chosen]

    def _internal(self) -> list[str]:
        """The fitted columns' names among our rows: their own, or x0, x1, ..."""
        names = getattr(self, "feature_names_in_", None)
        if names is None:
            return [f"x{i}" for i in range(self.n_features_in_)]
        return [str(n) for n in names]

    def _in_memory(self, x: Any, kind: str, weight: Any) -> tuple[pa.Table, Any]:
        """All rows as a table, and their weights."""
        if kind == "array":
            array = self._array(x, reset=True)
            table = sources.named(array, self._internal())
        else:
            table = sources.table_of(x)
            if len(set(table.column_names)) < table.num_columns:
                raise DataValueError(f"two columns bear one name: {table.column_names}.")
        if weight is None:
            return table, None
        if isinstance(weight, str):
            if weight not in table.column_names:
                raise DataValueError(
                    f"sample_weight names {weight!r}; the table has {table.column_names}."
                )
            weight = table.column(weight).to_numpy()
        lines = np.empty((table.num_rows, 1))
        found = _check_sample_weight(weight, lines, dtype=np.float64, ensure_non_negative=True)
        return table, found

    def _array(self, x: Any, *, reset: bool) -> np.ndarray[Any, Any]:
        found: np.ndarray[Any, Any] = validate_data(
            self,
            x,
            reset=reset,
            dtype=[np.float64, np.float32],
            ensure_all_finite=False,
            ensure_min_samples=2 if reset else 1,
        )
        return found

    def _table(self, x: Any, kind: str) -> pa.Table:
        """New rows in memory, under the fitted columns' names."""
        if kind == "array":
            return sources.named(self._array(x, reset=False), self._internal())
        picked = self._picked(sources.settled(x, kind))
        validate_data(self, sources.header(picked, kind), skip_check_array=True, reset=False)
        table, names = sources.table_of(picked), self._internal()
        return table if table.column_names == names else table.rename_columns(names)

    def _say(self, x: Any, name: str) -> Any:
        """Column ``name`` of what ``model_`` says of each row; see ``saying.SAYS``."""
        check_is_fitted(self)
        with told():
            kind = sources.kind_of(x)
            if kind in LAZY:
                return say_lazily(x, kind, self.model_, tuple(self._internal()), name)
            said = say_table(self._table(x, kind), self.model_, name)
            return said.to_numpy(zero_copy_only=False)

    def _known(self, x: Any) -> pa.Table:
        """Rows for what is only said of tables in memory."""
        check_is_fitted(self)
        kind = sources.kind_of(x)
        if kind in LAZY:
            raise ParameterError(
                f"this method takes tables in memory, not a {kind} frame.",
                "use predict, or call it on each partition (map_partitions, mapInPandas)",
            )
        return self._table(x, kind)

    def save(self, uri: str) -> str:
        """Write ``model_`` as JSON and npz, no pickle, into the folder ``uri``; returns it.

        ``segpipe.estimators.load`` reads it back, and ``segpipe score CONFIG --model uri`` labels
        a lake table with it. Labels and scores of the fitted rows are not kept.
        """
        from segpipe.estimators.saved import save

        check_is_fitted(self)
        with told():
            return save(self.model_, uri)

    @classmethod
    def load(cls, uri: str) -> Self:
        """The estimator that ``save`` wrote, or one around the model of a ``segpipe run``.

        Raises
        ------
        ParameterError
            The folder holds another kind of model.
        """
        from segpipe.estimators.saved import load

        found = load(uri)
        if not isinstance(found, cls):
            raise ParameterError(f"{uri} holds a {type(found).__name__}, no {cls.__name__}.")
        return found

    def _told(self) -> dict[str, Any]:
        """What ``save`` keeps beside the model, plain values."""
        names = getattr(self, "feature_names_in_", None)
        return {
            "estimator": type(self).__name__,
            "params": {k: _json(v) for k, v in self.get_params(deep=False).items()},
            "named": names is not None,
        }

    def _tell(self, key: str) -> Any:
        check_is_fitted(self)
        return params_of(self.model_).get(key)


def _json(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    return list(value) if isinstance(value, list | tuple) else value
