"""Reading tables: every format gives the same rows, bad input the right error."""

from __future__ import annotations

import gzip
import os
from datetime import UTC, date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import write_deltalake
from hypothesis import given
from hypothesis import strategies as st

from segpipe.errors import ConfigError, DataError, InputMissing, SegpipeError, TemporaryError
from segpipe.lake import columnar
from segpipe.lake.tables import open_table, read, split
from segpipe.values import Fragment, Table


def rows(table: Table, columns: list[str] | None = None) -> list[dict[str, object]]:
    return [
        row
        for f in table.fragments
        for batch in read(table, f, columns)
        for row in batch.to_pylist()
    ]


def put(path: Path, table: pa.Table, **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


@pytest.fixture
def hive(tmp_path: Path) -> Path:
    kinds = [pa.int32(), pa.int64(), pa.float64()]
    places = ["m=1/dt=2024-01-01", "m=2/dt=2024-01-02", "m=2/dt=__HIVE_DEFAULT_PARTITION__"]
    for kind, place in zip(kinds, places, strict=True):
        data = {
            "k": pa.array([1, 2], kind),
            "s": pa.array(["x", "y"]).dictionary_encode(),
            "big": pa.array(["u", None], pa.large_string()),
            "none": pa.nulls(2),
        }
        put(tmp_path / place / "a.parquet", pa.table(data))
    (tmp_path / "_SUCCESS.parquet").write_text("no parquet")
    (tmp_path / ".part.parquet").write_text("no parquet")
    return tmp_path


def test_hive_folders_types_and_unified_schema(hive: Path) -> None:
    table = open_table(str(hive), "parquet")
    text = pa.string()
    assert table.schema == pa.schema(
        {
            "k": pa.float64(),
            "s": text,
            "big": text,
            "none": text,
            "m": pa.int64(),
            "dt": pa.date32(),
        }
    )
    found = [(r["k"], r["s"], r["m"], r["dt"]) for r in rows(table)]
    first, second = date(2024, 1, 1), date(2024, 1, 2)
    assert found[:4] == [
        (1, "x", 1, first),
        (2, "y", 1, first),
        (1, "x", 2, second),
        (2, "y", 2, second),
    ]
    assert [r[3] for r in found[4:]] == [None, None]


def test_filters_prune_and_apply_to_columns_not_asked_for(hive: Path) -> None:
    table = open_table(str(hive), "parquet", where="kk > 1 and m == 2", names={"kk": "k"})
    assert rows(table, ["s", "dt"]) == [{"s": "y", "dt": date(2024, 1, 2)}, {"s": "y", "dt": None}]
    pruned = open_table(str(hive), "parquet", partitions=["m=2", "dt=2024-01-02"])
    assert len(pruned.fragments) == 1 and len(rows(pruned)) == 2
    null = open_table(str(hive), "parquet", partitions=["dt=__HIVE_DEFAULT_PARTITION__"])
    assert [f.partition for f in null.fragments] == [(("m", "2"), ("dt", None))]


def test_zero_columns_keep_the_number_of_rows(hive: Path) -> None:
    table = open_table(str(hive), "parquet")
    assert sum(b.num_rows for f in table.fragments for b in read(table, f, [])) == 6


@pytest.mark.parametrize(
    ("glob", "files"),
    [("m=*", 3), ("m=*/**/*.parquet", 3), ("m=2/*/a.parquet", 2), ("m=1", 1), ("**/a.parquet", 3)],
)
def test_globs_find_partitions_too(hive: Path, glob: str, files: int) -> None:
    table = open_table(f"file://{hive}/{glob}", "parquet")
    assert len(table.fragments) == files
    assert table.schema.names[-2:] == ["m", "dt"]


def test_leading_zeros_and_mixed_values_stay_text(tmp_path: Path) -> None:
    for value in ("01", "2"):
        put(tmp_path / f"store={value}" / "a.parquet", pa.table({"x": [1]}))
    assert open_table(str(tmp_path), "parquet").schema.field("store").type == pa.string()


def test_snapshot_changes_with_the_files(hive: Path) -> None:
    before = open_table(str(hive), "parquet").snapshot
    assert open_table(str(hive), "parquet").snapshot == before
    os.utime(hive / "m=1/dt=2024-01-01/a.parquet", ns=(1, 1))
    assert open_table(str(hive), "parquet").snapshot != before


def test_big_files_are_split_at_row_groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "a.parquet", pa.table({"x": list(range(10))}), row_group_size=3)
    monkeypatch.setattr(columnar, "FRAGMENT_ROWS", 6)
    table = open_table(str(path), "parquet")
    assert [(f.row_groups, f.rows, f.offset) for f in table.fragments] == [
        ((0, 1), 6, 0),
        ((2, 3), 4, 6),
    ]
    assert [r["x"] for r in rows(table)] == list(range(10))


@given(st.lists(st.integers(1, 50), max_size=30), st.integers(1, 40))
def test_split_is_a_contiguous_partition(sizes: list[int], parts: int) -> None:
    fragments = tuple(Fragment(str(i), n) for i, n in enumerate(sizes))
    groups = split(Table("", "parquet", pa.schema([]), fragments, ""), parts)
    assert tuple(f for group in groups for f in group) == fragments
    assert len(groups) == min(parts, len(fragments)) and all(groups)


def test_delta_partitions_versions_and_special_characters(tmp_path: Path) -> None:
    uri = str(tmp_path)
    moment = datetime(2024, 1, 1, 3, 4, 5, 6, tzinfo=UTC)
    data = pa.table(
        {
            "p": ["a b", "c/d", None, "é%=x"],
            "ts": pa.array([moment] * 4, pa.timestamp("us", "UTC")),
            "x": [1, 2, 3, 4],
        }
    )
    write_deltalake(uri, data, partition_by=["p", "ts"])
    write_deltalake(uri, data.slice(0, 1), mode="append")
    table = open_table(uri, "delta")
    assert table.snapshot == f"{uri}@1"
    assert table.schema.names == ["x", "p", "ts"]
    assert sorted((r["x"], r["p"]) for r in rows(table)) == [
        (1, "a b"), (1, "a b"), (2, "c/d"), (3, None), (4, "é%=x"),
    ]  # fmt: skip
    assert {r["ts"] for r in rows(table)} == {moment}
    assert rows(open_table(uri, "delta", partitions=["p=c/d"]), ["x"]) == [{"x": 2}]
    assert len(rows(open_table(uri, "delta", {"version": 0}))) == 4
    with pytest.raises(InputMissing):
        open_table(uri, "delta", {"version": 9})


def test_delta_column_mapping_is_refused(tmp_path: Path) -> None:
    write_deltalake(str(tmp_path), pa.table({"x": [1]}))
    log = tmp_path / "_delta_log" / "00000000000000000000.json"
    mapped = '"configuration":{"delta.columnMapping.mode":"name"}'
    log.write_text(log.read_text().replace('"configuration":{}', mapped))
    with pytest.raises(DataError, match="columnMapping"):
        open_table(str(tmp_path), "delta")


def test_csv_is_text_with_quotes_nulls_and_line_breaks(tmp_path: Path) -> None:
    text = '\ufeffid,name,v\n0001,"A, b",NA\n0002,"x\ny",3\n0003,,""\n'
    (tmp_path / "a.csv").write_text(text)
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(b"v,id\n7,0004\n"))
    table = open_table(str(tmp_path), "csv")
    assert rows(table) == [
        {"id": "0001", "name": "A, b", "v": None},
        {"id": "0002", "name": "x\ny", "v": "3"},
        {"id": "0003", "name": None, "v": None},
        {"id": "0004", "name": None, "v": "7"},
    ]
    assert [r["id"] for r in rows(open_table(str(tmp_path), "csv", where="v > 3"))] == ["0004"]


def test_csv_options(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("  1  a  3\n 22 b   -\n")
    options = {"delimiter": "blanks", "header": False, "columns": ["n", "s", "v"], "nulls": ["-"]}
    expected = [{"n": "1", "s": "a", "v": "3"}, {"n": "22", "s": "b", "v": None}]
    assert rows(open_table(str(path), "csv", options)) == expected
    path.write_text("1;'a;b'\n")
    options = {"delimiter": ";", "quote": "'", "header": False, "columns": ["n", "s"]}
    assert rows(open_table(str(path), "csv", options)) == [{"n": "1", "s": "a;b"}]


@pytest.mark.parametrize(
    "options",
    [
        {"encoding": "latin-1"},
        {"delimiter": "ab"},
        {"header": False},
        {"columns": ["a"]},
        {"quote": 3},
        {"sep": ";"},
    ],
)
def test_csv_options_that_cannot_work(tmp_path: Path, options: dict[str, object]) -> None:
    (tmp_path / "a.csv").write_text("x\n1\n")
    with pytest.raises(ConfigError):
        open_table(str(tmp_path), "csv", options)


CSVS = {
    "header only": b"a,b\n",
    "latin": b"id,name\n0001,ok\n0002,caf\xe9\n",
    "cut character": "id\naé".encode()[:-1],
    "ragged": b"a,b\n1,2\n1,2,3\n",
    "doubled": b"a,a\n1,2\n",
}
PLACES = {"absent": ("nowhere", "parquet"), "no match": ("*.parquet", "parquet")}


def bad_source(folder: Path, case: str) -> tuple[str, str]:
    path = folder / "b.parquet"
    if case in CSVS:
        (folder / "b.csv").write_bytes(CSVS[case])
        return str(folder / "b.csv"), "csv"
    if case in ("truncated", "clash"):
        put(folder / "a.parquet", pa.table({"x": [1]}))
        put(path, pa.table({"x": [1] if case == "truncated" else ["a"]}))
    if case == "truncated":
        path.write_bytes(path.read_bytes()[:-9])
    elif case == "no rows":
        put(path, pa.table({"x": pa.array([], pa.int64())}))
    elif case == "empty file":
        path.write_bytes(b"")
    below, format = PLACES.get(case, ("", "delta" if case == "no delta" else "parquet"))
    return f"{folder}/{below}", format


@pytest.mark.parametrize(
    ("case", "code", "says"),
    [
        ("absent", 66, "does not exist"),
        ("no file", 66, "no parquet file"),
        ("no match", 66, "no parquet file"),
        ("no delta", 66, "no Delta table"),
        ("no rows", 66, "no rows"),
        ("truncated", 65, "b.parquet"),
        ("clash", 65, r"column 'x' is string in file .*b\.parquet but int64 in .*a\.parquet"),
        ("empty file", 65, "b.parquet"),
        ("header only", 66, "no rows"),
        ("latin", 65, "b.csv is not UTF-8: byte 24"),
        ("cut character", 65, "b.csv is not UTF-8: byte 4"),
        ("ragged", 65, "b.csv"),
        ("doubled", 65, "several columns"),
    ],
)
def test_bad_sources(tmp_path: Path, case: str, code: int, says: str) -> None:
    uri, format = bad_source(tmp_path, case)
    with pytest.raises(SegpipeError, match=says) as caught:
        open_table(uri, format)
    assert caught.value.code == code and caught.value.hint


def test_damage_inside_a_file_and_vanished_files(tmp_path: Path) -> None:
    path = put(tmp_path / "a.parquet", pa.table({"x": [float(i) for i in range(5000)]}))
    table = open_table(str(path), "parquet")
    whole = path.read_bytes()
    path.write_bytes(whole[:4] + b"\xff" * 200 + whole[204:])
    with pytest.raises(DataError, match=r"a\.parquet"):
        rows(table)
    path.unlink()
    with pytest.raises(TemporaryError, match="disappeared"):
        rows(table)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"where": "kk > 1"}, "did you mean"),
        ({"where": "s > 1"}, "compares"),
        ({"partitions": ["q=1"]}, "names no column"),
        ({"partitions": ["m=x"]}, "is int64"),
    ],
)
def test_bad_filters(hive: Path, options: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        open_table(str(hive), "parquet", **options)


@pytest.mark.parametrize("format", ["iceberg", "xlsx"])
def test_other_formats_are_refused(format: str) -> None:
    with pytest.raises(ConfigError):
        open_table("x", format)


def test_catalog_tables_are_left_to_the_engine() -> None:
    table = open_table("db.t", "table", where="unit > 0", names={"unit": "x"}, partitions=["d=1"])
    assert table.fragments == () and table.filters == ("(x > 0)", "`d` == '1'")


def test_a_message_of_another_library_brings_no_second_full_stop(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 this is no footer")
    with pytest.raises(DataError) as caught:
        open_table(str(tmp_path), "parquet")
    assert ".." not in caught.value.message and caught.value.message.endswith(".")
