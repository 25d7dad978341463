"""Moments and quantiles of a weighted sample (missing values left out by the caller)."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from segpipe.values import Floats

FAR = 1e100
"""Beyond it, and below its inverse, squares leave the range of float64."""


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted moments; ``std`` is 0 and the shapes are 0 for a constant column."""

    mean: float
    std: float
    skew: float
    kurtosis: float
    """Excess kurtosis: 0 for a Gaussian."""


def moments(x: Floats, weight: Floats) -> Moments:
    """Population moments (divisor: the sum of weights) of (n,) finite values."""
    peak = float(np.abs(x).max(initial=0.0))
    if peak > FAR or 0.0 < peak < 1.0 / FAR:
        unit = 2.0 ** (math.frexp(peak)[1] - 1)
        small = moments(x / unit, weight)
        return replace(small, mean=small.mean * unit, std=small.std * unit)
    total = weight.sum()
    mean = float((x * weight).sum() / total)
    centred = x - mean
    variance = float((centred**2 * weight).sum() / total)
    # Rounding leaves a constant column a variance of about (eps * mean)^2.
    if variance <= (1e-12 * max(abs(mean), peak)) ** 2:
        return Moments(mean, 0.0, 0.0, 0.0)
    std = float(np.sqrt(variance))
    z = centred / std
    squared = z * z
    return Moments(
        mean,
        std,
        float((squared * z * weight).sum() / total),
        float((squared * squared * weight).sum() / total) - 3.0,
    )


def quantiles(x: Floats, weight: Floats, at: tuple[float, ...]) -> tuple[float, ...]:
    """Weighted quantiles that are values of ``x`` (inverted distribution function)."""
    # The last bits of a cumulated sum must not push an exact median to the next value.
    shares = np.array(at) * (1 - 1e-12)
    if (weight == weight[0]).all():
        # Sorting values alone is several times faster than sorting row numbers by them.
        where = np.ceil(shares * len(x)).astype(np.intp) - 1
        return tuple(float(v) for v in np.sort(x)[np.clip(where, 0, len(x) - 1)])
    order = np.argsort(x, kind="stable")
    cumulated = np.cumsum(weight[order])
    where = np.minimum(np.searchsorted(cumulated, shares * cumulated[-1]), len(x) - 1)
    return tuple(float(v) for v in x[order[where]])


def correlations(rows: Floats, weight: Floats) -> Floats:
    """(d, d) weighted Pearson correlations of (d, n) rows; 0 where a row is constant."""
    share = weight / weight.sum()
    centred = rows - (rows @ share)[:, None]
    covariance = (centred * share) @ centred.T
    std = np.sqrt(np.diag(covariance))
    scale = np.where(std > 0, std, np.inf)
    result: Floats = covariance / np.outer(scale, scale)
    return result
