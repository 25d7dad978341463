"""Types that every engine gives back as it got them, through all that it does to rows."""

from __future__ import annotations

import datetime
import operator
from collections.abc import Iterator
from decimal import Decimal

import narwhals.stable.v2 as nw
import pyarrow as pa

from segpipe.engines.protocol import Engine

TYPES = pa.schema(
    [
        ("who", pa.string()),
        ("byte", pa.uint8()),
        ("big", pa.uint64()),
        ("ns", pa.timestamp("ns")),
        ("utc", pa.timestamp("us", "UTC")),
        ("day", pa.date32()),
        ("money", pa.decimal128(12, 2)),
        ("real", pa.float64()),
        ("flag", pa.bool_()),
        ("why", pa.list_(pa.struct([("feature", pa.string()), ("share", pa.float64())]))),
    ]
)


def typed() -> pa.RecordBatch:
    utc = datetime.datetime(2011, 12, 9, 12, 50, tzinfo=datetime.UTC)
    nanos = pa.array([1, None], pa.timestamp("ns"))
    rows = {
        "who": ["a", None],
        "byte": [255, None],
        "big": [2**64 - 1, None],
        "utc": [utc, None],
        "day": [utc.date(), None],
        "money": [Decimal("12.50"), None],
        "real": [float("nan"), None],
        "flag": [True, None],
        "why": [[{"feature": "x", "share": 0.5}], None],
    }
    arrays = [nanos if f.name == "ns" else pa.array(rows[f.name], f.type) for f in TYPES]
    return pa.RecordBatch.from_arrays(arrays, schema=TYPES)


def streamed(batches: Iterator[pa.RecordBatch]) -> list[pa.RecordBatch]:
    return [batch for batch in batches if batch.num_rows]


def same(batch: pa.RecordBatch) -> pa.RecordBatch:
    return batch


def known(frame: nw.LazyFrame) -> nw.LazyFrame:
    return frame.filter(nw.col("byte").is_null() | (nw.col("byte") > 0))


def by_who(batches: list[pa.RecordBatch]) -> list[str]:
    return sorted(str(row) for batch in batches for row in batch.to_pylist())


def test_types_survive(engine: Engine) -> None:
    frame = engine.from_batches([typed()], TYPES)
    for kept in (frame, engine.persist(frame)):
        (batch,) = engine.fold(kept, streamed, operator.add)
        assert batch.schema == TYPES
        assert by_who([batch]) == by_who([typed()])
    related = engine.relate(frame, known, TYPES)
    grouped = engine.group_map(frame, ["who"], ["day"], same, TYPES)
    for moved in (related, grouped):
        batches = engine.fold(moved, streamed, operator.add)
        assert {batch.schema.to_string() for batch in batches} == {TYPES.to_string()}
        assert by_who(batches) == by_who([typed()])
