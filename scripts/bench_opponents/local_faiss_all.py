"""FAISS's Kmeans trained on every row: better centres than its default, and slower."""

from __future__ import annotations

from typing import Any

from contest import Task, compete
from local_faiss import prepare, work


def on_all(task: Task, ready: Any) -> dict[str, Any]:
    return work(task, ready, points=2**31 - 1)


compete(prepare, on_all)
