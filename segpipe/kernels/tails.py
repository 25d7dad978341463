"""Sums of one table look-up a feature: scores that are step functions of each feature.

Cells are ``1 / CELLS`` wide, a power of two, so that float32 arithmetic finds a value's cell
exactly. Small calls take a NumPy path and large ones a compiled loop (``tails_jit``), with the
same bits: the features' values are added in order, in float64.
"""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
import numpy.typing as npt

from segpipe.kernels.nearest import Singles
from segpipe.kernels.nearest_loops import SMALL
from segpipe.kernels.quantise import BOUND
from segpipe.values import Block, Floats

CELLS = 128
"""Cells per scaled unit: steps closer than .008 standard deviations are one step."""
WIDTH = 2 * int(BOUND) * CELLS + 1
"""Cells of a feature; the last holds the upper bound alone."""


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import tails_jit

    return tails_jit


def cells(values: Block) -> npt.NDArray[np.int32]:
    """Cell of each value of a block's row, 0 .. WIDTH - 1."""
    return np.asarray(np.floor(values * np.float32(CELLS)), np.int32) + int(BOUND) * CELLS


def looked_up(x: Block, table: Singles) -> Floats:
    """(n,) sum over features j of ``table[j, cells(x[j])]``.

    Parameters
    ----------
    x : (d, n) float32 within +-10
    table : (d, WIDTH)
    """
    total = np.zeros(x.shape[1])
    if x.size > SMALL:
        _compiled().looked_up(x, table, CELLS, int(BOUND) * CELLS, total)
        return total
    for row, steps in zip(x, table, strict=True):
        total += steps[cells(row)]
    return total
