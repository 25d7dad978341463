"""The local engine's own: what stays in memory, and how much."""

import operator

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.engines.local import LocalEngine
from segpipe.lake.tables import open_table


@pytest.fixture
def files(tmp_path):
    for i in range(4):
        pq.write_table(
            pa.table({"x": pa.array(range(1000 * i, 1000 * i + 1000))}), tmp_path / f"{i}.parquet"
        )
    return tmp_path


def total(batches):
    return sum(sum(batch.column("x").to_pylist()) for batch in batches)


def test_kept_parts_need_no_file_any_more(files):
    with LocalEngine(workers=2, parts=4) as engine:
        frame = engine.scan(open_table(str(files), "parquet"), None, keep=True)
        first = engine.fold(frame, total, operator.add)
        for path in files.iterdir():
            path.unlink()
        assert engine.fold(frame, total, operator.add) == first == sum(range(4000))


def test_what_does_not_fit_is_read_again(files):
    # Half of 40,000 bytes holds two of the four parts of 8,000 bytes (and their null bits).
    with LocalEngine(workers=1, parts=4, memory=40_000) as engine:
        frame = engine.scan(open_table(str(files), "parquet"), None, keep=True)
        for _ in range(2):
            assert engine.fold(frame, total, operator.add) == sum(range(4000))
        held = frame.source.open
        assert len(held.parts) == 2
        assert held.room.take(3_000) and not held.room.take(1_000)


def head(batches):
    return [next(iter(batches)).num_rows]


def test_a_part_that_was_not_read_to_its_end_is_not_kept(files):
    with LocalEngine(workers=1, parts=4, memory=40_000) as engine:
        frame = engine.scan(open_table(str(files), "parquet"), None, keep=True)
        assert engine.fold(frame, head, operator.add) == [1000] * 4
        held = frame.source.open
        assert not held.parts and held.room.take(20_000)
