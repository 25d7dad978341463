"""What one pass over a table found: exact counts, ranges and level counts, and the sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segpipe.values import Sample


@dataclass(frozen=True, slots=True)
class Number:
    """A numeric column over all rows."""

    name: str
    missing: int
    """Nulls, NaN and infinities."""
    low: float
    """Smallest finite value; NaN if there is none."""
    high: float


@dataclass(frozen=True, slots=True)
class Category:
    """A category column over all rows; its levels ordered by falling count, then by name."""

    name: str
    missing: int
    """Nulls; they form the level ``cells.MISSING`` too."""
    levels: tuple[str, ...]
    counts: npt.NDArray[np.int64]
    overflow: bool = False
    """More distinct values than are counted: ``levels`` is empty, the sample has to do."""


@dataclass(frozen=True, slots=True)
class Weights:
    """The users' weights of all rows."""

    low: float
    high: float
    mean: float
    """Estimated from the sample, unless all are equal."""


@dataclass(frozen=True, slots=True)
class Description:
    """A described table; the same on every engine and partitioning."""

    rows: int
    numbers: tuple[Number, ...]
    categories: tuple[Category, ...]
    sample: Sample
    weights: Weights | None = None
    """Of features.weight; None: every row weighs 1."""
