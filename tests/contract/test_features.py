"""Features, description and scaled block: the same bits on every engine and partitioning."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from segpipe.engines.local import LocalEngine
from segpipe.features.plan import Request
from segpipe.features.sets import SETS
from segpipe.fit.describe import describe
from segpipe.lake.binding import compile_contract
from segpipe.models.scaler import fit_scaler

END = int(datetime(2011, 12, 10, tzinfo=UTC).timestamp()) * 1_000_000
REQUESTS = {
    "rfm": Request(("customer_id",), ("recency_days", "monetary_total", "age"), as_of_end_us=END),
    "connections": Request(),
    "hosts": Request(("src", "day")),
    "columns": Request(("id",)),
}


def transactions(rows: int = 3000) -> pa.Table:
    rng = np.random.default_rng(0)
    age = np.where(rng.random(rows) < 0.2, np.nan, rng.integers(18, 80, rows))
    return pa.table(
        {
            "customer_id": pa.array([f"c{v}" for v in rng.integers(0, 200, rows)]),
            "ts": pa.array(rng.integers(END - 300 * 86_400_000_000, END, rows)),
            "order_id": pa.array(
                [None if v < 100 else f"o{v}" for v in rng.integers(0, 1500, rows)]
            ),
            "amount": np.round(rng.normal(20, 30, rows), 2),
            "category": pa.array(rng.choice(["tea", "cup", "pot"], rows)),
            "age": age,
        }
    )


def flows(rows: int = 3000) -> pa.Table:
    rng = np.random.default_rng(1)
    table = pa.table(
        {
            "duration": np.round(rng.lognormal(0, 2, rows), 1),
            "src_bytes": rng.integers(0, 10_000, rows),
            "proto": pa.array(rng.choice(["tcp", "udp", None], rows, p=[0.7, 0.25, 0.05])),
            "flag": pa.array(rng.choice(["SF", "S0"], rows)),
        }
    )
    flood = table.take(pa.array(np.zeros(rows // 2, np.int64)))
    return pa.concat_tables([table, flood])


def entities(rows: int = 2000) -> pa.Table:
    rng = np.random.default_rng(2)
    return pa.table(
        {"id": np.arange(rows), "x": rng.normal(size=rows), "n": rng.integers(0, 9, rows)}
    )


def contacts(rows: int = 4000) -> pa.Table:
    """Ten hosts, one of them with most of the rows; some cells missing."""
    rng = np.random.default_rng(3)
    who = np.where(rng.random(rows) < 0.6, 0, rng.integers(1, 10, rows))
    return pa.table(
        {
            "ts": pa.array(rng.integers(END - 2 * 86_400_000_000, END, rows)),
            "src": pa.array([f"10.0.0.{v}" for v in who]),
            "dst": pa.array([None if v == 0 else f"10.0.1.{v}" for v in rng.integers(0, 40, rows)]),
            "dst_port": rng.integers(1, 50, rows),
            "conn_state": pa.array(rng.choice(["SF", "S0", "REJ"], rows)),
            "src_bytes": rng.integers(0, 2**40, rows),
            "dst_bytes": np.where(rng.random(rows) < 0.1, np.nan, rng.lognormal(5, 3, rows)),
        }
    )


TABLES = {
    "rfm": transactions,
    "connections": flows,
    "columns": entities,
    "hosts": contacts,
}


def described(engine, name, parts):
    table, request = TABLES[name](), REQUESTS[name]
    table = table.take(pa.array(np.random.default_rng(parts).permutation(table.num_rows)))
    feature_set = SETS[name]
    plan = feature_set.plan(table.schema, {}, request, {})
    stored = [key for key in request.keys if key not in plan.derived_keys]
    contract = compile_contract(table.schema, plan.columns, plan.mapping, stored)
    size = -(-table.num_rows // parts)
    batches = [
        batch
        for i in range(parts)
        for batch in table.slice(i * size, size).combine_chunks().to_batches()
    ]
    rows = engine.map_batches(
        engine.from_batches(batches, table.schema), contract.accept, contract.schema
    )
    built = feature_set.build(engine, rows, contract.schema, plan)
    found = describe(engine, built.frame, built.numeric, built.categorical, built.keys, 500, 7)
    return found, fit_scaler(found, feature_set.auto_scale, feature_set.encoding)


@pytest.mark.parametrize("name", ["rfm", "connections", "columns", "hosts"])
def test_every_engine_and_partitioning_finds_the_same(engine, name):
    with LocalEngine(workers=1) as reference:
        expected, scaler = described(reference, name, 1)
    for parts in (1, 5):
        found, other = described(engine, name, parts)
        assert found.rows == expected.rows and found.numbers == expected.numbers
        assert [c.levels for c in found.categories] == [c.levels for c in expected.categories]
        assert found.sample.batch.equals(expected.sample.batch)
        assert found.sample.weight.tolist() == expected.sample.weight.tolist()
        assert (
            other.transform(found.sample.batch).tobytes()
            == scaler.transform(expected.sample.batch).tobytes()
        )
