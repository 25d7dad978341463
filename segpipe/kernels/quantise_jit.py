"""Compiled loop of ``kernels.quantise``."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.quantise import BOUND, GRID


@jit
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
