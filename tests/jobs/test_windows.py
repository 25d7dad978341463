"""Jobs over logs with times and both ends: windows from the source to the label table."""

from __future__ import annotations

import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import segpipe
from segpipe.datasets import make
from segpipe.pipeline import RunFailed, execute

ROWS = 3_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    folder = tmp_path_factory.mktemp("connections")
    make("connections", ROWS, str(folder), 7)
    return folder


def config(source, target, **sections):
    return {
        "source": {"uri": str(source)},
        "features": {"set": "connections"},
        "fit": {"model": "kmeans", "k": 3, "n_init": 2},
        "target": {"uri": str(target), "format": "parquet"},
        **sections,
    }


def labels(run):
    return run.labels.to_table().sort_by("uid")


def test_windows_reach_the_labels_and_the_frozen_model_says_the_same(source, tmp_path):
    run = segpipe.run(config(source, tmp_path / "a"))
    found = labels(run)
    log = pq.read_table(next(source.glob("part-*.parquet"))).sort_by("uid")
    assert found.num_rows == ROWS
    # Every source column is there, beside the row that it came with.
    for name in log.column_names:
        assert found.column(name).cast(log.schema.field(name).type).equals(log.column(name))
    attack = pq.read_table(source / "_truth.parquet").sort_by("uid").column("attack")
    scan = found.filter(pc.equal(attack.combine_chunks(), "scan"))
    usual = found.filter(pc.equal(attack.combine_chunks(), "normal"))
    assert pc.max(scan.column("src_10s_ports")).as_py() > 10
    assert pc.mean(usual.column("src_10s_ports")).as_py() < 2
    again = execute(
        mode="score", config=config(source, tmp_path / "b"), model=run.summary["model_uri"]
    )
    for name in ("outlier_score", "is_outlier", "segment_id", "src_last100_failed"):
        assert labels(again).column(name).to_pylist() == found.column(name).to_pylist()
    assert not list((tmp_path / "a" / "_segpipe" / "spool").glob("*"))


def test_a_dry_run_leaves_nothing(source, tmp_path):
    target = tmp_path / "deep" / "labels"
    done = execute(mode="run", config=config(source, target), dry_run=True)
    assert done.summary["status"] == "dry_run" and not target.parent.exists()


def test_without_window_columns_nothing_is_shuffled_but_what_bursts_ask_for(source, tmp_path):
    plain = {"set": "connections", "columns": ["duration", "src_bytes"]}
    few = segpipe.run(config(source, tmp_path / "few", features=plain))
    assert not {"burst_size", "src_10s_count"} & set(few.labels.schema.names)
    asked = {"collapse": "bursts"}
    more = segpipe.run(config(source, tmp_path / "more", features=plain, outliers=asked))
    assert "burst_size" in more.labels.schema.names
    assert "src_10s_count" not in more.labels.schema.names


def test_bursts_without_both_ends_are_an_error_of_the_data(source, tmp_path):
    log = pq.read_table(next(source.glob("part-*.parquet"))).drop(["dst"])
    pq.write_table(log, tmp_path / "one.parquet")
    asked = {"collapse": "bursts"}
    with pytest.raises(RunFailed, match="needs ts, src and dst") as failed:
        segpipe.run(config(tmp_path / "one.parquet", tmp_path / "out", outliers=asked))
    assert failed.value.code == 65
    one = segpipe.run(config(tmp_path / "one.parquet", tmp_path / "out"))
    names = one.labels.schema.names
    assert "src_10s_count" in names and "src_rarity" in names
    assert not [n for n in names if n.startswith(("dst_10", "pair_", "burst"))]
