"""Reading, scaling and writing for the libraries that work in memory on one machine."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from contest import Task


def read(task: Task) -> tuple[pl.DataFrame, Any]:
    """The table and its scaled float32 matrix, row-major as the libraries want it.

    Polars is the fastest reader and writer here; what is compared is the clustering.
    """
    frame = pl.read_parquet(task.files)
    x = frame.to_numpy(order="c")
    mean = np.array([frame[name].mean() for name in frame.columns], x.dtype)
    std = np.array([frame[name].std(ddof=0) for name in frame.columns], x.dtype)
    # In place: a second matrix would double the memory.
    x = x if x.flags.writeable else x.copy()
    x -= mean
    x /= std
    return frame, x


def write(task: Task, frame: pl.DataFrame, labels: Any) -> None:
    """All columns and the label."""
    segment = pl.Series("segment", np.ascontiguousarray(labels, np.int32))
    frame.with_columns(segment).write_parquet(task.out)
