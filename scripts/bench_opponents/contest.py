"""What every opponent shares: its task (JSON, the only argument), a clock, one JSON line to tell.

Each program reads the table, scales every feature to mean 0 and deviation 1, fits k groups, and
writes all features and the column ``segment`` as Parquet. ``prepare`` is what a long-lived service
would have done before (imports, session, cluster): it is timed apart.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Task:
    """What to do."""

    data: str
    """Folder of Parquet files."""
    out: str
    """File or folder to write; does not exist."""
    k: int
    seed: int
    model: str = "kmeans"
    """kmeans | gmm."""
    plain: bool = False
    """Copies: write uncompressed instead of with the writer's default codec."""

    @property
    def files(self) -> list[str]:
        """The table's files; names that start with _ hold the truth."""
        place = Path(self.data)
        return [str(place)] if place.is_file() else sorted(map(str, place.glob("[!_]*.parquet")))


def cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0))


def memory_mb() -> int:
    """Physical memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20


@contextlib.contextmanager
def clocked(told: dict[str, Any], name: str) -> Iterator[None]:
    """Note the seconds of a part, such as the fit."""
    start = time.perf_counter()
    yield
    told[name] = time.perf_counter() - start


def compete(prepare: Callable[[], Any], work: Callable[[Task, Any], dict[str, Any]]) -> None:
    """Time ``work``; a library that is not installed is told, not raised."""
    task = Task(**json.loads(sys.argv[1]))
    begun = time.perf_counter()
    try:
        ready = prepare()
    except ModuleNotFoundError as error:
        print(json.dumps({"missing": error.name}), flush=True)
        return
    start = time.perf_counter()
    told = work(task, ready)
    end = time.perf_counter()
    print(json.dumps({"seconds": end - start, "session": start - begun, **told}), flush=True)
