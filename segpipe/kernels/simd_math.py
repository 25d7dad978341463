"""Elementary functions of vectors (``simd``): the same bits in every lane and on every machine."""

from __future__ import annotations

from typing import Any

from segpipe.kernels.jit import jit
from segpipe.kernels.simd import choose, fma, raise_exponent, splat, sub

_WHOLE = 1.5 * 2.0**52
_LOG2E = 1.4426950408889634
_LN2_HIGH, _LN2_LOW = 6.93147180369123816490e-01, 1.90821492927058770002e-10  # fdlibm
_NIL = -60.0


@jit
def exponential(z: Any) -> Any:
    """E^z for z <= 0, within 1 ulp (tested); 0 below -60. e^0 is exactly 1."""
    whole = splat(_WHOLE)
    # z log2 e = n + f: e^z = 2^n e^r with |r| <= ln 2 / 2, e^r by its Taylor series to r^13.
    shifted = fma(z, splat(_LOG2E), whole)
    n = sub(shifted, whole)
    r = fma(n, splat(-_LN2_LOW), fma(n, splat(-_LN2_HIGH), z))
    e = splat(1.0 / 6227020800.0)
    e = fma(e, r, splat(1.0 / 479001600.0))
    e = fma(e, r, splat(1.0 / 39916800.0))
    e = fma(e, r, splat(1.0 / 3628800.0))
    e = fma(e, r, splat(1.0 / 362880.0))
    e = fma(e, r, splat(1.0 / 40320.0))
    e = fma(e, r, splat(1.0 / 5040.0))
    e = fma(e, r, splat(1.0 / 720.0))
    e = fma(e, r, splat(1.0 / 120.0))
    e = fma(e, r, splat(1.0 / 24.0))
    e = fma(e, r, splat(1.0 / 6.0))
    e = fma(e, r, splat(0.5))
    e = fma(e, r, splat(1.0))
    e = fma(e, r, splat(1.0))
    return choose(z, splat(_NIL), splat(0.0), raise_exponent(e, shifted))
