"""The contract: typed values by hand, one reason per bad row, nothing lost."""

from __future__ import annotations

import pickle
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import reduce
from typing import Any

import narwhals.stable.v2 as nw
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import ConfigError, DataError, InputMissing
from segpipe.lake import convert, duplicates
from segpipe.lake.audit import Audit, merge_audits
from segpipe.lake.binding import compile_contract
from segpipe.lake.contract import CARRIED, Contract
from segpipe.values import Column

N = None
DAY = 86_400_000_000
RFM = [
    Column("customer_id", "key", required=True, nulls="null_key"),
    Column("ts", "time", required=True, nulls="null_value"),
    Column("price", "money", required=True, nulls="null_value"),
    Column("discount", "number"),
]
MAPPING = {"customer_id": "Kunde", "price": "Preis"}
SOURCE = pa.schema(
    [
        ("Kunde", pa.float64()),
        ("ts", pa.timestamp("us")),
        ("Preis", pa.string()),
        ("land", pa.string()),
    ]
)


def us(*when: int) -> int:
    return (datetime(*when, tzinfo=UTC) - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(
        microseconds=1
    )


@pytest.mark.parametrize(
    ("values", "expected", "unfit"),
    [
        (["2010-12-01 08:26:00", "2010-12-01T08:26Z"], [us(2010, 12, 1, 8, 26)] * 2, []),
        (["2010-12-01T08:26:00.1234567+02:00"], [us(2010, 12, 1, 6, 26, 0, 123456)], []),
        (["2010-12-01", " 1969-12-31 "], [us(2010, 12, 1), -DAY], []),
        (["2010-02-30", "2010-02-28", "x", None, ""], [N, us(2010, 2, 28), N, N, N], [0, 2, 4]),
        (["1322611200", "1322611200.5", "1322611200123"],
         [1322611200_000000, 1322611200_500000, 1322611200_123000], []),
        ([1322611200, 1322611200_123, 1322611200_123456, 1322611200_123456_789, N],
         [1322611200_000000, 1322611200_123000, 1322611200_123456, 1322611200_123456, N], []),
        ([1258531221.486539, float("nan")], [1258531221_486539, N], []),
        ([date(1970, 1, 2), N], [DAY, N], []),
    ],
)  # fmt: skip
def test_times(values: list[Any], expected: list[int | None], unfit: list[int]) -> None:
    found = convert.to_time(pa.array(values))
    assert found.values.to_pylist() == expected
    assert found.unfit.nonzero()[0].tolist() == unfit


def test_stored_times_are_floored_and_zoned() -> None:
    early = pa.array([-1], pa.timestamp("ns"))
    assert convert.to_time(early).values.to_pylist() == [-1]
    zoned = pa.array([7], pa.timestamp("s", "Europe/Berlin"))
    assert convert.to_time(zoned).values.to_pylist() == [7_000_000]
    form = convert.to_time(pa.array(["12/1/2010 8:26", "13/1/2010 8:26"]), "%m/%d/%Y %H:%M")
    assert form.values.to_pylist() == [us(2010, 12, 1, 8, 26), N]
    assert convert.to_time(pa.array([19970101]), "%Y%m%d").values.to_pylist() == [us(1997, 1, 1)]


@pytest.mark.parametrize(
    ("values", "expected", "unfit"),
    [
        (pa.array([29.33, -0.5, float("nan"), float("inf"), 1e14]),
         [29_330_000, -500_000, N, N, N], [4]),
        (pa.array([3, -(10**14), None]), [3_000_000, N, N], [1]),
        (pa.array(["1.5", "z", "-0.0000015", "0.0000005", None]), [1_500_000, N, -2, 0, N], [1]),
        (pa.array([Decimal("1.00000050"), None, Decimal("-2.5"), Decimal("1.0000015")]),
         [1_000_000, N, -2_500_000, 1_000_002], []),
        (pa.array([Decimal("1e13"), Decimal("-7")]), [N, -7_000_000], [0]),
    ],
)  # fmt: skip
def test_money_rounds_half_to_even(values: pa.Array, expected: list[Any], unfit: list[int]) -> None:
    found = convert.to_money(values)
    assert found.values.to_pylist() == expected
    assert found.unfit.nonzero()[0].tolist() == unfit
    assert convert.to_money(values.slice(1)).values.to_pylist() == expected[1:]


def test_keys_keep_their_type_but_whole_floats() -> None:
    assert convert.to_key(pa.array([1.0, float("nan"), None]), "k").values == pa.array([1, N, N])
    assert convert.to_key(pa.array(["0001"]), "k").values.to_pylist() == ["0001"]
    with pytest.raises(DataError, match=r"'k' is double and holds 1\.5"):
        convert.to_key(pa.array([1.0, 1.5]), "k")


def contract(**options: Any) -> Contract:
    given = {
        "rules": [("positive", "price > 0", "reject"), ("known", "land != 'X'", "warn")],
        **options,
    }
    return compile_contract(SOURCE, RFM, MAPPING, ["customer_id"], **given)


T0 = datetime(2011, 1, 1)
BATCH = pa.RecordBatch.from_pylist(
    [
        {"Kunde": 1.0, "ts": T0, "Preis": "2.5", "land": "X"},
        {"Kunde": None, "ts": None, "Preis": "-1", "land": None},
        {"Kunde": 2.0, "ts": None, "Preis": "x", "land": None},
        {"Kunde": 2.0, "ts": T0, "Preis": "x", "land": None},
        {"Kunde": 3.0, "ts": T0, "Preis": "0", "land": "X"},
        {"Kunde": 4.0, "ts": T0 + timedelta(days=2), "Preis": "x", "land": "X"},
        {"Kunde": 1.0, "ts": T0 + timedelta(hours=1), "Preis": "7", "land": None},
    ],
    schema=SOURCE,
)
END = us(2011, 1, 2)


def test_every_row_has_one_reason_or_is_used() -> None:
    one = pickle.loads(pickle.dumps(contract(window=(None, END), carry="all")))
    good = one.accept(BATCH)
    assert good.schema == one.schema
    assert good.schema.names == ["customer_id", "ts", "price"] + [
        CARRIED + name for name in SOURCE.names
    ]
    assert good.slice(0, 1).to_pylist() == [
        {
            "customer_id": 1,
            "ts": us(2011, 1, 1),
            "price": 2_500_000,
            "source__Kunde": 1.0,
            "source__ts": T0,
            "source__Preis": "2.5",
            "source__land": "X",
        }
    ]
    bad = one.reject(BATCH)
    assert bad.column("reject_reason").to_pylist() == [
        "null_key", "null_value", "not_an_amount", "positive",
    ]  # fmt: skip
    assert bad.schema == one.reject_schema
    assert bad.column("Preis").to_pylist() == ["-1", "x", "x", "0"]
    audit = one.audit(iter([BATCH]))
    assert (audit.rows_in, audit.rows_used, audit.rows_rejected) == (6, 2, 4)
    # The warn rule counts used rows only; the row of a later day is in no count.
    assert audit.warned == {"known": 1}
    assert (audit.first_ts, audit.last_ts) == (us(2011, 1, 1), us(2011, 1, 1, 1))


def test_reads_and_needs() -> None:
    one = contract(carry=["land"])
    assert one.reads == ("Kunde", "ts", "Preis", "land")
    bare = contract(rules=[], carry="all")
    assert bare.reads == ("Kunde", "ts", "Preis") and bare.needs == (*bare.reads, "land")


row = st.fixed_dictionaries(
    {
        "Kunde": st.one_of(st.none(), st.integers(0, 3).map(float)),
        "ts": st.one_of(st.none(), st.datetimes(datetime(2010, 12, 30), datetime(2011, 1, 4))),
        "Preis": st.sampled_from(["1", "0", "-2", "x", None, "1e3"]),
        "land": st.sampled_from(["X", "Y", None]),
    }
)


@given(st.lists(row, max_size=40), st.integers(1, 9), st.booleans())
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_and_batches_do_not_matter(
    data: list[dict[str, Any]], size: int, windowed: bool
) -> None:
    one = contract(window=(us(2010, 12, 31), END) if windowed else None)
    whole = pa.RecordBatch.from_pylist(data, schema=SOURCE)
    audit = one.audit(iter([whole]))
    used, rejected = one.accept(whole), one.reject(whole)
    assert audit.rows_used == used.num_rows and audit.rows_rejected == rejected.num_rows
    assert audit.rows_used + audit.rows_rejected == audit.rows_in
    if not windowed:
        assert audit.rows_in == len(data)
    reasons = rejected.column("reject_reason").to_pylist()
    assert {k: n for k, n in audit.rejected.items() if n} == {
        r: reasons.count(r) for r in set(reasons)
    }
    parts = [whole.slice(i, size) for i in range(0, len(data), size)]
    merged = reduce(merge_audits, (one.audit(iter([p])) for p in parts), one.audit(iter([])))
    names = set(audit.rejected)
    assert {n: merged.rejected.get(n, 0) for n in names} == dict(audit.rejected)
    assert (merged.rows_in, merged.rows_used, merged.columns) == (
        audit.rows_in, audit.rows_used, audit.columns,
    )  # fmt: skip
    assert [r for p in parts for r in one.accept(p).to_pylist()] == used.to_pylist()


def audited(prices: list[str | None], **options: Any) -> Audit:
    data = [
        {"Kunde": float(i), "ts": T0 + timedelta(hours=i), "Preis": p, "land": None}
        for i, p in enumerate(prices)
    ]
    return contract(**options).audit(iter([pa.RecordBatch.from_pylist(data, schema=SOURCE)]))


@pytest.mark.parametrize(
    ("prices", "says"),
    [
        ([None, None], r"\['price'\] have no usable value"),
        (["x", "y"], r"\['price'\] have no usable value"),
        (["0", "-1"], r"all 2 rows are rejected: positive 2"),
        (["1", "2", "0"], r"1 of 3 rows \(33.3%\) are rejected, allowed are 30.0%: positive 1"),
        (["5", "5"], r"\['price'\] hold one single value"),
    ],
)
def test_gates(prices: list[str | None], says: str) -> None:
    with pytest.raises(DataError, match=says):
        audited(prices).check(0.3)


def test_gates_that_pass_and_empty_windows() -> None:
    audited(["1", "2", "3", "0"]).check(0.3)
    with pytest.raises(InputMissing):
        audited(["1", "2"], window=(None, 0)).check(0.3)
    with pytest.raises(DataError, match=r"action is fail: \{'cheap': 2\}"):
        audited(["1", "9", "8"], rules=[("cheap", "price < 5", "fail")]).check(0.3)


def test_rules_speak_of_source_units_and_times() -> None:
    rules = [("a", "price < 2.5", "reject"), ("b", "ts < '2011-01-01 01:30:00'", "reject")]
    assert audited(["2.4", "2.6", "1"], rules=rules).rejected == {
        "null_key": 0, "null_value": 0, "not_a_time": 0, "not_an_amount": 0, "a": 1, "b": 1,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"mapping": {}}, DataError, r"\['customer_id', 'price'\]; it has"),
        ({"mapping": {**MAPPING, "discount": "rabatt"}}, DataError, r"discount \(rabatt\)"),
        (
            {"mapping": {**MAPPING, "price": "ts"}},
            DataError,
            r"'ts' is timestamp\[us\], asked is money",
        ),
        ({"rules": [("r", "prize > 0", "warn")]}, ConfigError, "did you mean 'price'"),
        ({"rules": [("r", "land > 0", "warn")]}, ConfigError, "compares"),
        ({"keys": ["ts"]}, ConfigError, "contract.keys"),
        (
            {"schema": SOURCE.append(pa.field("segment", pa.string()))},
            ConfigError,
            r"\['segment'\]",
        ),
    ],
)
def test_contracts_that_cannot_be(options: dict[str, Any], error: type, says: str) -> None:
    given = {
        "schema": SOURCE,
        "columns": RFM,
        "mapping": MAPPING,
        "keys": ["customer_id"],
        **options,
    }
    with pytest.raises(error, match=says):
        compile_contract(**given)


def test_our_names_may_come_in_when_mapped_away() -> None:
    schema = SOURCE.append(pa.field("segment", pa.string()))
    mapping = {**MAPPING, "old_segment": "segment"}
    one = compile_contract(schema, RFM, mapping, ["customer_id"], carry="all")
    assert "source__segment" not in one.schema.names


def test_duplicate_keys_are_found_refused_or_rejected_without_order() -> None:
    schema = pa.schema([("a", pa.int64()), ("b", pa.string()), ("v", pa.float64())])
    one = compile_contract(schema, [Column("v", "number", nulls="null_value")], {}, ["a", "b"])
    data = [
        (1, "x", 1.0),
        (1, "y", 2.0),
        (1, "x", 3.0),
        (2, "y", None),
        (2, "y", 5.0),
        (2, "x", 6.0),
    ]
    batch = pa.RecordBatch.from_pylist(
        [dict(zip("abv", r, strict=True)) for r in data], schema=schema
    )
    plan = duplicates.DuplicatePlan(one.keys)
    frame = nw.from_native(pl.from_arrow(pa.Table.from_batches([one.accept(batch)])).lazy())
    counted = plan(frame).collect("polars").to_native().to_arrow().cast(plan.schema(one.schema))
    step = duplicates.CollectKeys(plan.schema(one.schema))
    found = step.merge(step(iter(counted.to_batches())), step(iter([])))
    # (2, y) stands on one good row only: its other row has no value.
    assert found.to_pylist() == [{"a": 1, "b": "x", "rows_with_key": 2}]
    with pytest.raises(DataError, match=r"1 keys \['a', 'b'\] .* 1 / x \(2 rows\)"):
        duplicates.refuse(found)
    strict = pickle.loads(pickle.dumps(one.rejecting(found)))
    assert strict.accept(batch).column("v").to_pylist() == [2.0, 5.0, 6.0]
    assert strict.reject(batch).column("reject_reason").to_pylist() == [
        "duplicate_key", "duplicate_key", "null_value",
    ]  # fmt: skip
    before, after = one.audit(iter([batch])), strict.audit(iter([batch]))
    less = before.less_duplicates(duplicates.duplicated_rows(found))
    assert (less.rows_used, less.rejected) == (after.rows_used, after.rejected)
    duplicates.refuse(found.slice(0, 0))


@pytest.mark.parametrize("role", ["key", "carried"])
def test_an_unsigned_number_that_no_table_can_keep_is_refused_when_rows_are_judged(role):
    values = {"u": [2**63 - 1, 2**63], "v": [1.0, 2.0]}
    schema = pa.schema([("u", pa.uint64()), ("v", pa.float64())])
    keys, carry = (["u"], ()) if role == "key" else ((), "all")
    one = compile_contract(schema, [Column("v", "number")], {}, keys, carry=carry)
    batch = pa.RecordBatch.from_pydict(values, schema)
    with pytest.raises(DataError, match=f"'u' is uint64 and holds {2**63}") as caught:
        one.take(batch)
    assert caught.value.code == 65
    assert one.take(batch.slice(0, 1))[1].column(0)[0].as_py() in (2**63 - 1, 1.0)


def test_times_beyond_the_years_that_python_knows_have_a_range():
    schema = pa.schema([("t", pa.timestamp("us"))])
    far = pa.array([0, 10**18], pa.int64()).cast(pa.timestamp("us"))
    one = compile_contract(schema, [Column("t", "any")], {})
    (facts,) = one.audit(iter([pa.RecordBatch.from_arrays([far], schema=schema)])).columns
    assert (facts.low, facts.high) == (0, 10**18)
