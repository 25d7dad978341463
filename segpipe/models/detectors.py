"""Fitted outlier references: frozen arrays; scores are finite and higher = more unusual."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from segpipe.kernels import forest, mass
from segpipe.kernels.nearest import Singles
from segpipe.models.density import DensityModel
from segpipe.values import Block, Floats, Ints, SegmentModel

if TYPE_CHECKING:
    from sklearn.ensemble import IsolationForest

FLOOR = 1e-4
"""Squared scaled distance below which two places are one: a hundredth of a standard deviation."""


@runtime_checkable
class Usual(Protocol):
    """A detector that can say what a row is unusual against."""

    def usual(self, x: Block) -> Floats:
        """(d, n) the usual place nearest to each row."""
        ...


@runtime_checkable
class LogDensity(Protocol):
    """A segment model with a density: mixtures."""

    def log_density(self, x: Block) -> Floats:
        """(n,) natural logarithm of the density at each row."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class MassDetector:
    """Half the log of the mean squared distance to the nearest ``mass`` of the data.

    A neighbourhood that is a share of the data, not a fixed number of rows, is not fooled by
    bursts smaller than that share (Gu, Akoglu, Rinaldo, NeurIPS 2019).
    """

    centres: Floats
    """(k, d) micro-cluster means in scaled space."""
    share: Floats
    """(k,) share of the reference in each; sums to 1."""
    spread: Floats
    """(k,) mean squared distance of the members to their mean."""
    mass: float
    """Share of the reference to look at."""
    method: str = "mass"

    def score(self, x: Block) -> Floats:
        """(n,) log of the root mean squared distance; at least log(FLOOR) / 2."""
        near = mass.mean_square(x, self.centres, self.share, self.spread, self.mass)
        return np.asarray(0.5 * np.log(near + FLOOR))

    def usual(self, x: Block) -> Floats:
        """(d, n) mean of the share of the data that the score looked at."""
        return mass.usual_place(x, self.centres, self.share, self.spread, self.mass)


@dataclass(frozen=True, slots=True, eq=False)
class ForestDetector:
    """Isolation forest (Liu, Ting, Zhou 2008), flattened from scikit-learn's trees."""

    feature: Ints
    """(trees, 2^depth - 1) feature that each inner node looks at."""
    threshold: Singles
    """(trees, 2^depth - 1) float32; a row goes left if its value is <= this."""
    value: Floats
    """(trees, 2^depth) path length of each leaf."""
    norm: float
    """Trees times the path length of an unsuccessful search among the rows of one tree."""
    method: str = "isolation_forest"

    def score(self, x: Block) -> Floats:
        """(n,) in 0..1: scikit-learn's ``-score_samples``."""
        total = forest.path_lengths(x, self.feature, self.threshold, self.value)
        if self.norm == 0.0:  # trees of one row: sklearn says 2^-1
            return np.full(x.shape[1], 0.5)
        return np.asarray(2.0 ** -(total / self.norm))

    @classmethod
    def of(cls, fitted: IsolationForest) -> ForestDetector:
        """Flatten a fitted scikit-learn forest that saw all features in every tree."""
        trees = [member.tree_ for member in fitted.estimators_]
        depth = max(1, *(int(tree.max_depth) for tree in trees))
        inner = 2**depth - 1
        feature = np.zeros((len(trees), inner), np.int32)
        threshold = np.full((len(trees), inner), np.inf, np.float32)
        value = np.zeros((len(trees), inner + 1))
        for t, tree in enumerate(trees):
            at = np.zeros(1, np.intp)  # scikit-learn's node at each place of this level
            steps = np.zeros(1)
            for level in range(depth):
                place = slice(2**level - 1, 2 ** (level + 1) - 1)
                split = tree.children_left[at] >= 0
                feature[t, place] = np.where(split, tree.feature[at], 0)
                threshold[t, place] = np.where(split, _below(tree.threshold[at]), np.inf)
                left = np.where(split, tree.children_left[at], at)
                right = np.where(split, tree.children_right[at], at)
                at = np.stack([left, right], axis=1).ravel()
                steps = np.repeat(steps + split, 2)
            # The order of additions of _iforest.py: path nodes + rest of the search - 1.
            value[t] = ((steps + 1.0) + search_length(tree.n_node_samples[at])) - 1.0
        rows = np.array([fitted.max_samples_])
        return cls(feature, threshold, value, float(len(trees) * search_length(rows)[0]))


def _below(threshold: Floats) -> Singles:
    """The largest float32 not above each threshold: for float32 x, x <= t stays the same."""
    single = threshold.astype(np.float32)
    return np.where(single > threshold, np.nextafter(single, np.float32(-np.inf)), single)


def search_length(rows: Floats | Ints) -> Floats:
    """Average path length of an unsuccessful search in a binary tree of so many rows."""
    n = np.asarray(rows, np.float64)
    many = np.maximum(n, 3.0)
    harmonic = 2.0 * (np.log(many - 1.0) + np.euler_gamma) - 2.0 * (many - 1.0) / many
    return np.where(n <= 1, 0.0, np.where(n == 2, 1.0, harmonic))


@dataclass(frozen=True, slots=True, eq=False)
class SegmentDetector:
    """How far a row lies from its segment, for free: the segment model's own view.

    Mixtures: negative log density. Others: log of the distance over the segment's usual one.
    """

    model: SegmentModel
    scale: Floats
    """(k + 1,) root mean squared distance of each segment's reference rows; last: of noise."""
    method: str = "segment"

    def score(self, x: Block) -> Floats:
        """(n,) finite; 0 at the usual distance."""
        if isinstance(self.model, LogDensity):
            return np.asarray(-self.model.log_density(x))
        said = self.model.label(x)
        ratio = said.distance / self.scale[said.segment]
        return np.asarray(0.5 * np.log(ratio * ratio + FLOOR))


@dataclass(frozen=True, slots=True, eq=False)
class DensityDetector:
    """Log of the mutual reachability to the nearest core over that segment's usual one.

    Close to GLOSH but never NaN; like GLOSH it misses bursts, which are dense by themselves: use
    it for campaigns and as a further vote (``algorithms.md`` section 4).
    """

    model: DensityModel

    @property
    def method(self) -> str:
        """Hdbscan | dbscan, the model's kind."""
        return self.model.kind

    def score(self, x: Block) -> Floats:
        """(n,) 0 at the usual reachability of the nearest segment."""
        segment, mutual, _ = self.model.reach(x)
        ratio = mutual / self.model.scale[segment]
        return np.asarray(0.5 * np.log(ratio * ratio + FLOOR))
