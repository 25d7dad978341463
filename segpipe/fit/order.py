"""Segment ids that mean something: along the first principal axis of the sample.

Where the second variance is more than half of the first there is no axis to speak of. With a few
more rows the shares of the segments differ by a per cent or two, and with them the units of
standardised features and the axis: of six groups in twelve features two change places. Seen with
every segment alike, in units of that sample, only the segments' own means are left to chance.

Two features of equal variance that hardly correlate are still no axis: their correlation of .01
becomes -.01 with the next rows, and the axis turns by a right angle. So it is then a smooth
function of the covariance: its 4th power applied to one direction in the space of the features.
Where the first variance is .75 of the second or less that is the first eigenvector to a degree;
where both are equal it stays with the first features.
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
SIDE = 0.35
"""Weight of every further feature in the direction that the smooth axis starts from: up to three
levels by three of a grid project apart."""
HALF = 0.5
"""The same of ``principal_axis``: nearer to the diagonal a square of rows has more of a peak."""
CLEAR = 0.5
"""Second variance over the first up to which the sample's own axis is taken."""
STANDARD = 0.05
"""Features whose variance is 1 but for so much count as standardised."""
ROWS = 20_000
"""Rows of the sample that are labelled for it at most."""


def principal_axis(x: Block, w: Floats) -> Floats:
    """First principal axis (d,) of the weighted sample, its largest loading positive.

    Of loadings about equally large the first column decides; one feature, or no variance at all,
    gives the first unit vector's direction.
    """
    d, n = x.shape
    first: Floats = np.eye(d)[0]
    if n < 2 or d < 2:
        return first
    spread = _spread(x.astype(np.float64), w)
    return _leading(spread, HALF) if np.trace(spread) > 0 else first


def _leading(spread: Floats, side: float = SIDE) -> Floats:
    """Leading direction (d,) of a covariance (d, d), continuous where two variances are alike."""
    values, vectors = np.linalg.eigh(spread)
    share = np.maximum(values, 0.0) / values[-1]
    power = (vectors * share**POWER) @ vectors.T
    own = np.diagonal(power)
    lead = int(np.argmax(own >= LIKE * own.max()))
    sides = side ** np.minimum(np.arange(len(own)), 20)
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
    unit, axis, variance = _view(model, x, w)
    places = model.centres / unit
    keys, centres = np.round(places @ axis, DIGITS), np.round(places, DIGITS)
    order = np.lexsort((*centres.T[::-1], keys))
    rows = float(w.sum()) ** 2 / float((w * w).sum())
    error = min(float(np.sqrt(variance / rows)), FEW * float(np.ptp(keys)))
    # A tie begins at its lowest projection and is no wider than one error: ties form no chain.
    ties, start = [], 0
    for i in range(1, len(order) + 1):
        if i == len(order) or keys[order[i]] - keys[order[start]] > error:
            ties.append(_by_widest(order[start:i], centres))
            start = i
    return np.concatenate(ties).astype(np.intp)


def _view(model: SegmentModel, x: Block, w: Floats) -> tuple[Floats, Floats, float]:
    """Units (d,) to see the centres in, the axis (d,) in these, and a row's variance along it."""
    d, n = x.shape
    unit: Floats = np.ones(d)
    if n < 2 or d < 2:
        along = x[0].astype(np.float64)
        return unit, np.eye(d)[0], float(np.cov(along, aweights=w, ddof=0)) if n > 1 else 0.0
    step = -(-n // ROWS)
    some, mass = np.ascontiguousarray(x[:, ::step], np.float32), w[::step]
    spread = _spread(some.astype(np.float64), mass)
    values, vectors = np.linalg.eigh(spread)
    if not values[-1] > 0:
        return unit, np.eye(d)[0], 0.0
    if values[-2] <= CLEAR * values[-1]:
        first: Floats = vectors[:, -1]
        large = np.abs(first)
        # As everywhere here the first of about equal loadings counts as the largest.
        sign = np.sign(first[int(np.argmax(large >= np.sqrt(LIKE) * large.max()))])
        return unit, first * sign, float(values[-1])
    between, within = _alike(model, some, mass)
    even = between + within
    plain = np.abs(np.diagonal(spread) - 1.0) <= STANDARD
    unit = np.where(plain, np.sqrt(np.maximum(np.diagonal(even), 1e-12)), 1.0)
    axis = _leading(even / unit / unit[:, None])
    # Of k segments each has a k-th of the rows to know its mean by.
    return unit, axis, model.k * float((axis / unit) @ within @ (axis / unit))


def _alike(model: SegmentModel, x: Block, w: Floats) -> tuple[Floats, Floats]:
    """Covariances (d, d) between and within segments in a sample where all weigh alike."""
    label = model.label(x).segment
    means, within = [], []
    for c in range(model.k):
        member = label == c
        if w[member].sum() > 0:
            rows = x[:, member].astype(np.float64)
            means.append((w[member] * rows).sum(axis=1) / w[member].sum())
            within.append(_spread(rows, w[member]))
    if not means:  # nothing but noise
        return _spread(model.centres.T, np.ones(model.k)), np.eye(len(x))
    between = _spread(np.array(means).T, np.ones(len(means)))
    return between, np.asarray(np.mean(within, axis=0))


def _spread(rows: Floats, w: Floats) -> Floats:
    """Weighted covariance (d, d) of rows (d, n)."""
    rows = rows - ((w * rows).sum(axis=1) / w.sum())[:, None]
    return np.asarray((rows * w) @ rows.T / w.sum())


def _by_widest(tied: npt.NDArray[np.intp], centres: Floats) -> npt.NDArray[np.intp]:
    """Centres of like projection by the feature they differ most in, the first of about equals."""
    if len(tied) < 2:
        return tied
    reach = np.ptp(centres[tied], axis=0)
    first = int(np.argmax(reach >= LIKE * reach.max()))
    return tied[np.argsort(centres[tied, first], kind="stable")]
