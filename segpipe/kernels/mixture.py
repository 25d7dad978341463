"""Gaussian mixture densities and the sums of an EM step over feature-major float32 blocks.

Arithmetic is float64, log-space, every row through the same instructions in the same order.
Densities go through the inverse Cholesky factor, which costs what the expanded quadratic form does
and does not cancel.

**Sums are exact in any order**: of terms rounded to 2^-24 (log likelihoods: 2^-20), below 5e8
(8e9). Rounding costs nothing: an accumulator starts at the grid's constant, 1.5 2^28, whose last
place is the grid, and a fused multiply-add rounds each product to it. A product halfway between
two grid points would be rounded by what was added before; one of its factors therefore gets its
last bit set, which makes the product an odd multiple of something far below half the grid.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.kernels import mixture_jit as loops
from segpipe.kernels import simd
from segpipe.values import Block, Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class EMSums:
    """Additive statistics of an E-step, taken around the means it was run with."""

    count: Floats
    """(k,) weighted responsibilities."""
    linear: Floats
    """(k, d) responsibilities times (x - mean)."""
    quadratic: Floats
    """(k, d, d) responsibilities times (x - mean)(x - mean)^T; lower triangle filled."""
    log_likelihood: float
    weight: float

    def __add__(self, other: EMSums) -> EMSums:
        return EMSums(
            self.count + other.count,
            self.linear + other.linear,
            self.quadratic + other.quadratic,
            self.log_likelihood + other.log_likelihood,
            self.weight + other.weight,
        )


def _padded(means: Floats, factor: Floats, diagonal: bool) -> tuple[Floats, Floats]:
    """Means (k, d) and factors (k, d, d) or diagonals (k, 1, d), d up to a multiple of four."""
    k, d = means.shape
    full = -(-d // 4) * 4
    wide = np.zeros((k, full))
    wide[:, :d] = means
    padded = np.zeros((k, 1 if diagonal else full, full))
    if diagonal:
        padded[:, 0, :d] = np.diagonal(factor, axis1=1, axis2=2)
    else:
        padded[:, :d, :d] = factor
    return wide, padded


def posterior(
    x: Block, const: Floats, means: Floats, factor: Floats, diagonal: bool
) -> tuple[Ints, Floats, Floats]:
    """Likeliest component (n,), its posterior, and the log density of each row.

    ``const`` (k,) = log weight - log sqrt det(2 pi covariance); ``factor`` (k, d, d) = inverse of
    the lower Cholesky factors; ``diagonal`` says that only their diagonals count.
    """
    n = x.shape[1]
    label, p, density = np.empty(n, np.int32), np.empty(n), np.empty(n)
    wide, padded = _padded(means, factor, diagonal)
    loops.posterior(x, const, wide, padded, diagonal, label, p, density)
    return label, p, density


def em_sums(
    x: Block, w: Floats, const: Floats, means: Floats, factor: Floats, diagonal: bool
) -> EMSums:
    """E-step and the sums of the M-step; with ``diagonal`` only squares are summed."""
    return em_step(x, w, const, means, factor, diagonal)[0]


def em_step(
    x: Block, w: Floats | None, const: Floats, means: Floats, factor: Floats, diagonal: bool
) -> tuple[EMSums, Ints]:
    """Sums of ``em_sums`` and labels of ``posterior``, both of one E-step; w None = 1 each."""
    k, d = means.shape
    wide, padded = _padded(means, factor, diagonal)
    full = wide.shape[1]
    label, lanes = np.empty(x.shape[1], np.int32), simd.DOUBLES
    count, linear = np.zeros((k, lanes)), np.zeros((k, full, lanes))
    scalars = np.zeros((2, lanes))
    quadratic = np.zeros((k, 1 if diagonal else full, full, lanes))
    weights = np.empty(0) if w is None else w
    loops.sums(
        x, weights, const, wide, padded, diagonal, label, count, linear, quadratic, scalars
    )  # fmt: skip
    squares = quadratic.sum(axis=-1)[:, :, :d]
    squares = squares * np.eye(d) if diagonal else np.tril(squares[:, :d])
    level, weight = scalars.sum(axis=-1)
    sums = EMSums(
        count.sum(axis=-1), linear.sum(axis=-1)[:, :d], squares, float(level), float(weight)
    )
    return sums, label
