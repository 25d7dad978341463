"""Our side: ``segpipe run`` as a process, with the config that a user would write."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks import measure


def config(
    source: Path,
    target: Path,
    *,
    engine: str = "local",
    k: int | str = 8,
    model: str = "kmeans",
    outliers: str = "none",
    memory: str = "auto",
    seed: int = 0,
    options: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Standard scaling, every row labelled, all features written, published as Parquet."""
    return {
        "job": "bench",
        "source": {"uri": str(source)},
        "features": {"set": "columns", "scale": "standard"},
        "fit": {"model": model, "k": k}
        # MLlib's and scikit-learn's default mixtures have full covariances
        | ({"covariance": "full"} if model == "gmm" else {}),
        "outliers": {"method": outliers},
        "target": {"uri": str(target), "format": "parquet", "keep": "features"},
        "engine": {"name": engine, "memory": memory, **(options or {})},
        "seed": seed,
    }


def run(tree: Mapping[str, Any], place: Path, env: Mapping[str, str]) -> measure.Ran:
    """Write ``tree`` to ``place`` (JSON is YAML) and run it."""
    place.write_text(json.dumps(tree, indent=1))
    return measure.run([sys.executable, "-m", "segpipe", "run", place], env)


def working(told: Mapping[str, Any]) -> float:
    """Seconds of a run without the start of its session or cluster (stage ``engine``)."""
    seconds = told["seconds"]
    return float(sum(seconds.values()) - seconds.get("engine", 0.0))


def mixture(model_uri: str) -> dict[str, Any]:
    """The fitted mixture in the terms of ``quality.Mixture``."""
    from segpipe.models.mixture import MixtureModel
    from segpipe.stages.register import load_fitted

    fitted = load_fitted(model_uri)
    if not isinstance(fitted.model, MixtureModel):
        raise SystemExit(f"bench: the run fitted a {fitted.model.kind}, no mixture")
    return {
        "weights": fitted.model.weights,
        "means": fitted.model.means,
        "covariances": fitted.model.full_covariances(),
        "centre": [item.centre for item in fitted.scaler.inputs],
        "scale": [item.scale for item in fitted.scaler.inputs],
    }
