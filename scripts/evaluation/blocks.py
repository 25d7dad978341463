"""The scaled features of the connections job, for detectors that are not ours."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq


def blocks(rows: pa.Table) -> np.ndarray:
    """(rows, features) of the default network job: its own features, its own scaler."""
    from segpipe import pipeline
    from segpipe.stages.register import load_fitted

    rows = rows.drop_columns([n for n in ("attack", "difficulty") if n in rows.column_names])
    with tempfile.TemporaryDirectory(prefix="segpipe-evaluate-") as folder:
        pq.write_table(rows, Path(folder) / "rows.parquet")
        run = pipeline.run(
            {
                "source": {"uri": f"{folder}/rows.parquet"},
                "features": {"set": "connections"},
                "fit": {"model": "kmeans", "k": 2, "n_init": 1, "polish_passes": 0},
                "outliers": {"method": "none"},
                "target": {"uri": f"{folder}/labels", "format": "parquet"},
            }
        )
        scaler = load_fitted(run.summary["model_uri"]).scaler
        wanted = [item.name for item in scaler.inputs]
        table = run.labels.to_table(columns=wanted).combine_chunks()
    block = scaler.transform(table.to_batches()[0])
    return np.ascontiguousarray(block.T.astype(np.float64))
