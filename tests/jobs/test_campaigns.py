"""Flagged connections are told in groups: who, whom, what and when."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from segpipe import pipeline
from tests.attacks import flows


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
    assert set(by_source) == {"scanner", "leaker"}
    assert all(c["src"]["commonest"][0]["share"] == 1.0 for c in told["campaigns"])
    scan = by_source["scanner"]
    assert scan["rows"] == 30 and scan["dst"]["values"] == 30
    assert scan["service"]["commonest"] == [{"value": "telnet", "share": 1.0}]
    assert scan["first"].startswith("2023-11-15T09:20") and scan["last"] > scan["first"]
    # The leak goes to two hosts, which may make it two groups.
    leaks = [c["rows"] for c in told["campaigns"] if c is not scan]
    assert sum(leaks) == 20
    assert sum(c["rows"] for c in told["campaigns"]) + told["alone"] == told["flagged"]


def test_the_report_shows_them(done):
    page = Path(done.report).read_text()
    assert "Campaigns: flagged rows that look alike" in page and "telnet" in page
