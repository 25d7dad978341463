"""The loop of Hartigan's dip, compiled."""

from __future__ import annotations

from segpipe.kernels import dip
from segpipe.kernels.jit import jit

dip_loop = jit(dip.dip_loop)
