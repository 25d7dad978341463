"""Detectors under one roof: ours by its own jobs, the others on the same scaled features."""

from __future__ import annotations

import importlib
import importlib.util
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from evaluation.data import Case

ROW = "evaluated_row"
"""Column by which a label table's rows are put back into the order of the truth."""
PYOD = {
    "IForest": "iforest",
    "LOF": "lof",
    "KNN": "knn",
    "ECOD": "ecod",
    "HBOS": "hbos",
    "COPOD": "copod",
    "CBLOF": "cblof",
}
SLOW_ROWS = 12_000
"""GLOSH takes a minute beyond."""


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


def pyod(case: Case, name: str) -> np.ndarray:
    """PyOD with its defaults."""
    module = importlib.import_module(f"pyod.models.{PYOD[name]}")
    x, y = scaled(case)
    seeded = {"random_state": case.seed} if name in ("IForest", "CBLOF") else {}
    fitted = getattr(module, name)(**seeded).fit(x)
    return np.asarray(fitted.decision_scores_ if x is y else fitted.decision_function(y))


def glosh(case: Case) -> np.ndarray:
    """hdbscan's GLOSH; scores that are not a number (floods of equal rows) count as usual.

    Of held-out rows it has none that compare (``approximate_predict_scores``): it is fitted on
    the rows that it scores.
    """
    import hdbscan

    _, y = scaled(case)
    if len(y) > SLOW_ROWS:
        raise MemoryError(f"GLOSH of {len(y):,} rows is left out")
    fitted = hdbscan.HDBSCAN(min_cluster_size=max(5, len(y) // 200), min_samples=10).fit(y)
    return np.nan_to_num(fitted.outlier_scores_, nan=0.0)


def methods(with_ours: tuple[str, ...]) -> Mapping[str, Callable[[Case], np.ndarray]]:
    """Name -> scores of a case; PyOD's and hdbscan's only where they are installed."""
    found: dict[str, Callable[[Case], np.ndarray]] = {
        f"segpipe {m}": (lambda case, m=m: ours(case, m)) for m in with_ours
    }
    if importlib.util.find_spec("pyod"):
        found |= {f"PyOD {n}": (lambda case, n=n: pyod(case, n)) for n in PYOD}
    if importlib.util.find_spec("hdbscan"):
        found["hdbscan GLOSH"] = glosh
    return found
