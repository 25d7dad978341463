"""Exact sums of raw columns by group: the same bits for any partitioning and order of the rows."""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.values import Floats, Ints

GRID_BITS = 36
"""Values are rounded to so many bits below the column's largest: exact sums of ``BLOCK`` rows fit
the 53 bits of a float64, and a mean is right to 1e-11 of the largest value."""
BLOCK = 1 << 16
COARSE_BITS = 24
"""The sums of blocks are kept in two parts, each exact for 1e8 of the largest rows."""
LARGEST = 2.0**960
"""Values beyond it (1e289: often the largest float, for *no value*) are not summed: the sums of a
few of them would not be finite."""
SMALL = 1 << 14
"""Rows below which NumPy beats the import of numba."""

Counts = npt.NDArray[np.int64]


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import totals_jit

    return totals_jit


def add_column(
    values: npt.NDArray[Any],
    at: Ints,
    magnitude: float,
    sums: Floats,
    present: Counts,
    counts: Counts | None = None,
) -> None:
    """Add the finite ``values`` of each group to ``sums``, and their number to ``present``.

    Those beyond ``LARGEST`` count as not finite.

    Parameters
    ----------
    values : (n,) float64 or float32, n any; finite ones are within +-``magnitude``
    at : (n,) int32 group of each row, 0 .. groups - 1
    magnitude : the column's largest absolute value, >= 0
    sums : (2, groups) coarse and fine part, added to in place
    present : (groups,) added to in place
    counts : (groups,) rows of each group, if the caller has them and n <= ``BLOCK``
    """
    if magnitude > LARGEST:
        values, magnitude = np.where(np.abs(values) <= LARGEST, values, np.nan), LARGEST
    counts = counts if len(values) <= BLOCK else None
    exponent = math.ceil(math.log2(magnitude)) if magnitude > 0 else 0
    # Adding and taking away 1.5 * 2^52 grids rounds to the grid, half to even.
    grid = 1.5 * 2.0 ** (52 + exponent - GRID_BITS)
    coarse = 1.5 * 2.0 ** (52 + exponent - COARSE_BITS)
    for start in range(0, len(values), BLOCK):
        part, group = values[start : start + BLOCK], at[start : start + BLOCK]
        block = np.zeros(len(present))
        present += np.bincount(group, minlength=len(present)) if counts is None else counts
        if len(part) > SMALL:
            _compiled().add_column(part, group, grid, block, present)
        else:
            finite = np.isfinite(part)
            value = np.where(finite, part, 0.0).astype(np.float64)
            block += np.bincount(group, (value + grid) - grid, len(present))
            present -= np.bincount(group[~finite], minlength=len(present))
        big = (block + coarse) - coarse
        sums[0] += big
        sums[1] += block - big
