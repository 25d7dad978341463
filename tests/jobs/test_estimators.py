"""The estimators answer as ``segpipe run`` does with the same settings on the same rows."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import segpipe
from segpipe.estimators import load

NAMES = ["a", "b", "c"]


@pytest.fixture(scope="module")
def table():
    """600 rows around four places of unequal size, skewed columns, some cells missing."""
    rng = np.random.default_rng(11)
    places = np.array([[0.0, 0, 0], [7, 0, 0], [0, 7, 0], [4, 4, 8]])
    x = np.repeat(places, [240, 180, 120, 60], axis=0) + rng.normal(0, 1, (600, 3))
    x[:, 2] = np.exp(x[:, 2] / 2)
    x[rng.integers(0, 600, 9), 1] = np.nan
    columns = {name: pa.array(x[:, i], from_pandas=True) for i, name in enumerate(NAMES)}
    columns["kind"] = pa.array(np.where(rng.random(600) < 0.3, "x", "y"))
    return pa.table(columns).take(rng.permutation(600))


@pytest.fixture
def run(table, tmp_path):
    pq.write_table(table, tmp_path / "t.parquet")

    def labelled(**sections):
        tree = {
            "source": {"uri": str(tmp_path / "t.parquet")},
            "target": {"uri": str(tmp_path / "out"), "format": "parquet"},
            **sections,
        }
        tree["features"] = {"columns": [*NAMES, "kind"], **sections.get("features", {})}
        done = segpipe.run(tree)
        rows = done.labels.to_table().sort_by([(n, "ascending") for n in NAMES])
        return done, rows

    return labelled


def in_order(table, said):
    """Values of the table's rows in the order of the sorted label table."""
    both = table.append_column("said", pa.array(said))
    return both.sort_by([(n, "ascending") for n in NAMES]).column("said").to_pylist()


SAME = [
    (segpipe.KMeans(k=4), {"model": "kmeans", "k": 4}, "auto"),
    (segpipe.KMeans(k=4, scale="robust"), {"model": "kmeans", "k": 4}, "robust"),
    (segpipe.KMeans(n_init=3, scale="none"), {"model": "kmeans", "n_init": 3}, "none"),
    (segpipe.GaussianMixture(k=4, scale="standard"), {"model": "gmm", "k": 4}, "standard"),
    (segpipe.Agglomerative(k=4), {"model": "agglomerative", "k": 4}, "auto"),
    (segpipe.DBSCAN(), {"model": "dbscan"}, "auto"),
    (segpipe.HDBSCAN(), {"model": "hdbscan"}, "auto"),
    (segpipe.AutoCluster(), {"model": "auto"}, "auto"),
]


@pytest.mark.parametrize(("estimator", "fit", "scale"), SAME, ids=lambda value: str(value)[:40])
def test_segments_are_those_of_the_run(estimator, fit, scale, table, run):
    if estimator.__class__.__name__ == "HDBSCAN":
        pytest.importorskip("hdbscan")
    done, rows = run(fit=fit, features={"scale": scale}, outliers={"method": "none"})
    said = estimator.fit_predict(table)
    assert in_order(table, said) == rows.column("segment_id").to_pylist()
    for method, column in (("confidence", "segment_confidence"), ("distance", "segment_distance")):
        found = in_order(table, getattr(estimator, method)(table))
        assert found == rows.column(column).to_pylist()
    assert estimator.n_clusters_ == done.summary["model"]["k"]
    assert estimator.why_ == done.summary["model"]["why"]
    assert estimator.inertia_ == done.summary["quality"]["inertia"]


@pytest.mark.parametrize("method", ["auto", "ensemble", "segment"])
def test_scores_are_those_of_the_run(method, table, run):
    done, rows = run(outliers={"method": method, "threshold": {"top_n": 7}})
    fitted = segpipe.OutlierScorer(method, top_n=7).fit(table)
    for column in ("outlier_score", "outlier_quantile", "outlier_p", "is_outlier"):
        found = getattr(fitted, column)(table)
        assert in_order(table, found) == rows.column(column).to_pylist(), column
    assert fitted.threshold_ == done.summary["outliers"]["threshold"]
    if method == "auto":
        told = fitted.reasons(table)
        both = pa.array(told, rows.schema.field("outlier_reasons").type)
        ordered = table.append_column("r", both).sort_by([(n, "ascending") for n in NAMES])
        assert ordered.column("r").to_pylist() == rows.column("outlier_reasons").to_pylist()


def test_the_model_of_a_run_becomes_an_estimator_and_back(table, run, tmp_path):
    done, rows = run(fit={"model": "kmeans", "k": 4})
    found = load(done.summary["model_uri"])
    assert type(found) is segpipe.KMeans and found.feature_names_in_.tolist() == [*NAMES, "kind"]
    assert in_order(table, found.predict(table)) == rows.column("segment_id").to_pylist()
    # and an estimator's model labels a lake table
    mine = segpipe.KMeans(k=3).fit(table)
    place = mine.save(str(tmp_path / "mine"))
    scored = segpipe.score(
        {
            "source": {"uri": str(tmp_path / "t.parquet")},
            "features": {"columns": [*NAMES, "kind"]},
            "outliers": {"method": "none"},
            "target": {"uri": str(tmp_path / "scored"), "format": "parquet"},
        },
        place,
    )
    labels = scored.labels.to_table().sort_by([(n, "ascending") for n in NAMES])
    assert labels.column("segment_id").to_pylist() == in_order(table, mine.labels_)
