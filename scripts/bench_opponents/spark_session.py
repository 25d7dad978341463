"""Spark on this machine: all cores, half of the memory as heap (so that caching fits)."""

from __future__ import annotations

import atexit
import os
import sys
from typing import Any

from contest import cores, memory_mb


def session() -> Any:
    """A new local session. BLAS gets one thread: Spark's own advice where tasks fill the cores
    (MLlib Linear Algebra Acceleration Guide)."""
    from pyspark.sql import SparkSession

    os.environ |= {"OPENBLAS_NUM_THREADS": "1", "PYSPARK_PYTHON": sys.executable}
    spark = (
        SparkSession.builder.master(f"local[{cores()}]")
        .config("spark.driver.memory", f"{memory_mb() // 2}m")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    atexit.register(spark.stop)
    return spark
