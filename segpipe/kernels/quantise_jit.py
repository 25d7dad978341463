"""Compiled loop of ``kernels.quantise``."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit
from segpipe.kernels.quantise import CELL, LIMIT, WHOLE


@jit
def quantise(values: Any, fill: float, centre: float, factor: float, out: Any) -> None:
    """See ``kernels.quantise.quantise``; one loop without branches, which LLVM vectorises."""
    for i in range(values.size):
        value = np.float64(values[i])
        # The difference is NaN for NaN and for both infinities, and 0 otherwise.
        usable = value if value - value == 0.0 else fill
        inside = min(max((usable - centre) * factor, -LIMIT), LIMIT)
        out[i] = np.float32(((inside + WHOLE) - WHOLE) * CELL)
