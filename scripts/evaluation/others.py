"""Other people's detectors, each in a process of its own, which a time limit can end."""

from __future__ import annotations

import importlib
import multiprocessing
from multiprocessing.connection import Connection

import numpy as np

PYOD = {
    "IForest": "iforest",
    "LOF": "lof",
    "KNN": "knn",
    "ECOD": "ecod",
    "HBOS": "hbos",
    "COPOD": "copod",
    "CBLOF": "cblof",
}
GLOSH = "GLOSH"
GRACE = 30.0
"""Seconds that a new process may take to import what it needs; on top of the limit."""


def detected(name: str, fit: np.ndarray, score: np.ndarray | None, seed: int) -> np.ndarray:
    """Scores of the rows of ``score``, None: of ``fit``. PyOD's defaults.

    GLOSH has no scores of held-out rows that compare (``approximate_predict_scores``): it is
    fitted on the rows that it scores. Scores that are not a number (floods of equal rows) count
    as usual.
    """
    if name == GLOSH:
        import hdbscan

        rows = fit if score is None else score
        least = max(5, len(rows) // 200)
        fitted = hdbscan.HDBSCAN(min_cluster_size=least, min_samples=10).fit(rows)
        return np.nan_to_num(fitted.outlier_scores_, nan=0.0)
    module = importlib.import_module(f"pyod.models.{PYOD[name]}")
    seeded = {"random_state": seed} if name in ("IForest", "CBLOF") else {}
    found = getattr(module, name)(**seeded).fit(fit)
    return np.asarray(found.decision_scores_ if score is None else found.decision_function(score))


def _answer(
    end: Connection, name: str, fit: np.ndarray, score: np.ndarray | None, seed: int
) -> None:
    try:
        end.send(detected(name, fit, score, seed))
    except Exception as refused:  # told to the parent, which leaves the method out
        end.send(f"{type(refused).__name__}: {refused}")


def limited(
    name: str, fit: np.ndarray, score: np.ndarray | None, seed: int, seconds: float
) -> np.ndarray:
    """``detected`` within so many seconds.

    Raises
    ------
    TimeoutError
        It takes longer; the process is gone.
    ValueError
        It refused, or died (out of memory, say).
    """
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_answer, args=(theirs, name, fit, score, seed), daemon=True)
    child.start()
    theirs.close()
    try:
        if not ours.poll(seconds + GRACE):
            raise TimeoutError(f"not done after {seconds:g} s")
        found = ours.recv()
    except EOFError:
        raise ValueError("its process died") from None
    finally:
        child.kill()
        child.join()
        ours.close()
    if isinstance(found, str):
        raise ValueError(found)
    return np.asarray(found)
