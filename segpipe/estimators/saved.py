"""Estimators in the lake: the same folder that ``segpipe run`` saves its model as."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.errors import ConfigError
from segpipe.estimators.problems import ParameterError, told
from segpipe.estimators.saying import params_of
from segpipe.lake.uris import absolute, locate
from segpipe.models import persist
from segpipe.models.fitted import Fitted

KINDS = {
    "kmeans": "KMeans",
    "gmm": "GaussianMixture",
    "agglomerative": "Agglomerative",
    "hdbscan": "HDBSCAN",
    "dbscan": "DBSCAN",
}
"""The estimator around a model that a run has fitted; others become AutoCluster."""


def save(fitted: Fitted, uri: str) -> str:
    """Write JSON and npz into the folder; its address."""
    place = absolute(uri)
    filesystem, path = locate(place)
    persist.save(fitted, path, filesystem)
    return place


def load(uri: str) -> Any:
    """The estimator of a saved folder.

    A model of ``segpipe run`` (``model_uri`` of its summary) becomes the estimator of its kind,
    if its features are columns of a table.

    Raises
    ------
    ParameterError
        The folder holds something else, or features that need more than one row.
    """
    from segpipe import estimators

    with told():
        filesystem, path = locate(absolute(uri))
        fitted = persist.load(path, filesystem)
        if not isinstance(fitted, Fitted):
            raise ConfigError(f"{uri} holds a {type(fitted).__name__}, no fitted model.")
    if fitted.features != "columns":
        raise ParameterError(
            f"the model in {uri} describes rows by features.set {fitted.features}.",
            "an estimator takes feature columns; score it with segpipe score CONFIG --model URI",
        )
    found = params_of(fitted)
    name = found.get("estimator") or KINDS.get(fitted.model.kind, "AutoCluster")
    made = getattr(estimators, name)(**found.get("params", {}))
    names = found["columns"] or [*fitted.numeric, *fitted.categorical]
    made.model_, made.n_features_in_ = fitted, len(names)
    if found.get("named", True):
        made.feature_names_in_ = np.array(names, object)
        if "estimator" not in found:
            made.columns = list(names)
    made.notes_ = []
    return made
