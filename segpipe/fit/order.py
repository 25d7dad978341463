"""Segment ids that mean something: along the first principal axis of the sample.

Two features of equal variance that hardly correlate have no first axis to speak of: their
correlation of .01 becomes -.01 with the next rows, and the axis turns by a right angle. So the
axis is a smooth function of the covariance: its 4th power applied to one direction in the space
of the features. Where the first variance is .75 of the second or less that is the first
eigenvector to a degree; where both are equal it stays with the first features.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.values import Block, Floats, SegmentModel

DIGITS = 6
"""Projections and coordinates are compared to so many decimals, so that a tie stays a tie."""
POWER = 4
FEW = 0.05
"""A tie is no wider than this share of all projections, however few rows there are."""
LIKE = 0.7
"""Features whose loadings are within 1 - sqrt(.7) = 16 % of the largest count as equally large."""
AGAINST = -0.5
"""Features that move against the leading one by half as much as it does enter with a minus."""


def principal_axis(x: Block, w: Floats) -> Floats:
    """First principal axis (d,) of the weighted sample, its largest loading positive.

    Of loadings about equally large the first column decides; one feature, or no variance at all,
    gives the first unit vector's direction.
    """
    d, n = x.shape
    first: Floats = np.eye(d)[0]
    if n < 2 or d < 2:
        return first
    rows = x.astype(np.float64)
    rows -= ((w * rows).sum(axis=1) / w.sum())[:, None]
    spread = (rows * w) @ rows.T / w.sum()
    return _leading(spread) if np.trace(spread) > 0 else first


def _leading(spread: Floats) -> Floats:
    """Leading direction (d,) of a covariance (d, d), continuous where two variances are alike."""
    values, vectors = np.linalg.eigh(spread)
    share = np.maximum(values, 0.0) / values[-1]
    power = (vectors * share**POWER) @ vectors.T
    own = np.diagonal(power)
    lead = int(np.argmax(own >= LIKE * own.max()))
    # Halved from feature to feature, so that no two corners of a grid project alike.
    sides = 0.5 ** np.minimum(np.arange(len(own)), 20)
    sides[power[:, lead] < AGAINST * own[lead]] *= -1.0
    sides[lead] = 1.0
    axis = power @ sides
    return np.asarray(axis / np.sqrt((axis * axis).sum()))


def ordered(model: SegmentModel, x: Block, w: Floats) -> SegmentModel:
    """The same model with segments numbered by their centres' projection, lowest first.

    Projections that so few rows cannot tell apart count as equal: then the feature decides in
    which those centres differ most. Noise (-1) stays noise.
    """
    return model if model.k < 2 else model.reordered(order_of(model, x, w))


def order_of(model: SegmentModel, x: Block, w: Floats) -> npt.NDArray[np.intp]:
    """(k,) segments in the order of ``ordered``: the i-th becomes segment i."""
    axis = principal_axis(x, w)
    keys, centres = np.round(model.centres @ axis, DIGITS), np.round(model.centres, DIGITS)
    order = np.lexsort((*centres.T[::-1], keys))
    rows = float(w.sum()) ** 2 / float((w * w).sum())
    along = axis @ x.astype(np.float64)
    error = float(np.sqrt(np.cov(along, aweights=w, ddof=0) / rows)) if len(w) > 1 else 0.0
    error = min(error, FEW * float(np.ptp(keys)))
    # A tie begins at its lowest projection and is no wider than one error: ties form no chain.
    ties, start = [], 0
    for i in range(1, len(order) + 1):
        if i == len(order) or keys[order[i]] - keys[order[start]] > error:
            ties.append(_by_widest(order[start:i], centres))
            start = i
    return np.concatenate(ties).astype(np.intp)


def _by_widest(tied: npt.NDArray[np.intp], centres: Floats) -> npt.NDArray[np.intp]:
    """Centres of like projection by the feature they differ most in, the first of about equals."""
    if len(tied) < 2:
        return tied
    reach = np.ptp(centres[tied], axis=0)
    first = int(np.argmax(reach >= LIKE * reach.max()))
    return tied[np.argsort(centres[tied, first], kind="stable")]
