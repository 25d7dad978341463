"""Odd customers are found though the segments are read by three features only."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import segpipe

DAY = 86_400


def shop(seed=0, customers=400):
    """Orders of usual customers, and of "robot": as many and as large, all at 3 o'clock."""
    rng = np.random.default_rng(seed)
    who, when, paid = [], [], []
    for c in range(customers):
        orders = int(rng.integers(15, 40))
        who += [f"c{c:03d}"] * orders
        when += list(rng.integers(0, 300, orders) * DAY + rng.integers(9 * 3600, 20 * 3600, orders))
        paid += list(np.round(rng.lognormal(3, 0.6, orders), 2))
    who += ["robot"] * 27
    when += list(rng.integers(0, 300, 27) * DAY + 3 * 3600)
    paid += list(np.round(rng.lognormal(3, 0.6, 27), 2))
    stamps = pa.array((np.array(when) + 1_300_000_000 // DAY * DAY) * 1_000_000).cast(
        pa.timestamp("us", "UTC")
    )
    return pa.table({"customer_id": who, "ts": stamps, "amount": paid})


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shop")
    pq.write_table(shop(), folder / "orders.parquet")
    config = {
        "source": {"uri": str(folder / "orders.parquet")},
        "features": {"set": "rfm"},
        "fit": {"model": "kmeans", "k": 3},
        "target": {"uri": str(folder / "labels"), "format": "parquet"},
    }
    return folder, config, segpipe.run(config)


def labels(run):
    return run.labels.to_table()


def test_a_night_robot_of_usual_size_comes_first_and_says_why(done):
    _, _, run = done
    rows = sorted(labels(run).to_pylist(), key=lambda r: -r["outlier_score"])
    assert rows[0]["customer_id"] == "robot" and rows[0]["is_outlier"]
    reasons = {r["feature"]: r for r in rows[0]["outlier_reasons"]}
    assert reasons["night_share"]["value"] == "1"


def test_scoring_the_same_lines_again_gives_the_same_scores(done):
    folder, config, run = done
    again = segpipe.score(
        {**config, "target": {"uri": str(folder / "again"), "format": "parquet"}},
        model=run.summary["model_uri"],
    )
    first, second = (
        {r["customer_id"]: (r["outlier_score"], r["is_outlier"]) for r in labels(x).to_pylist()}
        for x in (run, again)
    )
    assert first == second
