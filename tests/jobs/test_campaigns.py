"""Flagged connections are told in groups: who, whom, what and when."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe import pipeline

START = 1_700_000_000


def flows(seed=0, usual=3000):
    rng = np.random.default_rng(seed)
    scan, leak = 30, 20
    n = usual + scan + leak
    part = np.repeat([0, 1, 2], [usual, scan, leak])
    seconds = rng.uniform(0, 86_400, n)
    seconds[part == 1] = 40_000 + np.arange(scan)
    columns = {
        "ts": pa.array(((START + seconds) * 1e6).astype(np.int64)).cast(pa.timestamp("us", "UTC")),
        "src": np.choose(part, [rng.choice(["a", "b", "c"], n), "scanner", "leaker"]),
        "dst": np.where(part == 1, [f"h{i}" for i in range(n)], rng.choice(["x", "y"], n)),
        "dst_port": np.choose(part, [443, 23, 443]).astype(np.int64),
        "proto": ["tcp"] * n,
        "service": np.choose(part, ["ssl", "telnet", "ssl"]),
        "duration": np.choose(part, [rng.lognormal(0, 1, n), 0.0 * part, 900.0 + part]),
        "src_bytes": np.choose(
            part, [rng.lognormal(7, 1, n), 40.0 + 0 * part, 1e9 + rng.random(n)]
        ),
        "dst_bytes": np.choose(part, [rng.lognormal(8, 1, n), 0.0 * part, 500.0 + 0 * part]),
    }
    order = rng.permutation(n)
    return pa.table(columns).take(pa.array(order))


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flows")
    pq.write_table(flows(), folder / "flows.parquet")
    return pipeline.run(
        {
            "source": {"uri": str(folder / "flows.parquet")},
            "features": {"set": "connections"},
            "fit": {"model": "kmeans", "k": 2, "n_init": 1},
            "outliers": {"threshold": {"top_n": 60}},
            "target": {"uri": str(folder / "labels"), "format": "parquet"},
        }
    )


def test_scan_and_leak_are_two_campaigns_with_their_ends(done):
    told = json.loads(Path(done.summary["campaigns"]).read_text())
    assert told["flagged"] == done.summary["outliers"]["flagged"]
    by_source = {c["src"]["commonest"][0]["value"]: c for c in told["campaigns"]}
    scan, leak = by_source["scanner"], by_source["leaker"]
    assert scan["rows"] == 30 and scan["dst"]["values"] == 30
    assert scan["service"]["commonest"] == [{"value": "telnet", "share": 1.0}]
    assert scan["first"].startswith("2023-11-15T09:20") and scan["last"] > scan["first"]
    # A few merely odd transfers may stand beside it.
    assert round(leak["src"]["commonest"][0]["share"] * leak["rows"]) == 20
    assert sum(c["rows"] for c in told["campaigns"]) + told["alone"] == told["flagged"]


def test_the_report_shows_them(done):
    page = Path(done.report).read_text()
    assert "Campaigns: flagged rows that look alike" in page and "telnet" in page
