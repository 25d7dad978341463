"""numba for this package: a loop is compiled once per machine, wherever the package lies.

numba's own ``cache=True`` keys a module inside a ``--py-files`` zip by the zip's path, which is new
in every Spark application, so that each one compiles anew; it raises where neither the package nor
HOME can be written; and it keeps the machine code of a loop whose callee in another module has
changed. Here the key is the source of all kernels, and no place to write means no cache.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Iterator
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import caching

Loop = TypeVar("Loop", bound=Callable[..., Any])


def jit(loop: Loop, **options: Any) -> Loop:
    """``numba.njit`` without the GIL and with our disk cache; ``options`` as numba's."""
    compiled: Any = numba.njit(nogil=True, **options)(loop)
    if folder() is not None:
        compiled._cache = _Cache(loop)
    return compiled  # type: ignore[no-any-return]


@cache
def stamp() -> str:
    """Digest of every kernel's source: loops inline one another across modules."""
    digest = hashlib.sha256()
    for entry in sorted(resources.files(__package__).iterdir(), key=lambda e: e.name):
        if entry.name.endswith(".py"):
            digest.update(entry.name.encode() + b"\0" + entry.read_bytes())
    return digest.hexdigest()


@cache
def folder() -> Path | None:
    """Where machine code is kept: the first place that can be written; None if there is none."""
    for place in _places():
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=place).close()
            return place
    return None


def _places() -> Iterator[Path]:
    own = f"segpipe-kernels-{stamp()[:16]}"
    if numba.config.CACHE_DIR:
        yield Path(numba.config.CACHE_DIR) / own
    here = Path(__file__).parent
    if here.is_dir():
        yield here / "__pycache__"
    with contextlib.suppress(RuntimeError):  # no HOME and no such user
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / own
    shared = Path(tempfile.gettempdir()) / f"segpipe-{os.getuid()}"
    with contextlib.suppress(OSError):
        shared.mkdir(mode=0o700, exist_ok=True)
        held = shared.lstat()
        # numba unpickles what it finds: nobody else may have put it there.
        if stat.S_ISDIR(held.st_mode) and held.st_uid == os.getuid() and not held.st_mode & 0o022:
            yield shared / own


class _Place:
    """What numba calls a cache locator."""

    def __init__(self, line: int) -> None:
        self._line = line

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Place:
        del py_file
        return cls(py_func.__code__.co_firstlineno)

    def get_cache_path(self) -> str:
        return str(folder())

    def ensure_cache_path(self) -> None:
        Path(self.get_cache_path()).mkdir(parents=True, exist_ok=True)

    def get_source_stamp(self) -> str:
        return stamp()

    def get_disambiguator(self) -> str:
        return str(self._line)


class _Files(caching.CompileResultCacheImpl):  # type: ignore[misc]
    _locator_classes = (_Place,)


class _Cache(caching.FunctionCache):  # type: ignore[misc]
    _impl_class = _Files

    def save_overload(self, sig: Any, data: Any) -> None:
        """A full disk costs the next process a compilation, not this one its result."""
        with contextlib.suppress(OSError):
            super().save_overload(sig, data)
