"""Laws that every engine keeps: the same rows, states, groups and errors."""

from __future__ import annotations

import collections
import itertools
import operator
import os
from collections.abc import Iterator
from pathlib import Path

import narwhals.stable.v2 as nw
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from segpipe.engines import frames
from segpipe.engines.open import open_engine
from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError, DataError, SegpipeError, TemporaryError
from segpipe.lake.tables import open_table
from segpipe.values import Table
from tests.conftest import OPTIONS

SCHEMA = pa.schema([("who", pa.string()), ("at", pa.int64()), ("value", pa.int64())])
ROWS = 260


def rows_table(rows: int = ROWS) -> pa.Table:
    """Row i: who c0..c6 or null, at = -i, value = i."""
    number = range(rows)
    return pa.table(
        {
            "who": [None if i % 8 == 7 else f"c{i % 8}" for i in number],
            "at": [-i for i in number],
            "value": list(number),
        },
        schema=SCHEMA,
    )


def batches_of(parts: int, rows: int = ROWS) -> list[pa.RecordBatch]:
    """The rows in ``parts`` batches, of which the last is empty if there are several."""
    table = rows_table(rows).combine_chunks()
    filled = max(parts - 1, 1)
    cuts = [rows * i // filled for i in range(filled + 1)]
    out = [table.slice(a, b - a).to_batches()[0] for a, b in itertools.pairwise(cuts)]
    return out + [out[0].slice(0, 0)] * (parts - filled)


def doubled(batch: pa.RecordBatch) -> pa.RecordBatch:
    column = pc.multiply(batch.column("value"), 2)
    return batch.set_column(2, "value", column)


def records(batches: Iterator[pa.RecordBatch]) -> list[dict[str, object]]:
    return [row for batch in batches for row in batch.to_pylist()]


def sizes(batches: Iterator[pa.RecordBatch]) -> list[int]:
    return [sum(batch.num_rows for batch in batches)]


def values(engine: Engine, frame: object) -> list[int]:
    return [row["value"] for row in engine.fold(frame, records, operator.add)]


@pytest.mark.parametrize("parts", [1, 4, 13, 40])
def test_fold_sees_every_row_once_in_part_order(engine: Engine, parts: int) -> None:
    frame = engine.from_batches(batches_of(parts), SCHEMA)
    assert engine.fold(frame, records, operator.add) == rows_table().to_pylist()
    assert len(engine.fold(frame, sizes, operator.add)) == parts


@pytest.mark.parametrize("parts", [1, 13])
def test_map_batches_is_lazy_and_composes(engine: Engine, parts: int) -> None:
    frame = engine.from_batches(batches_of(parts), SCHEMA)
    mapped = engine.map_batches(engine.map_batches(frame, doubled, SCHEMA), doubled, SCHEMA)
    assert values(engine, mapped) == [4 * i for i in range(ROWS)]
    assert values(engine, frame) == list(range(ROWS))


def test_fold_without_parts_calls_step_once(engine: Engine) -> None:
    assert engine.fold(engine.from_batches([], SCHEMA), sizes, operator.add) == [0]


@pytest.mark.parametrize("files", [1, 4, 13])
def test_scan_reads_the_same_rows_from_any_files(
    engine: Engine, tmp_path: Path, files: int
) -> None:
    table = written(tmp_path, files)
    found = engine.fold(engine.scan(table, None), records, operator.add)
    assert sorted(found, key=lambda row: row["value"]) == rows_table().to_pylist()
    narrow = engine.scan(table, ["value"])
    first = engine.fold(narrow, schemas, operator.or_)
    assert first == {"value: int64"}


def schemas(batches: Iterator[pa.RecordBatch]) -> set[str]:
    return {str(batch.schema) for batch in batches}


def written(folder: Path, files: int) -> Table:
    table = rows_table()
    for i in range(files):
        a, b = ROWS * i // files, ROWS * (i + 1) // files
        pq.write_table(table.slice(a, b - a), folder / f"part-{i:02}.parquet")
    return open_table(str(folder), "parquet")


def sums(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame.group_by("who").agg(nw.col("value").sum().alias("sum"), nw.len().alias("n"))


SUMS = pa.schema([("who", pa.string()), ("sum", pa.int64()), ("n", pa.int32())])


def expected_sums() -> set[tuple[object, int, int]]:
    sums = collections.Counter()
    counts = collections.Counter()
    for row in rows_table().to_pylist():
        sums[row["who"]] += row["value"]
        counts[row["who"]] += 1
    return {(who, sums[who], counts[who]) for who in sums}


@pytest.mark.parametrize("parts", [1, 13])
def test_group_sums_are_equal(engine: Engine, parts: int) -> None:
    frame = engine.relate(engine.from_batches(batches_of(parts), SCHEMA), present_sums, SUMS)
    found = engine.fold(frame, records, operator.add)
    assert {tuple(row.values()) for row in found} == {s for s in expected_sums() if s[0]}
    assert engine.fold(frame, schemas, operator.or_) <= {SUMS.to_string()}


def present_sums(frame: nw.LazyFrame) -> nw.LazyFrame:
    return sums(frame.filter(~nw.col("who").is_null()))


def joined(frame: nw.LazyFrame) -> nw.LazyFrame:
    totals = present_sums(frame)
    return frame.join(totals, on="who", how="inner").filter(nw.col("value") < 8)


def test_relations_join_and_chain(engine: Engine) -> None:
    schema = pa.schema([*SCHEMA, ("sum", pa.int64()), ("n", pa.int64())])
    frame = engine.relate(engine.from_batches(batches_of(4), SCHEMA), joined, schema)
    frame = engine.map_batches(frame, doubled, schema)
    frame = engine.relate(frame, not_six, schema)
    found = engine.fold(frame, records, operator.add)
    totals = {who: (total, n) for who, total, n in expected_sums()}
    assert sorted((r["value"], r["who"], r["sum"], r["n"]) for r in found) == [
        (2 * i, f"c{i}", *totals[f"c{i}"]) for i in range(7) if i != 3
    ]


def not_six(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame.filter(nw.col("value") != 6)


def groups(batch: pa.RecordBatch) -> pa.RecordBatch:
    """One row per run of equal keys: if a group is cut or mixed, a key comes twice."""
    runs: list[dict[str, object]] = []
    for row in batch.to_pylist():
        if not runs or runs[-1]["who"] != row["who"]:
            runs.append({"who": row["who"], "at": row["at"], "value": 0})
        assert row["at"] >= runs[-1]["at"], "not sorted"
        runs[-1]["value"] += 1
    return pa.RecordBatch.from_pylist(runs, schema=SCHEMA)


@pytest.mark.parametrize("parts", [1, 13])
def test_group_map_sees_whole_sorted_groups(engine: Engine, parts: int) -> None:
    frame = engine.from_batches(batches_of(parts), SCHEMA)
    found = engine.fold(
        engine.group_map(frame, ["who"], ["at"], groups, SCHEMA), records, operator.add
    )
    counts = {who: n for who, _, n in expected_sums()}
    assert sorted((str(r["who"]), r["value"]) for r in found) == sorted(
        (str(who), n) for who, n in counts.items()
    )


def test_group_larger_than_a_batch_stays_whole(engine: Engine) -> None:
    rows = 3 * frames.BATCH_ROWS
    one = pa.record_batch(
        [pa.array(["a"] * rows), pa.array(range(rows)), pa.array(range(rows))], schema=SCHEMA
    )
    frame = engine.from_batches([*batches_of(2), one], SCHEMA)
    mapped = engine.group_map(frame, ["who"], ["at"], counted, SCHEMA)
    found = engine.fold(mapped, records, operator.add)
    assert [r["value"] for r in found if r["who"] == "a"] == [rows]


def counted(batch: pa.RecordBatch) -> pa.RecordBatch:
    table = (
        pa.Table.from_batches([batch]).group_by("who").aggregate([("at", "min"), ([], "count_all")])
    )
    return pa.RecordBatch.from_arrays(
        [
            table["who"].combine_chunks(),
            table["at_min"].combine_chunks(),
            table["count_all"].combine_chunks(),
        ],
        schema=SCHEMA,
    )


class Witness:
    """Leaves a file per call, wherever it runs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        (self.folder / os.urandom(8).hex()).touch()
        return batch


def test_persist_computes_once(engine: Engine, tmp_path: Path) -> None:
    frame = engine.from_batches(batches_of(4), SCHEMA)
    kept = engine.persist(engine.map_batches(frame, Witness(tmp_path), SCHEMA))
    assert values(engine, kept) == values(engine, engine.map_batches(kept, same, SCHEMA))
    related = engine.relate(kept, present_sums, SUMS)
    assert len(engine.fold(related, records, operator.add)) == 7
    assert len(list(tmp_path.iterdir())) == 4


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


class Refuse:
    """Raises in the worker."""

    def __init__(self, kind: type[SegpipeError]) -> None:
        self.kind = kind

    def __call__(self, _: pa.RecordBatch) -> pa.RecordBatch:
        raise self.kind("asked for x, found é.", "do 'y'")


@pytest.mark.parametrize("kind", [DataError, TemporaryError])
def test_an_error_in_a_worker_is_the_same_error_here(
    engine: Engine, kind: type[SegpipeError]
) -> None:
    source = engine.from_batches(batches_of(4), SCHEMA)
    broken = engine.map_batches(source, Refuse(kind), SCHEMA)
    relation = engine.relate(broken, present_sums, SUMS)
    grouped = engine.group_map(broken, ["who"], ["at"], same, SCHEMA)
    for act in (
        lambda: engine.fold(broken, sizes, operator.add),
        lambda: engine.persist(broken),
        lambda: engine.fold(relation, sizes, operator.add),
        lambda: engine.fold(grouped, sizes, operator.add),
    ):
        with pytest.raises(kind) as caught:
            act()
        assert (caught.value.message, caught.value.hint) == ("asked for x, found é.", "do 'y'")
    assert engine.fold(source, sizes, operator.add), "the engine works on after an error"


def test_a_broken_promise_is_a_bug_everywhere(engine: Engine) -> None:
    frame = engine.from_batches(batches_of(1), SCHEMA)
    wrong = engine.map_batches(frame, same, SUMS)
    with pytest.raises(Exception, match="promised"):
        engine.fold(wrong, sizes, operator.add)


@pytest.mark.parametrize("where", [None, "value >= 100 and who != 'c3'"])
def test_the_engines_own_reader_reads_the_same_rows(
    engine: Engine, engine_name: str, tmp_path: Path, where: str | None
) -> None:
    table = rows_table()
    for i, code in enumerate(["0001", "0002", "x y"]):
        folder = tmp_path / f"code={code}"
        folder.mkdir()
        pq.write_table(table.slice(90 * i, 90), folder / "p.parquet")
    opened = open_table(str(tmp_path), "parquet", where=where)
    columns = ["code", "value"]
    arrow = engine.fold(engine.scan(opened, columns), records, operator.add)
    with open_engine(engine_name, io="engine", **OPTIONS[engine_name]) as reader:
        own = reader.fold(reader.scan(opened, columns), records, operator.add)
    assert sorted(map(str, own)) == sorted(map(str, arrow))
    assert len(own) == (ROWS if where is None else 160 - 20 - 20), "c3 and nulls do not pass"


def test_only_spark_has_a_catalogue(engine: Engine, engine_name: str, tmp_path: Path) -> None:
    named = Table("people", "table", pa.schema([]), (), "people")
    if engine_name != "spark":
        with pytest.raises(ConfigError, match="catalogue"):
            engine.resolve(named)
        return
    from pyspark.sql import SparkSession

    spark = SparkSession.getActiveSession()
    pq.write_table(rows_table(), tmp_path / "people.parquet")
    spark.read.parquet(str(tmp_path)).createOrReplaceTempView("people")
    table = engine.resolve(Table("people", "table", pa.schema([]), (), "", {}, ("value < 5",)))
    assert table.schema.names == SCHEMA.names
    frame = engine.scan(table, ["who"])
    assert engine.fold(frame, records, operator.add) == [{"who": f"c{i}"} for i in range(5)]


def numbered(batches: Iterator[pa.RecordBatch], name: str) -> list[tuple[str, int]]:
    return [(name, sum(batch.num_rows for batch in batches))]


def test_each_part_gets_what_was_left_beside_it(engine: Engine, tmp_path: Path) -> None:
    for frame in (
        engine.from_batches(batches_of(20), SCHEMA),
        engine.scan(written(tmp_path, 3), None),
    ):
        rows = engine.fold(frame, sizes, operator.add)
        names = [f"part {i}" for i in range(engine.parts(frame))]
        assert len(rows) == len(names) > 1
        found = engine.fold(frame, numbered, operator.add, beside=names)
        assert found == list(zip(names, rows, strict=True))


def test_a_query_has_no_parts_that_can_be_counted_on(engine: Engine) -> None:
    frame = engine.from_batches(batches_of(3), SCHEMA)
    assert engine.parts(engine.relate(frame, sums, SUMS)) == 0


def test_kept_rows_are_the_rows(engine: Engine, tmp_path: Path) -> None:
    kept = engine.scan(written(tmp_path, 4), ["value"], keep=True)
    for _ in range(2):
        assert values(engine, kept) == list(range(ROWS))
    twice = engine.map_batches(kept, negated, VALUES)
    assert values(engine, twice) == [-i for i in range(ROWS)]


def negated(batch: pa.RecordBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pc.negate(batch.column("value"))], schema=VALUES)


VALUES = pa.schema([("value", pa.int64())])
