"""Linear scaling onto the grid of ``values.Block``: multiples of 2^-20 within +-10."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
import numpy.typing as npt

BOUND = 10.0
GRID = float(2**20)
LIMIT, CELL = BOUND * GRID, 1.0 / GRID
WHOLE = 1.5 * 2.0**52
"""Adding and taking it away rounds to whole numbers, half to even."""
SMALL = 2_000


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import quantise_jit

    return quantise_jit


def quantise(
    values: npt.NDArray[np.float64] | npt.NDArray[np.float32],
    fill: float,
    centre: float,
    scale: float,
    out: npt.NDArray[np.float32],
) -> None:
    """Write (values - centre) / scale to ``out``, clipped and rounded.

    Cells that are not finite count as ``fill``.
    Both paths round identically: IEEE operations only, nothing fused. ``out`` is (n,), contiguous.
    """
    factor = GRID / scale
    if len(values) <= SMALL:
        usable = np.where(np.isfinite(values), values, fill).astype(np.float64)
        cells = np.clip((usable - centre) * factor, -LIMIT, LIMIT)
        out[:] = ((cells + WHOLE) - WHOLE) * CELL
    else:
        _compiled().quantise(values, fill, centre, factor, out)
