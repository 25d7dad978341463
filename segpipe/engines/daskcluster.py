"""Where a Dask cluster comes from, and how its absence or loss is told."""

from __future__ import annotations

import contextlib
import importlib
import logging
import re
import tempfile
from collections.abc import Iterator, Mapping
from concurrent.futures import CancelledError
from typing import Any

import dask
import distributed
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from segpipe.engines import frames, reach
from segpipe.errors import ConfigError, TemporaryError

CONNECT_SECONDS = 20
"""A scheduler or a first worker that does not answer by then is an error 75."""
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "POLARS_MAX")
}
"""A task uses one core: there are as many tasks as cores."""


def connect(
    closing: contextlib.ExitStack,
    memory: str | int,
    address: str | None,
    cluster: str | None,
    options: Mapping[str, Any],
) -> distributed.Client:
    """A client of the cluster; what it started is stopped by ``closing``.

    Raises
    ------
    TemporaryError
        Nobody answers, or there are no workers.
    ConfigError
        An unusable address or cluster class, or workers without this segpipe.
    """
    where: Any = address
    found = re.fullmatch(r"(?:tcp|tls)://([^/]+)", address or "")
    if found and (reasons := reach.silence([found.group(1)], 8786)):
        raise _nobody(reasons)
    if address is None:
        where = _named(cluster, options) if cluster else _embedded(closing, memory, options)
        closing.callback(where.close)
    try:
        client = distributed.Client(
            where, timeout=CONNECT_SECONDS, set_as_default=False, name="segpipe"
        )
        closing.callback(client.close, timeout=10)
        client.wait_for_workers(1, timeout=CONNECT_SECONDS)
    except (OSError, TimeoutError, CommClosedError) as error:
        raise _nobody(f"{address or cluster or 'this machine'}: {error}") from error
    except ValueError as error:  # an address without a known scheme
        raise ConfigError(
            f"engine.dask.address {address!r} is no Dask address: {error}",
            "write tcp://host:port or tls://host:port",
        ) from error
    if address or cluster:
        _check_workers(client)
    return client


def _embedded(
    closing: contextlib.ExitStack, memory: str | int, given: Mapping[str, Any]
) -> distributed.LocalCluster:
    """Worker processes on this machine, one thread each."""
    options = dict(given)
    count = options.setdefault("n_workers", frames.cores())
    options.setdefault("threads_per_worker", 1)
    options.setdefault("memory_limit", frames.memory_bytes(memory) // max(count, 1))
    # No dashboard, and no fixed port: two jobs may run on one machine.
    options.setdefault("dashboard_address", "127.0.0.1:0")
    options.setdefault("scheduler_kwargs", {"dashboard": False})
    options.setdefault("silence_logs", logging.CRITICAL)
    spill = closing.enter_context(
        tempfile.TemporaryDirectory(prefix="segpipe-dask-", ignore_cleanup_errors=True)
    )
    options.setdefault("local_directory", spill)
    with dask.config.set({"distributed.nanny.pre-spawn-environ": ONE_THREAD}):
        try:
            return distributed.LocalCluster(processes=True, **options)
        except RuntimeError as error:  # "Nanny failed to start": no memory, no time, no processes
            raise TemporaryError(
                f"the Dask workers of this machine did not start: {error}",
                "free memory, or retry; a script that runs segpipe needs "
                'if __name__ == "__main__": around what it does',
            ) from error


def _nobody(reasons: str) -> TemporaryError:
    return TemporaryError(
        f"no Dask cluster answers ({reasons}).",
        "start the scheduler and at least one worker, or correct engine.dask.address",
    )


def _named(cluster: str, options: Mapping[str, Any]) -> Any:
    """A cluster made by any class, e.g. ``dask_kubernetes.operator.KubeCluster``."""
    module, _, name = cluster.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"engine.dask.cluster {cluster!r} cannot be imported: {error}",
            "install its package, or write module.Class",
        ) from error
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"engine.dask.cluster {cluster} refuses its options {sorted(options)}: {error}"
        ) from error
    except (OSError, TimeoutError) as error:
        raise TemporaryError(f"engine.dask.cluster {cluster} did not start: {error}") from error


def _check_workers(client: distributed.Client) -> None:
    """Workers elsewhere must be able to import what tasks are made of."""
    from segpipe import __version__

    try:
        found = set(client.run(_version).values())
    except ImportError as error:
        raise ConfigError(
            f"the Dask workers cannot import segpipe: {error}",
            "install segpipe[dask] on the workers",
        ) from error
    if found != {__version__}:
        raise ConfigError(
            f"segpipe is {__version__} here and {', '.join(sorted(found))} on the Dask workers.",
            "install the same version everywhere",
        )


def _version() -> str:
    from segpipe import __version__

    return __version__


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Loss of the cluster as our error; whatever a task raised comes back as it was."""
    try:
        yield
    except KilledWorker as error:
        raise TemporaryError(
            f"Dask workers died while they ran a task: {error}",
            "give them more memory (engine.memory), or retry",
        ) from error
    except (CommClosedError, CancelledError, TimeoutError) as error:
        raise TemporaryError(
            f"the Dask cluster was lost: {error or type(error).__name__}", "retry"
        ) from error
