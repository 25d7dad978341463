"""The bare copy with Spark; its default codec is snappy."""

from __future__ import annotations

from typing import Any

from contest import Task, compete


def prepare() -> Any:
    import spark_session

    return spark_session.session()


def work(task: Task, spark: Any) -> dict[str, Any]:
    codec = {"compression": "none"} if task.plain else {}
    spark.read.parquet(task.data).write.parquet(task.out, **codec)
    return {}


compete(prepare, work)
