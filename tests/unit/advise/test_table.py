"""What a table is, told from its names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.advise.table import _says_identifier, format_of, look_at
from segpipe.errors import DataError, InputMissing


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("id", True),
        ("customer_id", True),
        ("CustomerID", True),
        ("rowNo", True),
        ("order-nr", True),
        ("acid", False),
        ("piano", False),
        ("whiskey", False),
        ("amount", False),
    ],
)
def test_identifiers_by_name(name, said):
    assert _says_identifier(name) is said


def test_formats(tmp_path):
    (tmp_path / "d" / "_delta_log").mkdir(parents=True)
    (tmp_path / "c" / "part").mkdir(parents=True)
    (tmp_path / "c" / "part" / "a.csv").touch()
    assert format_of(str(tmp_path / "d")) == "delta"
    assert format_of(str(tmp_path / "c")) == "csv"
    assert [format_of(u) for u in ("x.csv", "x.parquet", "a/*.parquet", "conn.log")] == [
        *("csv", "parquet", "parquet", "zeek"),
    ]


def test_an_identifier_is_the_key_or_nothing(tmp_path: Path):
    rng = np.random.default_rng(0)
    table = {"row_id": np.arange(50), "shop_id": np.arange(50) % 7, "a": rng.normal(size=50)}
    pq.write_table(pa.table({**table, "b": rng.normal(size=50)}), tmp_path / "t.parquet")
    found = look_at(str(tmp_path / "t.parquet"), None)
    assert found.tree["contract"] == {"keys": ["row_id"]}
    assert found.seen.scaler.names == ("a", "b")
    assert any("shop_id" in note and "identifier" in note for note in found.notes)
    named = look_at(str(tmp_path / "t.parquet"), ["a", "shop_id"])
    assert named.seen.scaler.names == ("a", "shop_id") and "contract" not in named.tree


def test_purchases_under_other_names_become_customers(tmp_path: Path):
    rng = np.random.default_rng(0)
    day = np.datetime64("2020-01-01", "us") + rng.integers(0, 300, 400) * np.timedelta64(1, "D")
    table = {
        "InvoiceNo": np.arange(400) // 2,
        "InvoiceDate": day,
        "CustomerID": np.arange(400) % 40,
        "Quantity": rng.integers(1, 9, 400),
        "UnitPrice": rng.uniform(1, 9, 400),
    }
    pq.write_table(pa.table(table), tmp_path / "sales.parquet")
    found = look_at(str(tmp_path / "sales.parquet"), None)
    assert found.tree["features"] == {"set": "rfm"} and found.rows == 40
    assert found.tree["source"]["columns"] == {
        "customer_id": "CustomerID", "ts": "InvoiceDate", "order_id": "InvoiceNo",
        "quantity": "Quantity", "price": "UnitPrice",
    }  # fmt: skip


def test_errors_are_those_of_a_run(tmp_path: Path):
    with pytest.raises(InputMissing):
        look_at(str(tmp_path / "absent.parquet"), None)
    pq.write_table(pa.table({"a": [1.0, 2.0, 3.0]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="names \\['z'\\]"):
        look_at(str(tmp_path / "t.parquet"), ["z"])
