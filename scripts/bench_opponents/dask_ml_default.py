"""dask-ml's KMeans with its default start, on persisted input all the same."""

from __future__ import annotations

from typing import Any

from contest import Task, compete
from dask_ml_tuned import prepare, work


def untuned(task: Task, ready: Any) -> dict[str, Any]:
    return work(task, ready, tuned=False)


if __name__ == "__main__":  # workers import this file
    compete(prepare, untuned)
