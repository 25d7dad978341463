"""segpipe: segment customers and score network logs; one config, three engines, one answer.

``import segpipe`` is light: engines, kernels and models load when they are used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segpipe.pipeline import fit as fit
    from segpipe.pipeline import run as run
    from segpipe.pipeline import score as score

__version__ = "0.1.0"
__all__ = ["__version__", "fit", "run", "score"]


def __getattr__(name: str) -> Any:
    if name in {"run", "fit", "score"}:
        # By name: an import statement here would put every module below the pipeline above it.
        return getattr(importlib.import_module("segpipe.pipeline"), name)
    raise AttributeError(f"module 'segpipe' has no attribute {name!r}")
