"""What keeps a small run light: pyarrow does not load pandas for nothing.

pyarrow's first ``pa.array`` imports pandas where it is installed, a quarter of a second, only to
recognise a Series if it is ever handed one. The engines that work with pandas ask it to look again.
"""

from __future__ import annotations

import sys
from typing import Any


class _Absent:
    """An import finder that knows one thing: pandas is not there."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        del path, target
        if name == "pandas":
            raise ModuleNotFoundError("pandas is left out of a native run", name=name)


def without_pandas() -> None:
    """Pyarrow goes without pandas until ``to_pandas`` is called; nothing if pandas is loaded.

    For a process of our own: in somebody else's, pandas may come later and be meant.
    """
    if "pandas" in sys.modules:
        return
    import pyarrow as pa

    absent: Any = _Absent()
    sys.meta_path.insert(0, absent)
    try:
        pa.array([0])
    finally:
        sys.meta_path.remove(absent)


def with_pandas() -> None:
    """Pyarrow knows pandas (again); ModuleNotFoundError if it is not installed."""
    import pyarrow as pa

    pa.array([0]).to_pandas()
