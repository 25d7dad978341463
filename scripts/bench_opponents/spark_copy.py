"""The bare copy with Spark and its defaults."""

from __future__ import annotations

from typing import Any

from contest import Task, compete


def prepare() -> Any:
    import spark_session

    return spark_session.session()


def work(task: Task, spark: Any) -> dict[str, Any]:
    spark.read.parquet(task.data).write.parquet(task.out)
    return {}


compete(prepare, work)
