"""A frozen model as a fitted scikit-learn pipeline, which needs no segpipe to predict."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from segpipe.estimators.geometry import linear
from segpipe.estimators.problems import ParameterError
from segpipe.kernels.quantise import GRID, LIMIT
from segpipe.models.fitted import Fitted
from segpipe.models.inputs import Input
from segpipe.models.kmeans import KMeansModel
from segpipe.models.merged import MergedModel
from segpipe.models.mixture import MixtureModel
from segpipe.values import Floats, SegmentModel


def convert(fitted: Fitted, columns: Sequence[str], named: bool) -> Any:
    """Impute, scale, clip, round to the grid, then the model: the very numbers that we compare.

    Parameters
    ----------
    columns : of the fitted table, in order
    named : whether tables with these names will be given, rather than arrays

    Raises
    ------
    ParameterError
        Categories or logarithms enter, or the model is one of density.
    """
    from sklearn.compose import ColumnTransformer
    from sklearn.pipeline import Pipeline

    model = _model(fitted.model)
    inputs = linear(fitted, "to_sklearn")
    steps: list[tuple[str, Any]] = []
    kept = [list(columns).index(item.name) for item in inputs]
    if kept != list(range(len(columns))):
        pick = ColumnTransformer([("kept", "passthrough", kept)])
        steps.append(("pick", pick.fit(np.zeros((1, len(columns))))))
    steps += [*_scaling(inputs), (type(model).__name__.lower(), model)]
    if named:
        steps[0][1].feature_names_in_ = np.array(columns, object)
    return Pipeline(steps)


def _scaling(inputs: Sequence[Input]) -> list[tuple[str, Any]]:
    from sklearn.impute import SimpleImputer
    from sklearn.preprocessing import FunctionTransformer

    d = len(inputs)
    fill = np.array([[item.fill for item in inputs]])
    centre = np.array([item.centre for item in inputs])
    step = np.array([item.scale for item in inputs]) / GRID
    ends = {"a_min": -LIMIT, "a_max": LIMIT}
    return [
        ("impute", SimpleImputer(strategy="median").fit(fill)),
        ("scale", _standard(centre, step)),
        ("clip", FunctionTransformer(np.clip, kw_args=ends).fit(fill)),
        ("round", FunctionTransformer(np.rint).fit(fill)),
        ("unit", _standard(np.zeros(d), np.full(d, GRID))),
    ]


def _standard(centre: Floats, step: Floats) -> Any:
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(np.zeros((1, len(centre))))
    scaler.mean_, scaler.scale_, scaler.var_ = centre, step, step**2
    return scaler


def _model(model: SegmentModel) -> Any:
    if isinstance(model, KMeansModel):
        return _kmeans(model)
    if isinstance(model, MixtureModel):
        return _mixture(model)
    if isinstance(model, MergedModel):
        return _nearest(model)
    raise ParameterError(
        f"scikit-learn's {model.kind} cannot label new rows, and no other estimator of it draws "
        "the same borders.",
        "predict with this one, or save it",
    )


def _kmeans(model: KMeansModel) -> Any:
    from sklearn.cluster import KMeans

    # Rows are compared with centres as float32.
    centres = model.centres.astype(np.float32).astype(np.float64)
    made = KMeans(model.k, init=centres, n_init=1, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of centres that lie on one another
        made.fit(centres)
    made.cluster_centers_, made.labels_ = centres, np.arange(model.k, dtype=np.int32)
    return made


def _mixture(model: MixtureModel) -> Any:
    from sklearn.mixture import GaussianMixture

    kind, d = model.covariance_type, model.means.shape[1]
    made = GaussianMixture(model.k, covariance_type=kind)
    made.weights_, made.means_, made.covariances_ = model.weights, model.means, model.covariances
    # scikit-learn's factor is upper: covariance^-1 = factor factor', so ours transposed.
    if kind in ("full", "tied"):
        factor = np.ascontiguousarray(np.swapaxes(model.factors()[1], 1, 2))
        factor = factor if kind == "full" else factor[0]
        made.precisions_ = factor @ np.swapaxes(factor, -1, -2)
    else:
        factor = 1.0 / np.sqrt(model.covariances)
        made.precisions_ = factor**2
    made.precisions_cholesky_ = factor
    made.converged_, made.n_iter_, made.n_features_in_ = True, 0, d
    return made


def _nearest(model: MergedModel) -> Any:
    from sklearn.neighbors import KNeighborsClassifier

    micro = model.micro.astype(np.float32).astype(np.float64)
    return KNeighborsClassifier(n_neighbors=1, algorithm="brute").fit(micro, model.group)
