"""Every segment model, outlier method and threshold once through the config: whole label tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from sklearn.metrics import adjusted_rand_score, roc_auc_score

from segpipe import pipeline
from segpipe.engines.local import LocalEngine

ROWS, ODD = 4_000, 40
KINDS = ("kmeans", "gmm", "bisecting", "agglomerative", "hdbscan", "dbscan")
METHODS = ("mass", "isolation_forest", "ensemble", "hdbscan", "dbscan", "segment")
SCORES = ("outlier_score", "outlier_quantile", "outlier_p", "is_outlier", "outlier_reasons")


@pytest.fixture(scope="module")
def local() -> Any:
    with LocalEngine() as engine:
        yield engine


@pytest.fixture(scope="module")
def truth() -> npt.NDArray[np.int64]:
    """Three clusters, and 1 % of rows (the last) that belong to none: -1."""
    return np.where(np.arange(ROWS) < ROWS - ODD, np.arange(ROWS) % 3, -1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, truth: npt.NDArray[np.int64]) -> Path:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(ROWS, 3)) + np.array([[0, 0, 0], [12, 0, 5], [0, 12, -5]])[truth]
    angle = rng.uniform(0, 2 * np.pi, ODD)
    odd = truth < 0
    x[odd] = np.stack([25 * np.cos(angle), 25 * np.sin(angle), rng.uniform(-20, 20, ODD)], axis=1)
    path = tmp_path_factory.mktemp("blobs") / "in.parquet"
    pq.write_table(pa.table({"id": np.arange(ROWS), **dict(zip("abc", x.T, strict=True))}), path)
    return path


def labelled(local: LocalEngine, source: Path, out: Path, **sections: Any) -> Any:
    config = {
        "source": {"uri": str(source)},
        "contract": {"keys": ["id"]},
        "features": {"columns": ["a", "b", "c"]},
        "target": {"uri": str(out)},
        **sections,
    }
    summary = pipeline.execute(mode="run", config=config, engine=local).summary
    return summary, DeltaTable(str(out)).to_pyarrow_table().sort_by("id")


def assert_whole(table: pa.Table) -> None:
    """Every row has a segment, a finite score, a quantile; confidences lie in 0..1."""
    assert table.num_rows == ROWS
    for name in ("segment_id", "segment_confidence", "segment_distance", *SCORES[:4]):
        assert table[name].null_count == 0, name
    assert table["segment"].null_count == 0
    for name in ("outlier_score", "segment_distance", "segment_confidence"):
        assert np.isfinite(table[name].to_numpy()).all(), name
    for name in ("outlier_quantile", "segment_confidence", "outlier_p"):
        values = table[name].to_numpy()
        assert values.min() >= 0 and values.max() <= 1, name
    score = table["outlier_score"].to_numpy()
    order = np.argsort(score, kind="stable")
    assert (np.diff(table["outlier_quantile"].to_numpy()[order]) >= 0).all()
    flagged = table["is_outlier"].to_numpy(zero_copy_only=False)
    assert not flagged.any() or score[flagged].min() > score[~flagged].max(initial=-np.inf)
    reasons = table["outlier_reasons"].combine_chunks()
    assert pc.all(pc.equal(pc.is_valid(reasons), pa.array(flagged))).as_py()


@pytest.mark.parametrize("kind", KINDS)
def test_every_model(
    local: LocalEngine,
    source: Path,
    truth: npt.NDArray[np.int64],
    tmp_path: Path,
    kind: str,
) -> None:
    density = kind in ("hdbscan", "dbscan")
    # The likeliest mixture spends a component on rows that fit no other.
    k = 4 if kind == "gmm" else 3
    fit = {"model": kind, **({} if density else {"k": k})}
    summary, table = labelled(local, source, tmp_path / "out", fit=fit)
    assert_whole(table)
    assert summary["model"]["kind"] == kind and summary["model"]["k"] == k
    segment = table["segment_id"].to_numpy()
    inside = truth >= 0
    assert adjusted_rand_score(truth[inside], segment[inside]) > 0.97
    assert (segment.min() == -1) == density
    listed = {s["id"]: s["rows"] for s in summary["segments"]}
    assert listed == {int(i): int((segment == i).sum()) for i in np.unique(segment)}
    assert sum(s["share"] for s in summary["segments"]) == pytest.approx(1)


@pytest.mark.parametrize("method", METHODS)
def test_every_outlier_method(
    local: LocalEngine,
    source: Path,
    truth: npt.NDArray[np.int64],
    tmp_path: Path,
    method: str,
) -> None:
    outliers = {"method": method, "threshold": {"contamination": 0.01}}
    summary, table = labelled(local, source, tmp_path / "out", fit={"k": 3}, outliers=outliers)
    assert_whole(table)
    flagged = pc.sum(table["is_outlier"]).as_py()
    assert summary["outliers"]["method"] == method
    assert summary["outliers"]["flagged"] == flagged
    assert abs(flagged - 0.01 * ROWS) <= 0.1 * 0.01 * ROWS
    assert roc_auc_score(truth < 0, table["outlier_score"].to_numpy()) > 0.97


@pytest.mark.parametrize(
    ("threshold", "least", "most"),
    [
        ({"contamination": 0.05}, 196, 204),
        ({"top_n": 25}, 25, 25),
        ({"fdr": 0.05}, 20, 60),
    ],
)
def test_every_threshold(
    local: LocalEngine,
    source: Path,
    tmp_path: Path,
    threshold: dict[str, float],
    least: int,
    most: int,
) -> None:
    outliers = {"threshold": threshold}
    summary, table = labelled(local, source, tmp_path / "out", fit={"k": 3}, outliers=outliers)
    assert_whole(table)
    assert least <= summary["outliers"]["flagged"] <= most
    assert not [said for said in summary["warnings"] if "flagged" in said]


def test_a_threshold_that_flags_most_of_the_table_is_told(
    local: LocalEngine, source: Path, tmp_path: Path
) -> None:
    outliers = {"threshold": {"top_n": 10 * ROWS}}
    summary, _ = labelled(local, source, tmp_path / "out", fit={"k": 3}, outliers=outliers)
    said = "4,000 of 4,000 rows are flagged: outliers.threshold asks for top_n 40000"
    assert said in summary["warnings"]


def test_no_outlier_method_leaves_null_columns(
    local: LocalEngine, source: Path, tmp_path: Path
) -> None:
    outliers = {"method": "none"}
    summary, table = labelled(local, source, tmp_path / "out", fit={"k": 3}, outliers=outliers)
    assert all(table[name].null_count == ROWS for name in SCORES)
    assert table["segment_id"].null_count == table["segment_distance"].null_count == 0
    assert summary["outliers"] == {"method": "none", "flagged": None, "threshold": None}
