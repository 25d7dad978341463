"""A Dask cluster on this machine: a process per core with one thread, all of its memory."""

from __future__ import annotations

import atexit
import logging
from typing import Any

from contest import cores, memory_mb


def client() -> Any:
    """Connected, workers there. Dask itself sets one BLAS thread per worker."""
    import distributed

    cluster = distributed.LocalCluster(
        n_workers=cores(),
        threads_per_worker=1,
        memory_limit=f"{memory_mb() // cores()}MiB",
        dashboard_address=None,
        silence_logs=logging.ERROR,
    )
    opened = distributed.Client(cluster)
    opened.wait_for_workers(cores())
    atexit.register(cluster.close)
    atexit.register(opened.close)
    return opened
