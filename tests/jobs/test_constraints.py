"""What a user fixes: the start, the smallest segment, very many segments, categories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from segpipe import configfile, pipeline
from segpipe.engines.local import LocalEngine
from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.models.scaler import MISMATCH
from segpipe.stages.register import load_fitted


def run(engine: Engine, folder: Path, table: dict[str, Any], **fit: Any) -> tuple[Any, pa.Table]:
    """The summary, and the labels in the order of the rows."""
    folder.mkdir()
    rows = len(next(iter(table.values())))
    held = pa.table({"id": np.arange(rows), **table})
    pq.write_table(held, folder / "in.parquet", row_group_size=-(-rows // 3))
    tree = {
        "source": {"uri": str(folder / "in.parquet")},
        "contract": {"keys": ["id"]},
        "features": {"columns": list(table), "scale": "standard"},
        "fit": {"model": "kmeans", **fit},
        "outliers": {"method": "none"},
        "target": {"uri": str(folder / "out"), "format": "parquet"},
    }
    summary = pipeline.execute(mode="run", config=tree, engine=engine).summary
    return summary, pads.dataset(folder / "out", format="parquet").to_table().sort_by("id")


def square(seed: int) -> dict[str, Any]:
    """Four corners: two segments may lie left and right, or below and above."""
    rng = np.random.default_rng(seed)
    corners = np.array([[0, 0], [0, 10], [11, 0], [11, 10.0]])
    x = corners[np.arange(800) % 4] + rng.normal(size=(800, 2))
    return {"a": x[:, 0], "b": x[:, 1]}


def test_a_run_starts_where_the_previous_one_ended(engine: Engine, tmp_path: Path) -> None:
    table = square(0)
    low = table["b"] < 5
    # Once above and below were two of a kind for certain: rows were cut to one side each.
    before = {"a": np.where(low, 0, 0.5) + table["a"] % 1, "b": table["b"]}
    first, _ = run(engine, tmp_path / "before", before, k=2)
    _, warm = run(engine, tmp_path / "warm", table, k=2, warm_start=first["model_uri"])
    _, fresh = run(engine, tmp_path / "fresh", table, k=2, n_init=10)
    parts = {n: t["segment_id"].to_numpy().astype(bool) for n, t in (("w", warm), ("f", fresh))}
    agree = {n: max((p == low).mean(), (p != low).mean()) for n, p in parts.items()}
    assert agree["w"] > 0.99 and agree["f"] < 0.6  # left and right have the lower inertia


def test_a_start_of_another_number_is_said_to_be_unused(tmp_path: Path) -> None:
    with LocalEngine() as local:
        first, _ = run(local, tmp_path / "before", square(0), k=4)
        summary, _ = run(local, tmp_path / "after", square(1), k=2, warm_start=first["model_uri"])
    assert any("fit.warm_start has 4 segments" in text for text in summary["warnings"])
    decision = json.loads(Path(summary["decision"]).read_text())
    assert decision["warm_start"] == {"centres": 4, "used": False}


@pytest.mark.parametrize("model", ["bisecting", "agglomerative", "hdbscan", "dbscan"])
def test_models_without_a_start_refuse_one(model: str) -> None:
    tree = {"source": {"uri": "x"}, "target": {"uri": "y"}}
    with pytest.raises(ConfigError, match="warm_start starts kmeans and gmm"):
        configfile.validate({**tree, "fit": {"model": model, "warm_start": "z"}})


def test_no_segment_below_the_smallest_share_with_k_given(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    centres = np.repeat([[0.0, 0], [9, 0], [30, 30]], [500, 500, 12], axis=0)
    x = centres + rng.normal(size=(1_012, 2))
    table = {"a": x[:, 0], "b": x[:, 1]}
    free, _ = run(engine, tmp_path / "free", table, k=3, min_share=0)
    assert min(s["rows"] for s in free["segments"]) == 12
    held, _ = run(engine, tmp_path / "held", table, k=3, min_share=0.1)
    assert len(held["segments"]) == 3 and min(s["share"] for s in held["segments"]) >= 0.1
    assert not any("fit.min_share" in text for text in held["warnings"])


def test_a_segment_that_stays_too_small_is_named(tmp_path: Path) -> None:
    x = np.r_[np.random.default_rng(3).normal(size=500), [30.0] * 9]
    with LocalEngine() as local:
        summary, _ = run(local, tmp_path / "t", {"a": x}, k=2, model="bisecting", min_share=0.05)
    assert any(
        "segments below 5.00% of the rows (fit.min_share): 1" in w for w in summary["warnings"]
    )


def test_hundreds_of_segments(engine: Engine, tmp_path: Path) -> None:
    x = np.random.default_rng(5).uniform(size=(3_000, 2))
    summary, table = run(engine, tmp_path / "t", {"a": x[:, 0], "b": x[:, 1]}, k=250, n_init=1)
    assert np.unique(table["segment_id"]).tolist() == list(range(250))
    assert summary["model"]["k"] == len(summary["segments"]) == 250


@pytest.mark.slow
def test_a_thousand_segments(tmp_path: Path) -> None:
    x = np.random.default_rng(5).uniform(size=(20_000, 3))
    with LocalEngine() as local:
        summary, table = run(local, tmp_path / "t", dict(zip("abc", x.T, strict=True)), k=1_000)
    assert len(np.unique(table["segment_id"])) == 1_000
    assert min(s["rows"] for s in summary["segments"]) > 0


def test_a_mismatch_of_categories_costs_a_part_of_a_variance(
    engine: Engine, tmp_path: Path
) -> None:
    """Numbers at one standard deviation from the centre, and each level in half of the rows."""
    table = {"a": np.tile([-1.0, 1.0], 50), "kind": np.repeat(["x", "y"], 50)}
    _, labels = run(engine, tmp_path / "t", table, k=1)
    # half of the two levels lies MISMATCH / 4 from either (squared)
    expected = np.sqrt(1.0 + MISMATCH / 4)
    np.testing.assert_allclose(labels["segment_distance"], expected, rtol=1e-5)


def test_categories_part_segments_that_numbers_do_not(engine: Engine, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    side = rng.integers(0, 2, 600)
    words = np.array(["low", "high"])[side]
    table = {"a": rng.normal(size=600), **{f"w{i}": words for i in range(12)}}
    summary, labels = run(engine, tmp_path / "t", table, k=2)
    segment = labels["segment_id"].to_numpy()
    assert max((segment == side).mean(), (segment != side).mean()) == 1.0
    centres = load_fitted(summary["model_uri"])
    restored = centres.scaler.restore(centres.model.centres)
    assert set(restored["w0"]) == {"low", "high"}
