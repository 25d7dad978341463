"""The run summary: the one JSON object that ``run``, ``fit``, ``score`` and ``palette`` print."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from segpipe.errors import SegpipeError


def blank(mode: str) -> dict[str, Any]:
    """Every key of the contract, unknown yet."""
    return {
        "run_id": None,
        "status": "failed",
        "error": None,
        "mode": mode,
        "engine": None,
        "job": None,
        "as_of": None,
        "rows_in": None,
        "rows_used": None,
        "rows_labelled": None,
        "rows_rejected": None,
        "model": {"kind": None, "k": None, "library": None, "why": None},
        "segments": [],
        "outliers": {"method": None, "flagged": None, "threshold": None},
        "quality": {
            "inertia": None,
            "silhouette": None,
            "stability": None,
            "natural_segments": None,
        },
        "labels": {"uri": None, "format": None, "version": None},
        "rejects": {"uri": None, "format": None, "rows": None, "reasons": {}},
        "report": None,
        "record": None,
        "decision": None,
        "model_uri": None,
        "seconds": {},
        "peak_rss_mb": None,
        "warnings": [],
    }


def error_of(error: BaseException) -> dict[str, Any]:
    """Code, message and hint of a failure; anything unexpected is a bug (70)."""
    if isinstance(error, SegpipeError):
        return {"code": error.code, "message": error.message, "hint": error.hint}
    if isinstance(error, MemoryError):
        hint = "Lower fit.sample_rows or engine.memory, or take more workers."
        return {"code": 70, "message": f"out of memory: {error}", "hint": hint}
    return {
        "code": 70,
        "message": f"{type(error).__name__}: {error}",
        "hint": "This is a bug in segpipe: run again with --debug and report the traceback.",
    }


def strict(value: Any) -> Any:
    """The value as strict JSON takes it: numpy unwrapped, non-finite numbers null, keys text."""
    if isinstance(value, Mapping):
        return {str(k): strict(v) for k, v in value.items()}
    if isinstance(value, np.ndarray | np.generic):
        return strict(value.tolist())
    if isinstance(value, list | tuple | set | frozenset):
        return [strict(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, str | bool | int | float):
        return value
    return str(value)
