"""The bare copy with dask.dataframe; its default codec is snappy."""

from __future__ import annotations

from typing import Any

from contest import Task, compete


def prepare() -> Any:
    import dask.dataframe as dd
    import dask_session

    dask_session.client()
    return dd


def work(task: Task, dd: Any) -> dict[str, Any]:
    codec = {"compression": "none"} if task.plain else {}
    dd.read_parquet(task.data).to_parquet(task.out, write_index=False, **codec)
    return {}


if __name__ == "__main__":  # workers import this file
    compete(prepare, work)
