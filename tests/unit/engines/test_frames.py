"""Whole groups, order, parts and sizes by hand."""

from __future__ import annotations

import pyarrow as pa
import pytest

from segpipe.engines import frames
from segpipe.errors import ConfigError
from segpipe.values import Fragment, Table

KEYS = pa.schema([("k", pa.float64()), ("v", pa.int64())])


def batch(keys: list[float | None]) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [pa.array(keys, pa.float64()), pa.array(range(len(keys)), pa.int64())], schema=KEYS
    )


def test_regroup_never_cuts_a_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BATCH_ROWS", 4)
    parts = [batch([1, 1]), batch([]), batch([1, 2, 2]), batch([2, 2, 2, 2, 2]), batch([3])]
    found = [b.column("k").to_pylist() for b in frames.regroup(parts, ["k"])]
    assert found == [[1, 1, 1], [2, 2, 2, 2, 2, 2, 2, 3]]


def test_nulls_and_nans_are_keys_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "BATCH_ROWS", 2)
    nan = float("nan")
    parts = [batch([None, None]), batch([None, 1, nan]), batch([nan, nan])]
    found = [[str(v) for v in b.column("k").to_pylist()] for b in frames.regroup(parts, ["k"])]
    assert [key for keys in found for key in keys] == ["None"] * 3 + ["1.0"] + ["nan"] * 3
    assert sum(len(set(keys)) for keys in found) == 3  # no group is in two batches


def test_regroup_without_rows_gives_nothing() -> None:
    assert list(frames.regroup([batch([])], ["k"])) == []


def test_sort_puts_nulls_first_and_nan_last() -> None:
    table = pa.Table.from_batches([batch([2, None, float("nan"), 1])])
    assert frames.sort_nulls_first(table, ["k"]).column("v").to_pylist() == [1, 3, 0, 2]


def test_part_count_grows_with_workers_and_rows() -> None:
    def table(rows: int) -> Table:
        return Table("t", "parquet", KEYS, (Fragment("a", rows), Fragment("b", None)), "s")

    assert frames.part_count(table(10), 2) == 8
    assert frames.part_count(table(40_000_001), 2) == 21


def test_memory_is_read_as_people_write_it() -> None:
    assert frames.memory_bytes("4g") == frames.memory_bytes("4GiB") == 4 * 2**30
    assert frames.memory_bytes("1.5 MB") == 3 * 2**19
    assert frames.memory_bytes(1000) == frames.memory_bytes("1000") == 1000
    assert frames.memory_bytes("auto") > 2**27
    for wrong in ("much", "-1g", "0", ""):
        with pytest.raises(ConfigError, match="no size"):
            frames.memory_bytes(wrong)


def test_a_stage_that_breaks_its_promise_is_told_at_once() -> None:
    stage = frames.Stage(lambda b: b, pa.schema([("k", pa.int64()), ("v", pa.int64())]))
    with pytest.raises(TypeError, match="promised"):
        stage(batch([1.0]))
