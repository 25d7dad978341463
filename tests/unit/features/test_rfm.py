"""Customers from transactions: every feature by hand, and laws of partitioning."""

import math
from datetime import UTC, datetime

import numpy as np
import pyarrow as pa
import pytest

from segpipe.engines.local import LocalEngine
from segpipe.errors import DataError
from segpipe.features import rfm
from segpipe.features.plan import Request
from segpipe.lake.binding import compile_contract

END = "2011-12-10"  # end of the day 2011-12-09


def us(text):
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * 1_000_000


@pytest.fixture
def engine():
    with LocalEngine(workers=2) as engine:
        yield engine


def customers(engine, table, parts=1, mapping=None, columns=None):
    request = Request(("customer_id",), columns, as_of_end_us=us(END))
    plan = rfm.plan(table.schema, mapping or {}, request, {})
    contract = compile_contract(table.schema, plan.columns, plan.mapping, request.keys)
    size = -(-table.num_rows // parts)
    batches = [
        batch
        for i in range(parts)
        for batch in table.slice(i * size, size).combine_chunks().to_batches()
    ]
    rows = engine.from_batches(batches, table.schema)
    rows = engine.map_batches(rows, contract.accept, contract.schema)
    built = rfm.build(engine, rows, contract.schema, plan)
    found = pa.Table.from_batches(engine.fold(built.frame, list, list.__add__), built.schema)
    return built, found.sort_by("customer_id")


LINES = [
    # customer, order, time, quantity, price, category, discount
    ("ann", "A1", "2011-12-01 10:00", 2, 5.00, "tea", 0.0),
    ("ann", "A1", "2011-12-01 10:00", 1, 10.00, "cup", 0.1),
    ("ann", "A2", "2011-10-02 03:00", 4, 10.00, "tea", None),  # a Sunday, at night
    ("ann", "CA", "2011-12-05 09:00", -1, 10.00, "cup", None),  # a return
    ("bob", "B1", "2011-12-09 12:00", 1, 7.50, "tea", None),  # a single purchase
    ("cyd", "CX", "2011-11-30 00:00", -3, 1.00, "pot", None),  # returns only
    ("dee", "D1", "2011-12-08 08:00", 1, 1.00, "tea", None),
    ("dee", "D2", "2011-12-08 08:00", 1, 3.00, "pot", None),  # two orders at the same time
]


def lines():
    names = ("customer_id", "order_id", "ts", "quantity", "price", "category", "discount")
    columns = dict(zip(names, map(list, zip(*LINES, strict=True)), strict=True))
    columns["ts"] = [datetime.fromisoformat(text) for text in columns["ts"]]
    return pa.table(columns)


def row(table, customer):
    return next(r for r in table.to_pylist() if r["customer_id"] == customer)


def test_a_returning_customer_by_hand(engine):
    _, table = customers(engine, lines())
    ann = row(table, "ann")
    assert ann["frequency"] == 2 and ann["single_purchase"] == 0
    assert ann["recency_days"] == pytest.approx(8 + 14 / 24)  # 1 Dec 10:00 to 10 Dec 00:00
    assert ann["tenure_days"] == pytest.approx(68 + 21 / 24)  # since 2 Oct 03:00
    assert ann["orders_per_month"] == pytest.approx(2 * (365.25 / 12) / 68.875)
    assert ann["monetary_total"] == 50.0  # 20 + 40 - 10
    assert (ann["monetary_mean"], ann["monetary_std"], ann["basket_median"]) == (30, 10, 30)
    assert ann["active_months_share"] == pytest.approx(2 / 3)  # October and December of three
    assert ann["interpurchase_mean_days"] == pytest.approx(60 + 7 / 24)
    assert ann["interpurchase_cv"] == 0.0
    assert ann["lateness"] == pytest.approx((8 + 14 / 24) / (60 + 7 / 24))
    assert ann["basket_items"] == 3.5  # 2 + 1 and 4
    assert ann["return_rate"] == 0.25 and ann["discount_share"] == pytest.approx(1 / 3)
    assert (ann["weekend_share"], ann["night_share"]) == (0.5, 0.5)
    assert ann["hour_entropy"] == pytest.approx(math.log(2))  # 10 and 3 o'clock
    assert ann["trend_90d"] == 1.0  # both orders within 90 days, none before
    assert ann["distinct_categories"] == 2 and ann["top_category_share"] == pytest.approx(2 / 3)
    assert ann["category_entropy"] == pytest.approx(math.log(3) - 2 / 3 * math.log(2))


def test_single_purchase_returns_only_and_same_time_orders(engine):
    _, table = customers(engine, lines())
    bob, cyd, dee = (row(table, name) for name in ("bob", "cyd", "dee"))
    assert bob["single_purchase"] == 1 and bob["interpurchase_mean_days"] == 0.5
    assert bob["orders_per_month"] == 1 and bob["monetary_std"] == 0 and bob["lateness"] == 0.5
    assert cyd["frequency"] == 0 and cyd["monetary_total"] == -3 and cyd["return_rate"] == 1
    assert cyd["recency_days"] == 10 and cyd["monetary_mean"] == 0 and cyd["basket_median"] == 0
    assert cyd["distinct_categories"] == 0 and cyd["trend_90d"] == 0
    assert dee["frequency"] == 2 and dee["interpurchase_mean_days"] == 0
    assert dee["hour_entropy"] == 0 and cyd["hour_entropy"] == 0
    assert dee["lateness"] == dee["recency_days"]  # a gap counts as a day at least
    assert all(math.isfinite(v) for r in table.to_pylist() for v in list(r.values())[1:])


def test_without_order_ids_an_order_is_a_utc_day(engine):
    table = pa.table(
        {
            "customer_id": [1.0, 1.0, 1.0, 2.0],
            "ts": [
                datetime(2011, 12, 1, 0, 30),
                datetime(2011, 12, 1, 23, 30),
                datetime(2011, 12, 2, 0, 30),
                datetime(2011, 12, 2, 0, 30),
            ],
            "amount": [1.0, 2.0, 4.0, 0.0],
        }
    )
    _, found = customers(engine, table)
    assert found["customer_id"].to_pylist() == [1, 2]
    assert found["frequency"].to_pylist() == [2, 1]  # an amount of 0 is a purchase
    assert found["monetary_mean"].to_pylist() == [3.5, 0]
    assert found["basket_items"].to_pylist() == [1.5, 1]
    assert "distinct_categories" not in found.column_names


def test_lines_without_an_order_id_fall_back_to_their_day(engine):
    table = lines().set_column(1, "order_id", pa.array([None, None, *["x"] * 6]))
    _, found = customers(engine, table)
    assert row(found, "ann")["frequency"] == 2


def test_passed_columns_take_the_largest_value(engine):
    table = lines().append_column("age", pa.array([30.0, None, 31.0, 29.0, None, 50.0, 8.0, 9.0]))
    built, found = customers(engine, table, columns=("frequency", "age"))
    assert built.numeric == ("frequency", "age") and "recency_days" in built.shown
    ages = dict(zip(found["customer_id"].to_pylist(), found["age"].to_pylist(), strict=True))
    assert ages["ann"] == 31 and ages["cyd"] == 50 and math.isnan(ages["bob"])


def generated(rows=4000, seed=3):
    rng = np.random.default_rng(seed)
    when = rng.integers(us("2011-01-01"), us(END), rows)
    return pa.table(
        {
            "customer_id": rng.integers(0, 300, rows),
            "ts": pa.array(when).cast(pa.timestamp("us")),
            "order_id": pa.array([f"o{v}" for v in rng.integers(0, 2000, rows)]),
            "amount": np.round(rng.normal(20, 30, rows), 2),
            "category": pa.array(rng.choice(list("abcdef"), rows)),
        }
    )


def test_no_partitioning_and_no_order_changes_a_bit(engine):
    table = generated()
    _, whole = customers(engine, table)
    shuffled = table.take(pa.array(np.random.default_rng(1).permutation(table.num_rows)))
    for parts in (4, 13):
        _, found = customers(engine, shuffled, parts)
        assert found.equals(whole)


def test_money_adds_up_to_the_cent(engine):
    table = generated()
    _, found = customers(engine, table)
    expected = np.rint(table["amount"].to_numpy() * 100).sum() / 100
    assert found["monetary_total"].to_numpy().sum() == pytest.approx(expected, abs=1e-6)


def test_neither_amount_nor_price_is_refused_with_a_hint():
    schema = pa.schema({"customer_id": pa.int64(), "ts": pa.timestamp("us"), "Total": pa.float64()})
    with pytest.raises(DataError, match="amount, or quantity and price") as caught:
        rfm.plan(schema, {}, Request(("customer_id",)), {})
    assert "source.columns" in caught.value.hint


def test_an_unknown_feature_is_refused():
    with pytest.raises(DataError, match="recency"):
        rfm.plan(
            pa.schema({"customer_id": pa.int64(), "ts": pa.int64(), "amount": pa.float64()}),
            {},
            Request(("customer_id",), ("recency",)),
            {},
        )


def test_an_amount_beyond_counting_is_refused(engine):
    table = lines().set_column(4, "price", pa.array([1e12] * 8))
    with pytest.raises(DataError, match="amount"):
        customers(engine, table)
