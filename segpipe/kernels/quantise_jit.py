"""Compiled loop of ``kernels.quantise``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np

from segpipe.kernels.quantise import BOUND, GRID

Loop = TypeVar("Loop", bound=Callable[..., None])
_jit: Callable[[Loop], Loop] = numba.njit(cache=True, nogil=True)


@_jit
def quantise(values: Any, fill: Any, centre: Any, scale: Any, out: Any) -> None:
    """See ``kernels.quantise.quantise``."""
    for i in range(values.size):
        value = values[i]
        # The difference is NaN for NaN and for both infinities, and 0 otherwise.
        if value - value != 0.0:
            value = fill
        value = (value - centre) / scale
        value = min(max(value, -BOUND), BOUND)
        out[i] = np.float32(np.rint(value * GRID) / GRID)
