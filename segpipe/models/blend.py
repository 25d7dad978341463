"""Outlier scores made of several views of a row, and two of the views."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from segpipe.kernels import ellipsoid, tails
from segpipe.kernels.nearest import Singles
from segpipe.models.detectors import FLOOR, Usual
from segpipe.values import Block, Detector, Floats


@dataclass(frozen=True, slots=True, eq=False)
class TailDetector:
    """Sum over features of -log of the smaller tail's share at the row's value.

    No burst hides from it: a feature's tail is a share of all rows, and a burst of 20 % still
    lies in it. It sees no combination of ordinary values (as ECOD, Li et al. 2022).
    """

    table: Singles
    """(d, ``kernels.tails.WIDTH``) nats by feature and cell of the value."""
    method: str = "tails"

    def score(self, x: Block) -> Floats:
        """(n,) nats, 0 or more."""
        return tails.looked_up(x, self.table)


@dataclass(frozen=True, slots=True, eq=False)
class EllipsoidDetector:
    """Half the log of the mean squared distance along the axes of the reference's own ellipsoid.

    Sees rows that break the correlation of features though each value is ordinary.
    """

    centre: Singles
    """(d,) of the reference's most usual rows."""
    factor: Singles
    """(d, d) lower triangular; ``factor (x - centre)`` has about unit covariance there."""
    method: str = "ellipsoid"

    def score(self, x: Block) -> Floats:
        """(n,) 0 at the usual distance; at least log(FLOOR) / 2."""
        far = ellipsoid.squared(x, self.centre, self.factor) / len(self.centre)
        return np.asarray(0.5 * np.log(far + FLOOR))


@dataclass(frozen=True, slots=True, eq=False)
class BlendDetector:
    """Weighted mean of standardised views, z(v) = (v - median) / (q90 - median) of the reference.

    Views err differently: the blend beats each of them over many tables (DECISIONS.md).
    """

    views: tuple[Detector, ...]
    """The first of them that has a usual place says what a row is compared with."""
    median: tuple[float, ...]
    """Of the reference's scores, per view."""
    scale: tuple[float, ...]
    """q90 - median of the reference's scores, above 0."""
    weight: tuple[float, ...]
    """Of each view; sums to 1."""
    method: str

    def score(self, x: Block) -> Floats:
        """(n,) about 0 in the middle, 1 at the 90 % point."""
        total = np.zeros(x.shape[1])
        for view, middle, spread, share in zip(
            self.views, self.median, self.scale, self.weight, strict=True
        ):
            total += (view.score(x) - middle) * (share / spread)
        return total

    def usual(self, x: Block) -> Floats:
        """(d, n) as the first view that knows says."""
        return next(view for view in self.views if isinstance(view, Usual)).usual(x)
