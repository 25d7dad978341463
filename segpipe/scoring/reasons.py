"""Why a flagged row is unusual: the input columns that lie farthest from the usual place nearby."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe import schema
from segpipe.kernels import nearest as kernel
from segpipe.kernels.cells import numbers, texts
from segpipe.models.detectors import Usual
from segpipe.models.scaler import Scaler
from segpipe.values import Block, Detector, Floats, SegmentModel

REASONS = 3


def reasons(
    batch: pa.RecordBatch,
    x: Block,
    flagged: npt.NDArray[np.bool_],
    scaler: Scaler,
    model: SegmentModel,
    detector: Detector,
) -> pa.Array:
    """Column of ``schema.REASON_TYPE``, null for rows that are not flagged.

    At most three inputs a row, the largest share first. A share is the input's part of the row's
    squared distance to its usual place: the mean of the rows that the mass score looked at, or
    the nearest centre where the method has no such place. ``value`` and ``usual`` are in
    original units.
    """
    rows = np.flatnonzero(flagged)
    odd: Block = np.ascontiguousarray(x[:, rows])
    place = usual_place(odd, model, detector)
    share = _shares(odd, place, scaler)
    count = min(REASONS, len(scaler.inputs))
    best = np.argsort(-share, axis=0, kind="stable")[:count]
    part = np.take_along_axis(share, best, axis=0)
    value, usual = _texts(batch.take(pa.array(rows)), place, best, scaler)
    kept = (part > 0).T.ravel()  # row by row, the first reason first
    names = np.array([item.name for item in scaler.inputs], dtype=object)
    fields = [
        pa.array(names[best].T.ravel()[kept], pa.string()),
        pa.array(part.T.ravel()[kept], pa.float64()),
        pa.array(value.T.ravel()[kept], pa.string()),
        pa.array(usual.T.ravel()[kept], pa.string()),
    ]
    length = np.zeros(len(flagged) + 1, np.int64)
    length[rows + 1] = (part > 0).sum(axis=0)
    return pa.ListArray.from_arrays(
        pa.array(np.cumsum(length).astype(np.int32)),
        pa.StructArray.from_arrays(fields, fields=list(schema.REASON_TYPE.value_type)),
        type=schema.REASON_TYPE,
        mask=pa.array(~flagged),
    )


def usual_place(x: Block, model: SegmentModel, detector: Detector) -> Floats:
    """(d, n) scaled place that each row is compared with."""
    if isinstance(detector, Usual):
        return detector.usual(x)
    if model.k == 0:
        return np.zeros(x.shape)
    at, _, _ = kernel.nearest(x, model.centres)
    return np.ascontiguousarray(model.centres[at].T)


def _shares(x: Block, place: Floats, scaler: Scaler) -> Floats:
    """(inputs, n) share of each input column in the squared distance; all 0 at the place itself."""
    total = np.zeros((len(scaler.inputs), x.shape[1]))
    for j, i in enumerate(scaler.source):
        step = x[j].astype(np.float64) - place[j]
        total[i] += step * step
    whole = np.zeros(x.shape[1])
    for row in total:
        whole += row
    return np.asarray(total / np.where(whole > 0, whole, 1.0))


def _texts(
    batch: pa.RecordBatch, place: Floats, best: npt.NDArray[np.intp], scaler: Scaler
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Value and usual value (reasons, n) of the chosen inputs, as text."""
    value, usual = np.empty(best.shape, object), np.empty(best.shape, object)
    restored = scaler.restore(place.T)
    for i, item in enumerate(scaler.inputs):
        rank, row = np.nonzero(best == i)
        if not len(row):
            continue
        column = batch.column(item.name).take(pa.array(row))
        found: Sequence[Any] = (
            numbers(column).tolist() if item.kind == "number" else texts(column).to_pylist()
        )
        for r, n, v, u in zip(rank, row, found, restored[item.name][row].tolist(), strict=True):
            value[r, n], usual[r, n] = as_text(v), as_text(u)
    return value, usual


def as_text(value: float | str | None) -> str:
    """A cell for people: whole numbers whole, others to six digits, no value as ``missing``."""
    if value is None or (isinstance(value, float) and not np.isfinite(value)):
        return "missing"
    if isinstance(value, str):
        return value
    if float(value).is_integer() and abs(value) < 1e15:
        return str(int(value))
    return f"{value:.6g}"
