"""A folder of Zeek logs gives the same rows on every engine and partitioning, rejects included."""

from __future__ import annotations

import gzip
import json

import pyarrow as pa
import pytest

from segpipe.lake import zeek
from segpipe.lake.binding import compile_contract
from segpipe.lake.tables import open_table
from segpipe.values import Column

HEAD = (
    "#separator \\x09\n#path\tconn\n#fields\tts\tid.orig_h\torig_bytes\ttunnel_parents\n"
    "#types\ttime\taddr\tcount\tset[string]\n"
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(zeek, "SPAN", 2_000)
    monkeypatch.setattr(zeek, "_BLOCK", 500)
    lines = [f"{i}.25\t10.0.0.{i % 7}\t{i * 1000}\t(empty)\n" for i in range(300)]
    (tmp_path / "conn.1.log").write_text(HEAD + "".join(lines[:150]) + "150.2")
    (tmp_path / "conn.2.log.gz").write_bytes(gzip.compress((HEAD + "".join(lines[150:])).encode()))
    rows = [{"ts": i + 0.5, "id.orig_h": "10.1.0.1", "orig_bytes": i} for i in range(50)]
    (tmp_path / "conn.3.json").write_text("\n".join(map(json.dumps, rows)))
    return tmp_path


def judged(batches):
    return [batch for batch in batches if batch.num_rows]


def test_rows_and_rejects(engine, folder):
    table = open_table(str(folder), "zeek", where="orig_bytes < 280000")
    assert len(table.fragments) > 4
    contract = compile_contract(
        table.schema,
        [Column("ts", "time"), Column("src", "text"), Column("src_bytes", "number")],
        {"src": "id.orig_h", "src_bytes": "orig_bytes"},
        carry="all",
        untyped=True,
    )
    frame = engine.scan(table, None)
    accepted = engine.map_batches(frame, contract.accept, contract.schema)
    rows = pa.Table.from_batches(engine.fold(accepted, judged, list.__add__)).to_pylist()
    expected = [(i * 1_000_000 + 250_000, f"10.0.0.{i % 7}", i * 1000.0) for i in range(280)]
    expected += [(i * 1_000_000 + 500_000, "10.1.0.1", float(i)) for i in range(50)]
    assert [(r["ts"], r["src"], r["src_bytes"]) for r in rows] == expected
    assert rows[7]["source__orig_bytes"] == 7000 and rows[7]["source__tunnel_parents"] is None
    bad = engine.map_batches(frame, contract.reject, contract.reject_schema)
    found = pa.Table.from_batches(engine.fold(bad, judged, list.__add__)).to_pylist()
    assert [(r["_line"], r["reject_reason"]) for r in found] == [("150.2", "bad_line")]
