"""Opens the engine that the config names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.light import with_pandas

NAMES = ("local", "dask", "spark")
IO = ("auto", "arrow", "engine")
_DASK_KEYS = frozenset({"address", "cluster", "options"})


def open_engine(
    name: str,
    *,
    memory: str | int = "auto",
    io: str = "auto",
    spark: Mapping[str, Any] | None = None,
    dask: Mapping[str, Any] | None = None,
    parts: int = 0,
) -> Engine:
    """The engine ``name``; it closes at the end of a ``with`` block.

    Parameters
    ----------
    memory
        What the engine may take on this machine: ``auto`` (half of it), bytes, or ``"4g"``.
    io
        Who reads files: ``auto`` and ``arrow`` pyarrow in the tasks, ``engine`` the engine's own
        reader.
    spark
        Conf keys; ``spark.master`` or ``spark.remote`` say where.
    dask
        ``address``, or ``cluster`` (import string) with ``options``; neither: processes here.
    parts
        Parts a table is cut into; 0 = by its size and the number of workers.

    Raises
    ------
    ConfigError
        Unknown name or key, a missing extra, no Java.
    TemporaryError
        The cluster does not answer.
    """
    if io not in IO:
        raise ConfigError(f"engine.io {io!r} is unknown.", f"known: {', '.join(IO)}")
    cluster = {key: value for key, value in (dask or {}).items() if value not in (None, {})}
    if unknown := sorted(set(cluster) - _DASK_KEYS):
        raise ConfigError(f"engine.dask: unknown {unknown}.", f"known: {sorted(_DASK_KEYS)}")
    try:
        if name == "local":
            from segpipe.engines.local import LocalEngine

            return LocalEngine(memory=memory, io=io, parts=parts)
        if name in ("dask", "spark"):
            with_pandas()
        if name == "dask":
            from segpipe.engines.dask import DaskEngine

            return DaskEngine(memory=memory, io=io, parts=parts, **cluster)
        if name == "spark":
            from segpipe.engines.spark import SparkEngine

            return SparkEngine(memory=memory, io=io, conf=spark, parts=parts)
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("segpipe"):
            raise
        raise ConfigError(
            f"engine {name} needs the package {error.name}, which is not installed.",
            f"pip install 'segpipe[{name}]'" if name != "local" else "pip install segpipe",
        ) from error
    raise ConfigError(f"engine {name!r} is unknown.", f"known engines: {', '.join(NAMES)}")
