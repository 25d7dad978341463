"""The bare copy with Polars: streamed into one file; its default codec is zstd."""

from __future__ import annotations

from typing import Any

from contest import Task, compete


def prepare() -> Any:
    import polars

    return polars


def work(task: Task, pl: Any) -> dict[str, Any]:
    codec = {"compression": "uncompressed"} if task.plain else {}
    pl.scan_parquet(task.files).sink_parquet(task.out, **codec)
    return {}


compete(prepare, work)
