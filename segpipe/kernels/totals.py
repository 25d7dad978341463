"""Exact sums of raw columns by group: the same bits for any partitioning and order of the rows."""

from __future__ import annotations

import functools
import math
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.values import Floats, Ints

GRID_BITS = 26
"""Values are split into a part of 26 bits below the column's largest and 26 more, so that each
part's sum is exact for 1e8 of the largest rows."""
ROOM = 4096.0
"""New rows may exceed the described magnitude so many times before they count as that."""
SMALL = 1 << 14
"""Rows below which NumPy beats the import of numba."""

Counts = npt.NDArray[np.int64]


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import totals_jit

    return totals_jit


def add_column(
    values: npt.NDArray[Any], at: Ints, magnitude: float, sums: Floats, present: Counts
) -> None:
    """Add the finite ``values`` of each group to ``sums``, and their number to ``present``.

    Parameters
    ----------
    values : (n,) float64 or float32
    at : (n,) int32 group of each row, 0 .. groups - 1
    magnitude : the column's largest absolute value, >= 0
    sums : (2, groups) coarse and fine part, added to in place
    present : (groups,) added to in place
    """
    exponent = math.ceil(math.log2(magnitude)) if magnitude > 0 else 0
    limit = ROOM * 2.0**exponent
    # Adding and taking away 1.5 * 2^52 grids rounds to the grid, half to even, as rint does.
    coarse = 1.5 * 2.0 ** (52 + exponent - GRID_BITS)
    fine = coarse * 2.0**-GRID_BITS
    if len(values) > SMALL:
        _compiled().add_column(values, at, limit, coarse, fine, sums, present)
        return
    groups = len(present)
    finite = np.isfinite(values)
    value = np.clip(np.where(finite, values, 0.0).astype(np.float64), -limit, limit)
    big = (value + coarse) - coarse
    sums[0] += np.bincount(at, big, groups)
    sums[1] += np.bincount(at, ((value - big) + fine) - fine, groups)
    present += np.bincount(at[finite], minlength=groups)
