"""Detectors under one roof: ours by its own jobs, the others on the same scaled features."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.data import Case
from evaluation.others import GLOSH, PYOD, limited

ROW = "evaluated_row"
"""Column by which a label table's rows are put back into the order of the truth."""


def ours(case: Case, method: str) -> np.ndarray:
    """``outlier_score`` of a fitted and published job; the truth is not in any table it reads."""
    from segpipe import pipeline

    with tempfile.TemporaryDirectory(prefix="segpipe-evaluate-") as folder:
        config: dict[str, Any] = {
            "features": {"set": case.features},
            "fit": {"model": "kmeans", "k": 3, "n_init": 1, "polish_passes": 1},
            "outliers": {"method": method},
            "seed": case.seed,
        }
        parts = {"fit": case.fit, "score": case.score}
        for part, rows in parts.items():
            numbered = rows.append_column(ROW, pa.array(np.arange(rows.num_rows)))
            told = [n for n in ("attack", "difficulty") if n in rows.column_names]
            pq.write_table(numbered.drop_columns(told), Path(folder) / f"{part}.parquet")
        if case.features == "columns":
            # The row number is no feature; near copies are dropped as of columns nobody chose.
            config["contract"] = {"keys": [ROW]}
        config["target"] = {"uri": f"{folder}/labels", "format": "parquet", "keep": "all"}
        job = {**config, "source": {"uri": f"{folder}/fit.parquet"}}
        if case.fit is case.score:
            run = pipeline.run(job)
        else:
            fitted = pipeline.fit(job)
            job = {**config, "source": {"uri": f"{folder}/score.parquet"}}
            run = pipeline.score(job, model=fitted.summary["model_uri"])
        labels = run.labels.to_table(columns=[ROW, "outlier_score"]).sort_by(ROW)
    return np.asarray(labels["outlier_score"])


def scaled(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """What the other detectors see: ADBench's MinMax scaling, or our own blocks of log rows."""
    if case.features == "columns":
        from sklearn.preprocessing import MinMaxScaler

        x = np.column_stack(case.fit.columns)
        scaler = MinMaxScaler().fit(x)
        return scaler.transform(x), scaler.transform(np.column_stack(case.score.columns))
    from evaluation.blocks import blocks

    block = blocks(case.fit)
    return block, block


def methods(
    with_ours: tuple[str, ...], seconds: float, most: int
) -> Mapping[str, Callable[[Case], np.ndarray]]:
    """Name -> scores of a case; PyOD's and hdbscan's only where they are installed.

    These get ``seconds`` a case, and no case of more than ``most`` rows.
    """
    held: list[tuple[Case, tuple[np.ndarray, np.ndarray]]] = []

    def other(case: Case, name: str) -> np.ndarray:
        if case.fit.num_rows > most:
            raise ValueError(f"{case.fit.num_rows:,} rows are more than --others-most {most:,}")
        if not held or held[0][0] is not case:
            held[:] = [(case, scaled(case))]
        x, y = held[0][1]
        return limited(name, x, None if x is y else y, case.seed, seconds)

    found: dict[str, Callable[[Case], np.ndarray]] = {
        f"segpipe {m}": (lambda case, m=m: ours(case, m)) for m in with_ours
    }
    if importlib.util.find_spec("pyod"):
        found |= {f"PyOD {n}": (lambda case, n=n: other(case, n)) for n in PYOD}
    if importlib.util.find_spec("hdbscan"):
        found["hdbscan GLOSH"] = lambda case: other(case, GLOSH)
    return found
