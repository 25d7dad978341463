"""Segment ids that mean something: along the first principal axis of the sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.values import Block, Floats, SegmentModel

DIGITS = 6
"""Loadings and projections are compared to so many decimals, so that a tie stays a tie."""


def principal_axis(x: Block, w: Floats) -> Floats:
    """First principal axis (d,) of the weighted sample, its largest loading positive.

    Of loadings equally large the first column decides; one feature, or no variance at all, gives
    the first unit vector's direction.
    """
    d, n = x.shape
    axis = np.eye(d)[0]
    if n > 1 and d > 1:
        rows = x.astype(np.float64)
        rows -= ((w * rows).sum(axis=1) / w.sum())[:, None]
        spread = (rows * w) @ rows.T / w.sum()
        if np.trace(spread) > 0:
            axis = np.linalg.eigh(spread)[1][:, -1]
    largest = int(np.argmax(np.round(np.abs(axis), DIGITS)))
    return np.asarray(axis * (1.0 if axis[largest] >= 0 else -1.0))


def ordered(model: SegmentModel, x: Block, w: Floats) -> SegmentModel:
    """The same model with segments numbered by their centres' projection, lowest first.

    Equal projections are ordered by the centres' coordinates. Noise (-1) stays noise.
    """
    return model if model.k < 2 else model.reordered(order_of(model, x, w))


def order_of(model: SegmentModel, x: Block, w: Floats) -> npt.NDArray[np.intp]:
    """(k,) segments in the order of ``ordered``: the i-th becomes segment i."""
    centres = np.round(model.centres, DIGITS)
    keys = np.round(model.centres @ principal_axis(x, w), DIGITS)
    return np.lexsort((*centres.T[::-1], keys)).astype(np.intp)
