"""Linear scaling onto the grid of ``values.Block``: multiples of 2^-20 within +-10."""

from __future__ import annotations

import functools
from types import ModuleType

import numpy as np
import numpy.typing as npt

BOUND = 10.0
GRID = float(2**20)
SMALL = 2_000


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import quantise_jit

    return quantise_jit


def quantise(
    values: npt.NDArray[np.float64],
    fill: float,
    centre: float,
    scale: float,
    out: npt.NDArray[np.float32],
) -> None:
    """Write (values - centre) / scale to ``out``, clipped and rounded.

    Cells that are not finite count as ``fill``.
    Both paths round identically: IEEE operations only, nothing fused. ``out`` is (n,), contiguous.
    """
    if len(values) <= SMALL:
        usable = np.where(np.isfinite(values), values, fill)
        scaled = np.clip((usable - centre) / scale, -BOUND, BOUND)
        out[:] = np.rint(scaled * GRID) / GRID
    else:
        _compiled().quantise(values, fill, centre, scale, out)
