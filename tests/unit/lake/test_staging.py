"""Files that tasks write before a commit: rolled, counted, bounded, in types that all read."""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.errors import ConfigError, SegpipeError
from segpipe.lake import hive, staging
from segpipe.lake.staging import Writer, storable

SCHEMA = pa.schema([("id", pa.int64()), ("score", pa.float64()), ("day", pa.date32())])
ONE, TWO = date(2024, 1, 1), date(2024, 1, 2)


def batches(n: int, rows: int) -> Iterator[pa.RecordBatch]:
    for i in range(n):
        data = {"p": [i % 3] * rows, "x": [float(i)] * rows}
        yield pa.RecordBatch.from_pydict(data)


def test_writer_rolls_files_and_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(staging, "FILE_ROWS", 40)
    monkeypatch.setattr(staging, "GROUP_ROWS", 20)
    monkeypatch.setattr(staging, "OPEN_FILES", 2)
    schema = pa.schema([("p", pa.int64()), ("x", pa.float64())])
    writer = pickle.loads(pickle.dumps(Writer(str(tmp_path), "r", ("p",), schema)))
    files = writer(batches(30, 10))
    assert writer(iter([])) == []
    assert sum(f.rows for f in files) == 300 and len({f.path for f in files}) == len(files) > 6
    for f in files:
        path = tmp_path / f.path
        held = pq.ParquetFile(path)
        assert (held.metadata.num_rows, path.stat().st_size) == (f.rows, f.bytes)
        assert held.schema_arrow.names == ["x"] and f.path.startswith(hive.folder(f.partition))
        assert f.rows <= 40
        assert json.loads(f.stats)["numRecords"] == f.rows


def test_statistics_bound_every_row(tmp_path: Path) -> None:
    schema = pa.schema(
        {
            "i": pa.int32(),
            "f": pa.float64(),
            "nan": pa.float64(),
            "s": pa.string(),
            "long": pa.string(),
            "t": pa.timestamp("us"),
            "d": pa.date32(),
            "none": pa.float64(),
            "l": pa.list_(pa.int64()),
        }
    )
    at = [datetime(1969, 12, 31, 23, 59, 59, 999_999), datetime(2024, 1, 1, 0, 0, 0, 1)]
    rows = {
        "i": [3, None], "f": [0.5, -1.5], "nan": [float("nan"), 1.0], "s": ["b", "a"],
        "long": ["x" * 40, "y"], "t": at, "d": [ONE, TWO], "none": [None, None], "l": [[1], None],
    }  # fmt: skip
    (file,) = Writer(str(tmp_path), "r", (), schema)(
        iter([pa.RecordBatch.from_pydict(rows, schema)])
    )
    assert json.loads(file.stats) == {
        "numRecords": 2,
        "minValues": {
            "i": 3,
            "f": -1.5,
            "s": "a",
            "t": "1969-12-31T23:59:59.999Z",
            "d": "2024-01-01",
        },
        "maxValues": {
            "i": 3,
            "f": 0.5,
            "s": "b",
            "t": "2024-01-01T00:00:00.001Z",
            "d": "2024-01-02",
        },
        "nullCount": {"i": 1, "f": 0, "nan": 0, "s": 0, "long": 0, "t": 0, "d": 0, "none": 2},
    }


def test_storable_types() -> None:
    schema = pa.schema(
        [
            ("a", pa.timestamp("ns")),
            ("b", pa.uint16()),
            ("c", pa.duration("s")),
            ("d", pa.time32("s")),
        ]
    )
    assert storable(schema).types == [
        pa.timestamp("us", "UTC"), pa.int32(), pa.int64(), pa.string(),
    ]  # fmt: skip


@pytest.mark.parametrize("run", ["", "a/b", "../x", "a b"])
def test_run_ids_that_are_no_file_names(run: str) -> None:
    with pytest.raises(ConfigError, match="run id"):
        Writer("x", run, (), SCHEMA)


@pytest.mark.parametrize("by", [("nope",), ("id", "score", "day")])
def test_partition_columns_that_cannot_be(by: tuple[str, ...]) -> None:
    with pytest.raises(SegpipeError):
        Writer("x", "r", by, SCHEMA)


def test_statistics_of_times_at_the_ends_of_the_calendar(tmp_path):
    first, last = datetime(1, 1, 1), datetime(9999, 12, 31, 23, 59, 59, 999_999)
    beyond = pa.array([10**18, 0], pa.int64()).cast(pa.timestamp("us"))
    table = pa.RecordBatch.from_arrays(
        [
            pa.array([first, datetime(2024, 1, 1)], pa.timestamp("us")),
            pa.array([last, datetime(2024, 1, 1)], pa.timestamp("us")),
            beyond,
        ],
        names=["early", "never", "beyond"],
    )
    (file,) = Writer(str(tmp_path), "r", (), table.schema)(iter([table]))
    told = json.loads(file.stats)
    # A bound that cannot be written is left out: readers then skip nothing.
    assert told["minValues"] == {"early": "0001-01-01T00:00:00.000Z"}
    assert told["maxValues"] == {"early": "2024-01-01T00:00:00.000Z"}


def test_statistics_are_of_the_first_columns(tmp_path):
    table = pa.record_batch({f"c{i}": [i, i + 1] for i in range(40)})
    (file,) = Writer(str(tmp_path), "r", (), table.schema)(iter([table]))
    told = json.loads(file.stats)
    assert list(told["minValues"]) == list(told["nullCount"]) == [f"c{i}" for i in range(32)]
    (file,) = Writer(str(tmp_path), "r", (), table.schema, 0)(iter([table]))
    assert json.loads(file.stats) == {
        "numRecords": 2, "minValues": {}, "maxValues": {}, "nullCount": {},
    }  # fmt: skip
