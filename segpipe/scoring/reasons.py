"""Why a flagged row is unusual: the input columns that lie farthest from the usual place nearby."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe import schema
from segpipe.kernels import nearest as kernel
from segpipe.kernels.cells import numbers, texts
from segpipe.models.detectors import Usual
from segpipe.models.lens import LensDetector
from segpipe.models.scaler import Scaler
from segpipe.values import Block, Detector, Floats, SegmentModel

REASONS = 3
EXACT = 1e15
"""Whole numbers below it are written with all their digits."""


def reasons(
    batch: pa.RecordBatch,
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
    told = batch.take(pa.array(rows))
    if isinstance(detector, LensDetector):
        scaler, detector = detector.scaler, detector.inner
    odd = scaler.transform(told)
    place = usual_place(odd, model, detector)
    share = _shares(odd, place, scaler)
    count = min(REASONS, len(scaler.inputs))
    best = np.argsort(-share, axis=0, kind="stable")[:count]
    part = np.take_along_axis(share, best, axis=0)
    kept = np.flatnonzero((part > 0).T.ravel())  # row by row, the first reason first
    value, usual = _texts(told, place, best, scaler)
    names = pa.array([item.name for item in scaler.inputs], pa.string())
    fields = [
        names.take(pa.array(best.T.ravel()[kept])),
        pa.array(part.T.ravel()[kept], pa.float64()),
        value.take(pa.array(kept)),
        usual.take(pa.array(kept)),
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
) -> tuple[pa.Array, pa.Array]:
    """Value and usual value of the chosen inputs as text, (n * reasons,), row by row."""
    count = best.shape[0]
    restored = scaler.restore(place.T)
    size = best.size
    value, usual, words = np.zeros(size), np.zeros(size), np.zeros(size, bool)
    at: list[npt.NDArray[np.intp]] = [np.empty(0, np.intp)]
    said, near = [pa.array([], pa.string())], [pa.array([], pa.string())]
    for i, item in enumerate(scaler.inputs):
        rank, row = np.nonzero(best == i)
        if not len(row):
            continue
        column, place_of = batch.column(item.name).take(pa.array(row)), restored[item.name][row]
        where = row * count + rank
        if item.kind == "number":
            value[where], usual[where] = numbers(column), place_of
            continue
        words[where] = True
        at.append(where)
        said.append(texts(column))
        near.append(pa.array(place_of, pa.string()))
    if not words.any():
        return as_texts(value), as_texts(usual)
    # Rows of text lie behind the numbers, and are taken to their places.
    source = np.arange(size)
    source[np.concatenate(at)] = size + np.arange(int(words.sum()))
    return tuple(  # type: ignore[return-value]
        pa.concat_arrays([as_texts(found), *parts]).take(pa.array(source))
        for found, parts in ((value, said), (usual, near))
    )


def as_texts(values: Floats) -> pa.Array:
    """Numbers for people: whole ones whole, others to six digits, no value as ``missing``."""
    known = np.isfinite(values)
    safe = np.where(known, values, 0.0)
    whole = (safe == np.trunc(safe)) & (np.abs(safe) < EXACT)
    size = np.floor(np.log10(np.abs(np.where(safe == 0.0, 1.0, safe))))
    # Both operands are exact, so the quotient is the double nearest to the decimal: no 0.30000004.
    down, up = 10.0 ** np.clip(size - 5.0, 0.0, 22.0), 10.0 ** np.clip(5.0 - size, 0.0, 22.0)
    short = pa.array(np.rint(safe / down * up) / up * down).cast(pa.string())
    extreme = np.abs(size - 5.0) > 22.0  # powers of ten beyond are not exact
    if extreme.any():
        plain = [f"{v:.6g}" if e else None for v, e in zip(safe, extreme, strict=True)]
        short = pc.coalesce(pa.array(plain, pa.string()), short)
    written = pc.if_else(
        pa.array(whole),
        pa.array(np.where(whole, safe, 0.0).astype(np.int64)).cast(pa.string()),
        short,
    )
    return pc.if_else(pa.array(known), written, "missing")
