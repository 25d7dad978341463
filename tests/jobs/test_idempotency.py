"""Same work twice is published once; a run touches its own partitions and no others."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from segpipe import pipeline
from segpipe.lake import record
from segpipe.lake.publish import open_target, read_labels
from tests.transactions import config, ended, started, transactions, tree, until

MARCH, APRIL = "2011-03-31", "2011-04-30"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return transactions(tmp_path_factory.mktemp("source") / "transactions.parquet")


def go(engine: Any, held: dict[str, Any], as_of: str, **more: Any) -> dict[str, Any]:
    summary: dict[str, Any] = pipeline.execute(
        mode="run", config=held, engine=engine, as_of=as_of, **more
    ).summary
    return summary


def files(target: Path, day: str) -> dict[str, int]:
    """Label files of a day, and when they were written."""
    found = target.resolve().rglob(f"as_of={day}/*.parquet")
    return {str(p.relative_to(target.resolve())): p.stat().st_mtime_ns for p in found}


def rows(target: Path, format: str, day: str | None = None) -> list[dict[str, Any]]:
    table = read_labels(str(target), format).to_table().sort_by("customer_id").to_pylist()
    return [row for row in table if day is None or str(row["as_of"]) == day]


def less(found: list[dict[str, Any]], *names: str) -> list[dict[str, Any]]:
    return [{k: v for k, v in row.items() if k not in names} for row in found]


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_twice_is_one_version_and_a_new_day_one_more_partition(engine, source, tmp_path, format):
    target = tmp_path / "out"
    held = tree(source, target, target={"format": format})
    first = go(engine, held, MARCH)
    again = go(engine, held, MARCH)
    assert (first["status"], again["status"]) == ("done", "already_done")
    assert again["labels"] == first["labels"] and again["segments"] == first["segments"]
    assert len(open_target(str(target), format).history()) == 1

    labels = target if format == "delta" else target / "labels"
    march, before = files(labels, MARCH), rows(target, format)
    second = go(engine, held, APRIL)
    assert second["status"] == "done"
    assert second["labels"]["version"] == first["labels"]["version"] + 1
    assert files(labels, MARCH) == march and files(labels, APRIL)
    assert rows(target, format, MARCH) == before
    assert len(rows(target, format, APRIL)) == second["rows_labelled"]


def test_a_then_b_then_a_publishes_a_again(engine, source, tmp_path):
    a = tree(source, tmp_path / "out")
    b = tree(source, tmp_path / "out", fit={"k": 4})
    versions, states = [], []
    for held in (a, b, a):
        done = go(engine, held, MARCH)
        assert done["status"] == "done"
        versions.append(done["labels"]["version"])
        states.append(less(rows(tmp_path / "out", "delta"), "run_id"))
    assert versions == [0, 1, 2]
    assert states[0] == states[2] != states[1]
    assert go(engine, a, MARCH)["status"] == "already_done"


def test_a_run_id_is_published_once(engine, source, tmp_path):
    held = tree(source, tmp_path / "out")
    first = go(engine, held, MARCH, run_id="daily-2011-03-31")
    again = go(engine, held, MARCH, run_id="daily-2011-03-31")
    assert (first["status"], again["status"]) == ("done", "already_done")
    # Another config under the same id: the schedule's id decides, and the record says so.
    other = tree(source, tmp_path / "out", fit={"k": 4})
    told = go(engine, other, MARCH, run_id="daily-2011-03-31")
    assert told["status"] == "already_done" and "daily-2011-03-31" in told["warnings"][-1]
    assert DeltaTable(tmp_path / "out").version() == 0


def test_a_failing_run_leaves_the_earlier_version_readable(engine, source, tmp_path):
    good = tree(source, tmp_path / "out")
    go(engine, good, MARCH)
    before, on_disk = rows(tmp_path / "out", "delta"), files(tmp_path / "out", MARCH)
    bad = tree(source, tmp_path / "out", fit={"k": 700})
    with pytest.raises(pipeline.RunFailed) as failed:
        go(engine, bad, MARCH)
    assert failed.value.code == 65
    assert rows(tmp_path / "out", "delta") == before
    assert files(tmp_path / "out", MARCH) == on_disk
    assert DeltaTable(tmp_path / "out").version() == 0


def test_two_runs_of_one_key_at_once_publish_once(source, tmp_path):
    path = config(tmp_path, tree(source, tmp_path / "out"))
    children = [started(path, "--as-of", MARCH) for _ in range(2)]
    results = [ended(child) for child in children]
    assert [code for code, _ in results] == [0, 0]
    assert sorted(summary["status"] for _, summary in results) == ["already_done", "done"]
    assert DeltaTable(tmp_path / "out").version() == 0
    customers = [row["customer_id"] for row in rows(tmp_path / "out", "delta")]
    assert len(customers) == len(set(customers)) == results[0][1]["rows_labelled"]
    # The loser took its files away, and its record does not say that it is still committing.
    assert len(files(tmp_path / "out", MARCH)) == len(DeltaTable(tmp_path / "out").file_uris())
    assert {r["status"] for r in record.history(str(tmp_path / "out"))} <= {"done", "already_done"}


def test_one_run_id_at_once_is_refused_or_done_once(source, tmp_path):
    path = config(tmp_path, tree(source, tmp_path / "out"))
    children = [started(path, "--as-of", MARCH, "--run-id", "one") for _ in range(2)]
    codes = sorted(ended(child)[0] for child in children)
    assert codes in ([0, 0], [0, 75])
    assert DeltaTable(tmp_path / "out").version() == 0


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_two_days_at_once_are_both_published(source, tmp_path, format):
    path = config(tmp_path, tree(source, tmp_path / "out", target={"format": format}))
    children = [started(path, "--as-of", day) for day in (MARCH, APRIL)]
    results = [ended(child) for child in children]
    assert [(code, s["status"]) for code, s in results] == [(0, "done")] * 2
    for day, (_, summary) in zip((MARCH, APRIL), results, strict=True):
        assert len(rows(tmp_path / "out", format, day)) == summary["rows_labelled"]


@pytest.mark.parametrize(
    "name",
    [
        "local",
        pytest.param("dask", marks=[pytest.mark.dask, pytest.mark.slow]),
        pytest.param("spark", marks=[pytest.mark.spark, pytest.mark.slow]),
    ],
)
@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_leaves_the_target_untouched(source, tmp_path, name, sent, code):
    held = tree(source, tmp_path / "out", engine={"name": name})
    go("local", held, MARCH)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")}
    child = started(config(tmp_path, held), "--as-of", APRIL, "--run-id", "stopped")
    until(child, "engine")
    child.send_signal(sent)
    got, summary = ended(child)
    assert (got, summary["status"]) == (code, "interrupted")
    assert record.read_json(str(tmp_path / "out"), "stopped", "record")["status"] == "interrupted"
    assert DeltaTable(tmp_path / "out").version() == 0
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.parquet")} == before
    assert not list((tmp_path / "out" / "_segpipe" / "live").iterdir())


@pytest.mark.parametrize("stage", ["rejects", "write"])
def test_a_run_stopped_near_its_commit_has_published_or_takes_its_files_away(
    source, tmp_path, stage
):
    held = tree(source, tmp_path / "out")
    go("local", held, MARCH)
    child = started(config(tmp_path, held), "--as-of", APRIL)
    until(child, stage)
    child.send_signal(signal.SIGTERM)
    code, summary = ended(child)
    assert (code, summary["status"]) in ((143, "interrupted"), (0, "done"))
    table = DeltaTable(tmp_path / "out")
    assert table.version() == (1 if code == 0 else 0)
    on_disk = {p.name for p in (tmp_path / "out").glob("as_of=*/*.parquet")}
    assert on_disk == {uri.split("/")[-1] for uri in table.file_uris()}
