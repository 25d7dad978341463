"""Transactions to one row per customer.

A line is a purchase (amount >= 0) or a return. Lines with one order id (or, without order ids, of
one UTC day) form an order; an order counts if it holds a purchase. Money is int64 micro-units and
time int64 microseconds until the last step, so relational sums are exact in any order; everything
else is NumPy over whole customers (``features.customers``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.features import customers
from segpipe.features.customers import CATEGORY, DAY_US, NEVER, ORDER, SUMS, TIMES, Customers
from segpipe.features.plan import Built, Plan, Request, unmapped
from segpipe.features.typing import TextFacts
from segpipe.kernels.cells import numbers
from segpipe.kernels.hashing import hash_rows
from segpipe.values import Column

DISTANCE = ("recency_days", "frequency", "monetary_total")
"""Default features of the distance: the three that marketing reads segments by, and the set with
the clearest and most stable segments on two shops (DECISIONS.md). All others are profile columns of
the label table; features.columns chooses among all of them."""

_KEY, _VALUE = "null_key", "null_value"
_LIMIT = 1e18
"""Micro-units of one line: 1e12 of the currency; sums of a customer then fit int64."""


def unsure(schema: pa.Schema, mapping: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """None: every column has a known kind."""
    del schema, mapping, request
    return ()


def plan(
    schema: pa.Schema,
    mapping: Mapping[str, str],
    request: Request,
    facts: Mapping[str, TextFacts],
) -> Plan:
    """customer_id, ts, amount or (quantity, price); optional order_id, category, discount.

    Names in features.columns that are no feature of this set are numeric source columns, passed
    through as the customer's largest value.

    Raises
    ------
    DataError
        The source has neither amount nor quantity and price, or lacks a passed column.
    """
    del facts
    names = unmapped(schema, mapping)
    columns = [Column(key, "key", True, _KEY) for key in request.keys]
    columns.append(Column("ts", "time", True, _VALUE))
    if "amount" in names or "amount" in mapping:
        columns.append(Column("amount", "money", True, _VALUE))
        columns += [Column("quantity", "number")] if "quantity" in names else []
    elif "quantity" in names and "price" in names:
        columns.append(Column("quantity", "number", True, _VALUE))
        columns.append(Column("price", "money", True, _VALUE))
    else:
        raise DataError(
            f"rfm reads amount, or quantity and price; the source has {sorted(names)}.",
            hint="map them under source.columns, e.g. {amount: Total}",
        )
    columns += [Column(n, "any") for n in ("order_id", "category") if n in names]
    columns += [Column("discount", "number")] if "discount" in names else []
    known = customers.names("category" in names, "discount" in names)
    wanted = request.columns if request.columns is not None else DISTANCE
    passed = tuple(name for name in wanted if name not in known)
    used = {column.name for column in columns}
    absent = [name for name in passed if name not in names]
    if absent:
        raise DataError(
            f"features.columns names {absent}: neither features of rfm ({', '.join(known)}) nor "
            f"columns of the source ({sorted(names)}).",
            hint="correct the names; category and discount features need those columns mapped",
        )
    columns += [Column(name, "number", True) for name in passed if name not in used]
    return Plan(
        tuple(columns),
        dict(mapping),
        tuple(wanted),
        (),
        tuple(request.columns or ()),
        request,
    )


def build(engine: Engine, frame: Frame, schema: pa.Schema, plan: Plan) -> Built:
    """One row per customer, computed once: the keys, then float64 features in readable units."""
    end = plan.request.as_of_end_us
    if end is None:
        raise ValueError("rfm counts ages to as_of_end_us")
    keys = plan.request.keys
    has = set(schema.names)
    known = customers.names("category" in has, "discount" in has)
    passed = tuple(name for name in plan.numeric if name not in known)
    key_fields = [schema.field(key) for key in keys]
    lines = pa.schema(
        [
            *key_fields,
            *(pa.field(n, pa.int64()) for n in ("_part", "_unit", *TIMES, *SUMS)),
            *(pa.field(n, pa.float64()) for n in passed),
        ]
    )
    rows = engine.map_batches(frame, Lines(lines, keys, passed), lines)
    orders = engine.relate(rows, partial(_orders, keys=keys, passed=passed), lines)
    features = (*known, *passed)
    result = pa.schema([*key_fields, *(pa.field(n, pa.float64()) for n in features)])
    table = engine.group_map(
        orders, keys, ("_part", "_bought", "_unit"), Customers(result, keys, passed, end), result
    )
    return Built(engine.persist(table), result, keys, plan.numeric, (), features, as_rows=False)


@dataclass(frozen=True, slots=True)
class Lines:
    """Accepted rows to integer cells, ready to be summed per (customer, part, unit).

    A line counts in two parts: its order, and (purchases only) its category; one aggregate then
    serves both, with one shuffle and no join.
    """

    schema: pa.Schema
    keys: tuple[str, ...]
    passed: tuple[str, ...]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class."""
        ts = batch.column("ts").to_numpy(zero_copy_only=False).astype(np.int64)
        amount = _amount(batch)
        bought = amount >= 0
        cells: dict[str, Any] = {
            "_part": np.full(len(ts), ORDER, np.int64),
            "_unit": _order_unit(batch, ts),
            "_bought": np.where(bought, ts, NEVER),
            "_latest": np.where(bought, ts, -NEVER),
            "_first": ts,
            "_last": ts,
            "_gross": np.where(bought, amount, 0),
            "_back": np.where(bought, 0, -amount),
            "_lines": bought.astype(np.int64),
            "_returned": (~bought).astype(np.int64),
            "_items": np.where(bought, _items(batch, len(ts)), 0),
            "_discounted": (bought & _discounted(batch, len(ts))).astype(np.int64),
        }
        arrays = [batch.column(key) for key in self.keys]
        arrays += [pa.array(values) for values in cells.values()]
        # NaN would win or lose a maximum depending on the engine; null is left out by all.
        arrays += [_nullable(batch, name) for name in self.passed]
        orders = pa.RecordBatch.from_arrays(arrays, schema=self.schema)
        if "category" not in batch.schema.names:
            return orders
        has = batch.column("category").is_valid().to_numpy(zero_copy_only=False)
        rows = pa.array(np.flatnonzero(bought & has))
        unit = hash_rows(batch, ["category"], 0).view(np.int64)
        kinds = orders.set_column(len(self.keys), "_part", pa.array(np.full(len(ts), CATEGORY)))
        kinds = kinds.set_column(len(self.keys) + 1, "_unit", pa.array(unit)).take(rows)
        both = pa.Table.from_batches([orders, kinds.cast(self.schema)]).combine_chunks()
        return (both.to_batches() or [orders])[0]


def _orders(lines: nw.LazyFrame[Any], keys: tuple[str, ...], passed: tuple[str, ...]) -> Any:
    return lines.group_by(*keys, "_part", "_unit").agg(
        nw.col("_bought").min(),
        nw.col("_latest").max(),
        nw.col("_first").min(),
        nw.col("_last").max(),
        *(nw.col(name).sum() for name in SUMS),
        *(nw.col(name).max() for name in passed),
    )


def _amount(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    if "amount" in batch.schema.names:
        exact: npt.NDArray[np.int64] = batch.column("amount").to_numpy(zero_copy_only=False)
        size = float(np.abs(exact).max(initial=0))
    else:
        # quantity * price in float64: exact below 9e9 of the currency, one rounding beyond.
        price = batch.column("price").to_numpy(zero_copy_only=False)
        product = np.rint(numbers(batch.column("quantity")) * price)
        size = float(np.abs(product).max(initial=0.0))
        exact = np.clip(product, -_LIMIT, _LIMIT).astype(np.int64)
    if size > _LIMIT:
        raise DataError(
            f"a line has the amount {size / 1e6:.3g}; at most 1e12 can be added up.",
            hint="check the unit of amount, or reject such lines by a rule",
        )
    return exact


def _order_unit(batch: pa.RecordBatch, ts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The order within the customer: a hash of its id, or the day where there is none."""
    day = ts // DAY_US
    if "order_id" not in batch.schema.names:
        return day
    known = batch.column("order_id").is_valid().to_numpy(zero_copy_only=False)
    return np.where(known, hash_rows(batch, ["order_id"], 0).view(np.int64), day)


def _items(batch: pa.RecordBatch, rows: int) -> npt.NDArray[np.int64]:
    """Thousandths of an item per line; a line without quantity is one item."""
    if "quantity" not in batch.schema.names:
        return np.full(rows, 1000, np.int64)
    quantity = np.nan_to_num(numbers(batch.column("quantity")), nan=1.0)
    items: npt.NDArray[np.int64] = np.rint(np.clip(np.abs(quantity), 0, 1e12) * 1000).astype(
        np.int64
    )
    return items


def _discounted(batch: pa.RecordBatch, rows: int) -> npt.NDArray[np.bool_]:
    if "discount" not in batch.schema.names:
        return np.zeros(rows, np.bool_)
    discount = numbers(batch.column("discount"))
    given: npt.NDArray[np.bool_] = np.isfinite(discount) & (discount != 0)
    return given


def _nullable(batch: pa.RecordBatch, name: str) -> Any:
    values = numbers(batch.column(name))
    if name in ("amount", "price"):
        values = values / 1e6
    return pc.if_else(
        pa.array(np.isfinite(values)), pa.array(values), pa.scalar(None, pa.float64())
    )
