"""The bare copy with Polars: streamed from the files into one file, its own defaults (zstd)."""

from __future__ import annotations

from typing import Any

from contest import Task, compete


def prepare() -> Any:
    import polars

    return polars


def work(task: Task, pl: Any) -> dict[str, Any]:
    pl.scan_parquet(task.files).sink_parquet(task.out)
    return {}


compete(prepare, work)
