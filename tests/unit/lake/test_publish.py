"""Publishing on both formats: replaced partitions, idempotency, readers, cleaning, conflicts."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable, write_deltalake

from segpipe.errors import ConfigError, InputMissing, TemporaryError
from segpipe.lake import delta, lease
from segpipe.lake.publication import Publication
from segpipe.lake.publish import Target, open_target, read_labels
from segpipe.lake.staging import Writer
from segpipe.lake.tables import open_table, read
from segpipe.values import StagedFile

SCHEMA = pa.schema([("id", pa.int64()), ("score", pa.float64()), ("day", pa.date32())])
ONE, TWO, THREE = date(2024, 1, 1), date(2024, 1, 2), date(2024, 1, 3)


@pytest.fixture(params=["delta", "parquet"])
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Target:
    return open_target(str(tmp_path / "labels of run"), request.param)


def stage(
    target: Target,
    run: str,
    rows: list[tuple[Any, ...]],
    by: tuple[str, ...] = ("day",),
    schema: pa.Schema = SCHEMA,
) -> list[StagedFile]:
    data = [dict(zip(schema.names, row, strict=True)) for row in rows]
    batch = pa.RecordBatch.from_pylist(data, schema=schema)
    return Writer(target.stage_uri(run), run, by, schema)(iter([batch]))


def publish(
    target: Target, run: str, rows: list[tuple[Any, ...]], key: str = "", **options: Any
) -> Publication:
    by = options.get("by", ("day",))
    schema = options.get("schema", SCHEMA)
    files = stage(target, run, rows, by, schema)
    metadata = {"run_id": run, "run_key": key or f"key of {run}", "as_of": "2024-01-01"}
    return target.commit(files, schema, by, metadata, options.get("empty", ()))


def published(target: Target) -> list[tuple[Any, ...]]:
    table = read_labels(target.uri).to_table()
    return sorted(tuple(row.values()) for row in table.to_pylist())


def test_only_the_produced_partitions_are_replaced(target: Target) -> None:
    first = publish(target, "r1", [(1, 0.5, ONE), (2, 0.5, TWO)])
    second = publish(target, "r2", [(3, 1.5, TWO), (4, 2.5, THREE)])
    assert (first.version, second.version) == (0, 1)
    assert published(target) == [(1, 0.5, ONE), (3, 1.5, TWO), (4, 2.5, THREE)]
    assert target.labels()["version"] == 1 and target.labels()["uri"] == target.uri
    assert [p.run_id for p in target.history()] == ["r2", "r1"]
    assert target.history()[0].metadata == {"as_of": "2024-01-01"}


def test_whole_table_and_its_schema_are_replaced(target: Target) -> None:
    publish(target, "r1", [(1, 0.5, ONE)], by=())
    wide = pa.schema([("id", pa.string()), ("more", pa.int32())])
    publish(target, "r2", [("a", 1)], by=(), schema=wide)
    assert read_labels(target.uri).to_table().to_pylist() == [{"id": "a", "more": 1}]


def test_empty_results_are_published_too(target: Target) -> None:
    publish(target, "r1", [], by=())
    assert published(target) == [] and read_labels(target.uri).schema.names == SCHEMA.names
    publish(target, "r2", [(1, 0.5, ONE)], by=())
    publish(target, "r3", [], by=())
    assert published(target) == []


def test_an_empty_partition_replaces_the_old_one(target: Target) -> None:
    publish(target, "r1", [(1, 0.5, ONE), (2, 0.5, TWO)])
    publish(target, "r2", [], empty=[(("day", "2024-01-01"),)])
    assert published(target) == [(2, 0.5, TWO)]


def test_same_key_is_published_once_but_a_b_a_again(target: Target) -> None:
    a, b = [(1, 0.5, ONE)], [(9, 9.5, ONE)]
    first = publish(target, "run-a", a, key="A")
    again = publish(target, "run-a2", a, key="A")
    assert (again.version, again.already, again.run_id) == (first.version, True, "run-a")
    assert not first.already and target.current("A") == again
    publish(target, "run-c", [(5, 5.5, TWO)], key="C")
    # Another partition is no reason to publish A anew.
    assert target.current("A") == again and target.current("other", "run-a") == again
    publish(target, "run-b", b, key="B")
    assert target.current("A") is None and target.current("C") is not None
    third = publish(target, "run-a", a, key="A")
    assert not third.already and published(target) == [(1, 0.5, ONE), (5, 5.5, TWO)]


def test_changes_by_others_make_the_key_stale(tmp_path: Path) -> None:
    target = open_target(str(tmp_path), "delta")
    publish(target, "r1", [(1, 0.5, ONE)], key="A")
    DeltaTable(target.uri).optimize.compact()
    assert target.current("A") is not None
    write_deltalake(target.uri, pa.table({"id": [7], "score": [1.0], "day": [ONE]}), mode="append")
    assert target.current("A") is None
    publish(target, "r1", [(1, 0.5, ONE)], key="A")
    assert published(target) == [(1, 0.5, ONE)]


def test_new_columns_are_null_in_old_partitions_and_types_are_kept(target: Target) -> None:
    publish(target, "r1", [(1, 0.5, ONE)])
    wide = SCHEMA.insert(2, pa.field("segment", pa.string()))
    publish(target, "r2", [(2, 0.5, "big", TWO)], schema=wide)
    found = read_labels(target.uri).to_table().select(["id", "segment"]).to_pylist()
    assert sorted(found, key=lambda r: r["id"]) == [
        {"id": 1, "segment": None},
        {"id": 2, "segment": "big"},
    ]
    other = SCHEMA.set(0, pa.field("id", pa.string()))
    with pytest.raises(ConfigError, match="'id' is int64"):
        publish(target, "r3", [("x", 0.5, TWO)], schema=other)


def test_other_partitioning_and_unwritable_targets_are_refused(
    target: Target, tmp_path: Path
) -> None:
    publish(target, "r1", [(1, 0.5, ONE)])
    for refuse in (
        lambda: target.check(["id"]),
        lambda: publish(target, "r2", [(1, 0.5, ONE)], by=()),
    ):
        with pytest.raises(ConfigError, match="partitioned by"):
            refuse()
    target.check(["day"])
    (tmp_path / "file").write_text("")
    for uri in (tmp_path / "file" / "labels", Path("/proc/segpipe")):
        with pytest.raises(ConfigError):
            open_target(str(uri), target.format).check([])
    with pytest.raises(InputMissing):
        read_labels(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="iceberg"):
        open_target(target.uri, "iceberg")


STRANGE = pa.schema(
    {
        "text": pa.string(),
        "at": pa.timestamp("ns"),
        "yes": pa.bool_(),
        "n": pa.uint32(),
        "x": pa.float64(),
    }
)
MOMENT = datetime(2024, 1, 2, 3, 4, 5, 600)
STRANGE_ROWS = [
    ("a b", MOMENT, True, 1, 1.0),
    ("c/d=é%", MOMENT, False, 1, 2.0),
    (None, None, None, None, 3.0),
    ("a b", MOMENT, True, 1, 4.0),
]


def test_strange_partition_values_come_back_typed(target: Target) -> None:
    by = ("text", "at", "yes", "n")
    publish(target, "r1", STRANGE_ROWS, by=by, schema=STRANGE)
    moment = MOMENT.replace(tzinfo=UTC)
    expected = {
        1.0: ("a b", moment, True, 1),
        2.0: ("c/d=é%", moment, False, 1),
        3.0: (None, None, None, None),
        4.0: ("a b", moment, True, 1),
    }
    found = read_labels(target.uri).to_table().to_pylist()
    assert {r["x"]: (r["text"], r["at"], r["yes"], r["n"]) for r in found} == expected
    publish(target, "r2", [(None, None, None, None, 8.0)], by=by, schema=STRANGE)
    assert sorted(r["x"] for r in read_labels(target.uri).to_table().to_pylist()) == [1, 2, 4, 8]


READERS: dict[str, dict[str, Callable[[str], Any]]] = {
    "delta": {
        "polars": lambda uri: pl.read_delta(uri).to_arrow(),
        "deltalake": lambda uri: pa.table(DeltaTable(uri).to_pyarrow_table()),
        "pandas": lambda uri: pa.Table.from_pandas(DeltaTable(uri).to_pandas()),
        "segpipe": lambda uri: _all(open_table(uri, "delta")),
    },
    "parquet": {
        "pyarrow": pq.read_table,
        "pandas": lambda uri: pa.Table.from_pandas(pd.read_parquet(uri)),
        "polars": lambda uri: pl.read_parquet(f"{uri}/labels").to_arrow(),
        "duckdb": lambda uri: pa.table(
            duckdb.sql(f"select * from read_parquet('{uri}/labels/**/*.parquet')").to_arrow_table()
        ),
        "segpipe": lambda uri: _all(open_table(uri, "parquet")),
    },
}


def _all(table: Any) -> pa.Table:
    return pa.Table.from_batches([b for f in table.fragments for b in read(table, f)])


@pytest.mark.parametrize(
    ("format", "reader"), [(f, name) for f, readers in READERS.items() for name in readers]
)
def test_other_readers_see_the_published_rows_only(
    tmp_path: Path, format: str, reader: str
) -> None:
    target = open_target(str(tmp_path), format)
    publish(target, "r1", [(1, 0.5, ONE), (2, 1.5, TWO)])
    publish(target, "r2", [(3, 2.5, TWO)])
    stage(target, "r3", [(7, 7.5, TWO)])
    table = READERS[format][reader](target.uri)
    assert sorted(zip(*table.select(["id", "score"]).to_pydict().values(), strict=True)) == [
        (1, 0.5),
        (3, 2.5),
    ]
    assert {str(day) for day in table.column("day").to_pylist()} == {"2024-01-01", "2024-01-02"}


def files_below(target: Target) -> set[str]:
    found = {p.name for p in Path(target.uri).rglob("part-*.parquet") if p.is_file()}
    return {name.split("-")[1] for name in found}


def test_cleaning_removes_dead_files_and_nothing_else(target: Target) -> None:
    publish(target, "old", [(1, 0.5, ONE)])
    stage(target, "dead", [(7, 7.5, TWO)])
    stage(target, "alive", [(8, 8.5, TWO)])
    started = time.time() + 1
    with lease.lease(target.uri, "alive"), lease.lease(target.uri, "mine"):
        publish(target, "mine", [(1, 1.5, ONE), (2, 2.5, TWO)])
        stage(target, "mine", [(9, 9.5, TWO)])
        foreign = Path(target.uri) / "day=2024-01-02" / "part-00000-1-c000.snappy.parquet"
        foreign.parent.mkdir(exist_ok=True)
        foreign.write_bytes(b"")
        assert target.clean("mine", started) >= 2
    assert files_below(target) == {"old", "alive", "mine", "00000"}
    assert published(target) == [(1, 1.5, ONE), (2, 2.5, TWO)]
    if target.format == "delta":
        assert DeltaTable(target.uri, version=0).to_pyarrow_table().num_rows == 1
    # Files younger than this run's start may belong to a run that has just begun.
    stage(target, "young", [(7, 7.5, TWO)])
    assert target.clean("next", time.time() - 60) == 0
    assert target.clean("next", time.time() + 1) == 2


def test_a_run_id_runs_once_at_a_time(tmp_path: Path) -> None:
    with (
        lease.lease(str(tmp_path), "r"),
        pytest.raises(TemporaryError, match="already running"),
        lease.lease(str(tmp_path), "r"),
    ):
        pass
    with lease.lease(str(tmp_path), "r"):
        pass


def test_concurrent_commits_lose_nothing(target: Target) -> None:
    days = [date(2024, 2, day) for day in range(1, 5)]
    publish(target, "r0", [(0, 0.0, ONE)])

    def one(i: int) -> str:
        try:
            publish(target, f"r{i}", [(i, float(i), days[i % 4]), (i, float(i), THREE)])
        except TemporaryError:
            return "75"
        return "done"

    with ThreadPoolExecutor(4) as pool:
        outcomes = list(pool.map(one, range(1, 5)))
    winners = {p.run_id for p in target.history()} - {"r0"}
    assert {f"r{i}" for i, o in enumerate(outcomes, 1) if o == "done"} == winners
    found = published(target)
    # Each winner's own day is whole; the shared day belongs to one of them alone.
    assert [r for r in found if r[2] not in (ONE, THREE)] == sorted(
        (i, float(i), days[i % 4]) for i in range(1, 5) if f"r{i}" in winners
    )
    last = target.history()[0].run_id
    assert [f"r{r[0]}" for r in found if r[2] == THREE] == [last]


def test_the_same_key_at_once_is_published_once(target: Target) -> None:
    with ThreadPoolExecutor(3) as pool:
        runs = [pool.submit(publish, target, f"r{i}", [(1, 0.5, ONE)], "K") for i in range(3)]
        found = [run.result() for run in runs]
    assert len({p.run_id for p in found}) == 1 and sum(not p.already for p in found) == 1
    assert published(target) == [(1, 0.5, ONE)] and len(target.history()) == 1


def test_lost_staged_files_are_noticed(target: Target) -> None:
    publish(target, "r1", [(1, 0.5, ONE)])
    files = stage(target, "r2", [(2, 0.5, ONE)])
    Path(f"{target.stage_uri('r2')}/{files[0].path}").unlink()
    with pytest.raises(TemporaryError, match="gone or changed"):
        target.commit(files, SCHEMA, ["day"], {"run_id": "r2", "run_key": "K"})
    assert published(target) == [(1, 0.5, ONE)]


def test_versions_are_right_when_another_commit_comes_while_the_log_is_read(
    tmp_path: Path,
) -> None:
    target = open_target(str(tmp_path / "labels"), "delta")
    publish(target, "a", [(1, 0.5, ONE)])

    class Overtaken:
        """The library's answer to a log that grew after it had asked for the newest version."""

        calls = 0

        def history(self) -> list[dict[str, Any]]:
            self.calls += 1
            if self.calls == 1:
                publish(target, "b", [(2, 0.5, TWO)])
                return [
                    {**e, "version": e["version"] - 1} for e in DeltaTable(target.uri).history()
                ]
            return DeltaTable(target.uri).history()

    found = list(delta._entries(target.uri, Overtaken()))
    assert [(e.run_id, e.version) for e in found if e is not None] == [("b", 1), ("a", 0)]
