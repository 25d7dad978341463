"""Fitted places and shapes in the columns' original units."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.estimators.problems import ParameterError
from segpipe.models.fitted import Fitted
from segpipe.models.inputs import Input
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats


def places(fitted: Fitted, columns: tuple[str, ...], scaled: Floats) -> npt.NDArray[Any]:
    """(k, columns) in original units: floats, or objects where categories are among them.

    A category is the level that fits the place best. Columns that were left out, because they say
    nothing, stand with their only value; NaN if they had none.
    """
    found = fitted.scaler.restore(scaled)
    words = [i.name for i in fitted.scaler.inputs if i.kind != "number"]
    out: npt.NDArray[Any] = np.full((len(scaled), len(columns)), np.nan, object if words else float)
    constant = constants(fitted)
    for j, name in enumerate(columns):
        out[:, j] = found[name] if name in found else constant.get(name, np.nan)
    return out


def constants(fitted: Fitted) -> dict[str, Any]:
    """The value of each column that was left out since it has no other."""
    found: dict[str, Any] = {}
    for name, why in fitted.scaler.dropped:
        word, _, value = why.partition(" ")
        if word == "constant" and name in fitted.numeric:
            found[name] = float(value)
        elif word == "constant":
            found[name] = value.strip("'")
    return found


def linear(fitted: Fitted, what: str) -> tuple[Input, ...]:
    """The inputs, if each is a number that is only shifted and divided.

    Raises
    ------
    ParameterError
        Categories or logarithms are among them.
    """
    curved = [i.name for i in fitted.scaler.inputs if i.kind != "number" or i.log]
    if curved:
        raise ParameterError(
            f"{what}: {curved} enter as categories or logarithms, which no linear scale undoes.",
            "fit with scale='standard', 'robust' or 'none' and numbers only",
        )
    return fitted.scaler.inputs


def covariances(fitted: Fitted, columns: tuple[str, ...]) -> tuple[str, Floats]:
    """Type and covariances of a mixture in original units; ParameterError as of ``linear``.

    Spherical ones become diagonal where columns have different scales; columns that were left out
    have variance 0.
    """
    model = fitted.model
    assert isinstance(model, MixtureModel)
    inputs = linear(fitted, "covariances_")
    scale = np.array([i.scale for i in inputs])
    at = np.array([columns.index(i.name) for i in inputs])
    d, kind = len(columns), model.covariance_type
    if kind == "spherical" and len(at) == d and (scale == scale[0]).all():
        return kind, np.asarray(model.covariances * scale[0] ** 2)
    if model.diagonal:
        diag = np.zeros((model.k, d))
        shape = model.covariances if kind == "diag" else model.covariances[:, None]
        diag[:, at] = shape * scale**2
        return "diag", diag
    wide = np.zeros((*model.covariances.shape[:-2], d, d))
    wide[..., at[:, None], at[None, :]] = model.covariances * np.outer(scale, scale)
    return kind, wide


def block(fitted: Fitted, table: pa.Table) -> Block:
    """(features, rows) scaled rows of a small table, as the fit saw them."""
    from segpipe.estimators.saying import Whole, contract_of, each_batch

    typed = Whole(contract_of(table.schema, fitted))
    parts = each_batch(table, lambda batch: fitted.scaler.transform(typed(batch)))
    if not parts:
        return np.empty((fitted.scaler.width, 0), np.float32)
    return np.ascontiguousarray(np.concatenate(parts, axis=1))
