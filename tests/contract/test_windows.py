"""Window columns: the same bits on every engine and partitioning, beside the row they belong to."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from segpipe.features import timeline
from segpipe.features.plan import Request
from segpipe.features.sets import SETS
from segpipe.features.windows import available
from segpipe.lake.binding import compile_contract
from segpipe.lake.scratch import Scratch

ROWS = 6_000


def log() -> pa.Table:
    rng = np.random.default_rng(8)
    # A source with 60 % of the rows, seconds that many rows share, rows without a time.
    src = np.where(rng.random(ROWS) < 0.6, 0, rng.integers(1, 60, ROWS))
    seconds = rng.integers(0, 40_000, ROWS)
    return pa.table(
        {
            "ts": pa.array(
                [None if i % 97 == 0 else s * 10**6 for i, s in enumerate(seconds.tolist())],
                pa.timestamp("us"),
            ),
            "src": pa.array([None if v == 59 else f"10.0.0.{v}" for v in src.tolist()]),
            "dst": pa.array([f"10.1.0.{v}" for v in rng.integers(0, 200, ROWS)]),
            "dst_port": rng.choice([22, 53, 80, 443], ROWS),
            "flag": pa.array(rng.choice(["SF", "S0", "REJ"], ROWS)),
            "src_bytes": rng.integers(0, 10_000, ROWS),
            "number": np.arange(ROWS),
        }
    )


def features(engine, table, parts, folder) -> pa.Table:
    """The feature table, by row number; the rows come in ``parts`` parts."""
    plan = SETS["connections"].plan(table.schema, {}, Request(scratch=Scratch(str(folder))), {})
    contract = compile_contract(
        table.schema, plan.columns, plan.mapping, (), [], None, ["number"], None, False
    )
    size = -(-table.num_rows // parts)
    batches = [table.slice(i * size, size).combine_chunks().to_batches()[0] for i in range(parts)]
    rows = engine.map_batches(
        engine.from_batches(batches, table.schema), contract.accept, contract.schema
    )
    built = SETS["connections"].build(engine, rows, contract.schema, plan)
    found = engine.fold(built.frame, list, list.__add__)
    return pa.Table.from_batches(found, built.schema).sort_by("source__number")


@pytest.fixture(scope="module")
def expected(tmp_path_factory) -> pa.Table:
    from segpipe.engines.local import LocalEngine

    with LocalEngine(workers=1) as one:
        return features(one, log(), 1, tmp_path_factory.mktemp("scratch"))


def test_every_engine_and_partitioning_finds_the_same(engine, expected, tmp_path, monkeypatch):
    table = log()
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(ROWS)))
    # Driver's choices: many slices, as of a large table.
    monkeypatch.setattr(timeline, "SLICE_ROWS", 300)
    for rows, parts in ((table, 1), (shuffled, 5)):
        assert features(engine, rows, parts, tmp_path).equals(expected)


def test_rows_of_a_query_are_stored_first(engine, expected, tmp_path):
    table = log()
    plan = SETS["connections"].plan(table.schema, {}, Request(scratch=Scratch(str(tmp_path))), {})
    contract = compile_contract(
        table.schema, plan.columns, plan.mapping, (), [], None, ["number"], None, False
    )
    frame = engine.from_batches(table.combine_chunks().to_batches(), table.schema)
    queried = engine.relate(frame, _all, table.schema)
    assert not engine.parts(queried)
    rows = engine.map_batches(queried, contract.accept, contract.schema)
    built = SETS["connections"].build(engine, rows, contract.schema, plan)
    found = pa.Table.from_batches(engine.fold(built.frame, list, list.__add__), built.schema)
    assert found.sort_by("source__number").equals(expected)


def test_persisted_rows_too(engine, expected, tmp_path):
    table = log()
    plan = SETS["connections"].plan(table.schema, {}, Request(scratch=Scratch(str(tmp_path))), {})
    contract = compile_contract(
        table.schema, plan.columns, plan.mapping, (), [], None, ["number"], None, False
    )
    frame = engine.from_batches(table.combine_chunks().to_batches(max_chunksize=999), table.schema)
    rows = engine.map_batches(engine.persist(frame), contract.accept, contract.schema)
    built = SETS["connections"].build(engine, rows, contract.schema, plan)
    found = pa.Table.from_batches(engine.fold(built.frame, list, list.__add__), built.schema)
    assert found.sort_by("source__number").equals(expected)


def test_numbers_are_those_of_the_whole_table(expected):
    table = log()
    seconds = [v and v.timestamp() for v in table.column("ts").to_pylist()]
    ends = (table.column(name).to_pylist() for name in ("src", "dst"))
    rows = list(zip(seconds, *ends, strict=True))
    counts, fans = (expected.column(n).to_pylist() for n in ("src_10m_count", "src_10m_dsts"))
    for i in range(0, ROWS, 61):
        now, src, _ = rows[i]
        if now is None or src is None:
            assert counts[i] is None
            continue
        seen = [r for r in rows if r[1] == src and r[0] is not None and now - 600 < r[0] <= now]
        assert (counts[i], fans[i]) == (len(seen), len({r[2] for r in seen}))
    gone = [i for i, r in enumerate(rows) if r[0] is None]
    for name in available(table.column_names).names:
        assert expected.column(name).take(pa.array(gone)).null_count == len(gone)


def _all(frame):
    return frame
