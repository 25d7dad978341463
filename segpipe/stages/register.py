"""Models in the lake: saved beside the labels, loaded to score new rows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.errors import ConfigError, DataError
from segpipe.features.plan import Built, Plan
from segpipe.lake.record import model_folder
from segpipe.lake.uris import absolute, locate
from segpipe.models import persist
from segpipe.models.calibration import Calibration
from segpipe.models.fitted import Fitted
from segpipe.models.lens import LensDetector
from segpipe.models.scaler import Scaler
from segpipe.models.strata import Strata
from segpipe.values import Detector, Floats, SegmentModel


def model_id(run_key: str) -> str:
    """Short and the same for the same inputs: equal runs fit equal models."""
    return hashlib.sha256(f"model {run_key}".encode()).hexdigest()[:16]


def plan_text(plan: Plan) -> str:
    """What a feature set was asked, as JSON."""
    asked = plan.request
    return json.dumps(
        {
            "keys": asked.keys,
            "columns": asked.columns,
            "categorical": asked.categorical,
            "numeric": plan.numeric,
            "category_columns": plan.categorical,
        },
        sort_keys=True,
    )


def fitted_of(
    identity: str,
    features_set: str,
    plan: Plan,
    built: Built,
    scaler: Scaler,
    model: SegmentModel,
    detector: Detector | None,
    calibration: Calibration | None,
    names: Mapping[int, str],
    quality: Mapping[str, Any],
    weight_scale: float | None = None,
    strata: Strata | None = None,
) -> Fitted:
    """The bundle that scores new rows."""
    return Fitted(
        identity,
        features_set,
        plan_text(plan),
        built.keys,
        built.numeric,
        built.categorical,
        scaler,
        model,
        detector,
        calibration,
        tuple(sorted(names.items())),
        tuple(
            (name, None if value is None else float(value))
            for name, value in sorted(quality.items())
        ),
        weight_scale=weight_scale,
        strata=strata,
    )


def save_fitted(target_uri: str, fitted: Fitted) -> str:
    """Write the model beside the labels; returns its address."""
    place = model_folder(target_uri, fitted.model_id)
    filesystem, path = locate(place)
    persist.save(fitted, path, filesystem)
    return place


def load_fitted(uri: str) -> Fitted:
    """Read a saved model; ConfigError if the folder holds something else."""
    place = absolute(uri)
    filesystem, path = locate(place)
    found = persist.load(path, filesystem)
    if not isinstance(found, Fitted):
        raise ConfigError(f"{uri} holds a {type(found).__name__}, no fitted segpipe model.")
    return found


def check_same_features(fitted: Fitted, features_set: str, columns: Mapping[str, Any]) -> None:
    """ConfigError where a config would build other features than the model was fitted on."""
    if fitted.features != features_set:
        raise ConfigError(
            f"the model was fitted on features.set {fitted.features}, the config says "
            f"{features_set}.",
            "Score with the config that the model was fitted with.",
        )
    scalers = [fitted.scaler]
    if isinstance(fitted.detector, LensDetector):
        scalers.append(fitted.detector.scaler)
    needed = {i.name for s in scalers for i in s.inputs}
    needed |= set() if fitted.strata is None else {fitted.strata.column}
    lost = sorted(needed - set(columns))
    if lost:
        raise DataError(
            f"the model needs features {lost}; this config builds {sorted(columns)}.",
            "Map the missing columns under source.columns.",
        )


def rescaled(fitted: Fitted, scaler: Scaler) -> Floats:
    """The earlier model's centres as points of the new scaler's block.

    Raises
    ------
    ConfigError
        The two share no numeric features, so that there is nothing to start from.
    """
    known = fitted.scaler.restore(fitted.model.centres)
    lost = [i.name for i in scaler.inputs if i.name not in known]
    if lost:
        raise ConfigError(
            f"fit.warm_start: the earlier model knows nothing of {lost}.",
            "Start from a model of the same features, or leave fit.warm_start out.",
        )
    columns = {
        i.name: pa.array(
            known[i.name].tolist(), pa.float64() if i.kind == "number" else pa.string()
        )
        for i in scaler.inputs
    }
    block = scaler.transform(pa.RecordBatch.from_pydict(columns))
    return np.asarray(block.T, np.float64)
