"""What a score means among the rows it was calibrated on: quantile, p, flag."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from segpipe.kernels.bins import Bins
from segpipe.values import Floats

SMALLEST = 1e-300
"""p is never 0: a fitted tail does not prove the impossible."""


@dataclass(frozen=True, slots=True, eq=False)
class Tail:
    """Survival of usual scores above ``start``.

    Exponential, or heavier (generalised Pareto), or lighter (Weibull, Gompertz). The log of a
    distance whose square falls off exponentially, as a Gaussian's, has Gompertz' tail.
    """

    start: float
    """The median score."""
    share: float
    """Share of usual rows at or above ``start``."""
    scale: float
    """Of the excess over ``start``, above 0."""
    shape: float = 0.0
    """> 0: generalised Pareto of this shape. < 0: Gompertz, whose hazard grows by e every
    -1 / shape scales, and beyond ``bend`` along its tangent only."""
    power: float = 1.0
    """> 1: exp(-z^power); 2 at most, a Gaussian's. Only where ``shape`` is 0."""
    bend: float = 0.0
    """Scales up to which the tail was seen: what lies beyond is no lighter than a Gaussian's."""

    def survival(self, score: Floats) -> Floats:
        """(n,) chance that a usual row reaches each score; for scores above ``start``."""
        excess = np.maximum(score - self.start, 0.0) / self.scale
        return np.asarray(self.share * survival(excess, self.shape, self.power, self.bend))


def survival(z: Floats, shape: float, power: float, bend: float | Floats) -> Floats:
    """Chance of an excess of at least z scales: the formula of ``Tail``."""
    if shape > 0.0:
        return np.asarray((1.0 + shape * z) ** (-1.0 / shape))
    if shape < 0.0:
        growth = -shape
        seen = np.minimum(z, bend)
        beyond = z - seen
        hazard = np.exp(growth * seen)
        total = np.expm1(growth * seen) / growth + hazard * beyond * (1.0 + growth * beyond / 2.0)
        return np.asarray(np.exp(-total))
    return np.asarray(np.exp(-(z**power)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """Built by ``scoring.calibrate.calibrate``."""

    method: str
    """The detector's."""
    rows: int
    """Rows calibrated on."""
    edges: Floats
    """(m,) ascending scores, m >= 1."""
    below: npt.NDArray[np.int64]
    """(m,) rows that score below each edge."""
    top: Floats
    """The highest scores, ascending, each exact."""
    tail: Tail
    threshold: float
    """Scores at or above it are outliers; finite."""
    flagged: int
    """Rows at or above the threshold."""
    asked: tuple[tuple[str, float], ...]
    """The threshold as asked, e.g. (("contamination", 0.01),)."""

    def quantile(self, score: Floats) -> Floats:
        """(n,) share of the calibration rows that score lower, 0..1, non-decreasing.

        Exact among the highest scores, interpolated within a histogram bin elsewhere.
        """
        inside = self._bins.interpolate(score, self.below / self.rows)
        if not len(self.top):
            return inside
        under = self.rows - len(self.top)
        found = np.minimum(inside, under / self.rows)
        high = np.flatnonzero(score >= self.top[0])
        found[high] = (under + np.searchsorted(self.top, score[high], side="left")) / self.rows
        return found

    @cached_property
    def _bins(self) -> Bins:
        return Bins.of(self.edges)

    def p(self, score: Floats) -> Floats:
        """(n,) chance that a *usual* row scores so high, in (0, 1], non-increasing.

        Above the median from the fitted tail: ranks among rows that hold outliers themselves
        would never be small enough to flag anything.
        """
        return self.ranks(score)[1]

    def ranks(self, score: Floats) -> tuple[Floats, Floats]:
        """``quantile`` and ``p`` of the same scores."""
        quantile = self.quantile(score)
        chance = np.maximum(1.0 - quantile, self.tail.share)
        above = np.flatnonzero(score > self.tail.start)
        chance[above] = self.tail.survival(score[above])
        return quantile, np.clip(chance, SMALLEST, 1.0)

    def flag(self, score: Floats) -> npt.NDArray[np.bool_]:
        """(n,) score at or above the threshold."""
        return np.asarray(score >= self.threshold)
