"""The compiled loops of ``nearest``, and when they are worth loading; the bits are the same.

Small tables never import numba: NumPy does their steps. Each loop is imported at its first use.
"""

from __future__ import annotations

import functools
import sys
from types import ModuleType

SMALL, WARM = 1 << 17, 1 << 13
"""Multiply-adds below which NumPy beats the import of numba (a third of a second, once), and below
which it beats a call of the loops once they are there."""
RENT, RENT_IMPORTED = 1 << 25, 1 << 23
"""Multiply-adds of calls above WARM that NumPy does before the loops are loaded after all: as long
as loading takes, with numba and without. So a fit of many small steps costs at most twice the
cheaper of both ways, whatever is still to come."""


@functools.cache
def plain() -> ModuleType:
    """Distances, groups of centres, weighted sums."""
    from segpipe.kernels import nearest_jit

    return nearest_jit


@functools.cache
def step() -> ModuleType:
    """The Lloyd step."""
    from segpipe.kernels import nearest_tile_jit

    return nearest_tile_jit


@functools.cache
def sums() -> ModuleType:
    """Squared errors from the step's integers."""
    from segpipe.kernels import nearest_sums_jit

    return nearest_sums_jit


@functools.cache
def errors() -> ModuleType:
    """Squared errors row by row."""
    from segpipe.kernels import nearest_error_jit

    return nearest_error_jit


class Rent:
    """Multiply-adds that NumPy has done where the loops would have been faster."""

    paid = 0

    @classmethod
    def due(cls, work: int) -> bool:
        """Whether so much has been done that loading the loops would have paid."""
        cls.paid += work
        return cls.paid > (RENT_IMPORTED if "numba" in sys.modules else RENT)


def pays(work: int) -> bool:
    """Whether so many multiply-adds go to the compiled step."""
    if work > SMALL:
        return True
    return work > WARM and (step.cache_info().currsize > 0 or Rent.due(work))
