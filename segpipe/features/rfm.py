"""Transactions to one row per customer.

A line is a purchase (amount >= 0) or a return. Lines with one order id (or, without order ids, of
one UTC day) form an order; an order counts if it holds a purchase. A line becomes a few integers:
money in micro-units, time in microseconds, order and category as hashes. They are sorted by
customer, the only shuffle; all else is NumPy over whole customers (``features.customers``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.features import customers
from segpipe.features.customers import DAY_US, Customers
from segpipe.features.plan import Built, Plan, Request, unmapped
from segpipe.features.typing import TextFacts
from segpipe.kernels.cells import numbers
from segpipe.kernels.hashing import hash_rows
from segpipe.values import Column

DISTANCE = ("recency_days", "frequency", "monetary_total")
"""Default features of the distance: the three that marketing reads segments by, and the set with
the clearest and most stable segments on two shops (DECISIONS.md). All others are profile columns of
the label table; features.columns chooses among all of them."""

OPTIONAL = (("quantity", "_items"), ("category", "_kind"), ("discount", "_discounted"))
"""Columns of the source that may be absent, and the cells made of them."""

_KEY, _VALUE = "null_key", "null_value"
_LIMIT = 1e18
"""Micro-units of one line: 1e12 of the currency, so that an order of nine such lines fits int64."""


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
    cells = ["_unit", "_ts", "_amount"]
    cells += [cell for name, cell in OPTIONAL if name in has]
    lines = pa.schema(
        [
            *key_fields,
            *(pa.field(name, pa.int64()) for name in cells),
            *(pa.field(name, pa.float64()) for name in passed),
        ]
    )
    rows = engine.map_batches(frame, Lines(lines, keys, passed), lines)
    features = (*known, *passed)
    result = pa.schema([*key_fields, *(pa.field(n, pa.float64()) for n in features)])
    table = engine.group_map(rows, keys, (), Customers(result, keys, passed, end), result)
    # Without a choice of the user the segments are read by three features, the scores by all.
    unusual = known if plan.request.columns is None else ()
    return Built(engine.persist(table), result, keys, plan.numeric, (), features, False, unusual)


@dataclass(frozen=True, slots=True)
class Lines:
    """Accepted rows to the integers that ``Customers`` reads; see there for the columns.

    Summing lines up to orders before the shuffle was four times slower: it moves ten columns of an
    order instead of four of a line, twice, and categories separately.
    """

    schema: pa.Schema
    keys: tuple[str, ...]
    passed: tuple[str, ...]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class."""
        ts = batch.column("ts").to_numpy(zero_copy_only=False).astype(np.int64, copy=False)
        make: dict[str, Callable[[], Any]] = {
            "_unit": lambda: _order_unit(batch, ts),
            "_ts": lambda: ts,
            "_amount": lambda: _amount(batch),
            "_items": lambda: _items(batch),
            "_discounted": lambda: _discounted(batch),
        }
        arrays = []
        for name in self.schema.names:
            if name in self.keys:
                arrays.append(batch.column(name))
            elif name == "_kind":
                arrays.append(_kind(batch))
            elif name in make:
                arrays.append(pa.array(make[name]()))
            else:
                arrays.append(_nullable(batch, name))
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


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


def _items(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Thousandths of an item per line; a line without quantity is one item."""
    quantity = np.nan_to_num(numbers(batch.column("quantity")), nan=1.0)
    items: npt.NDArray[np.int64] = np.rint(np.clip(np.abs(quantity), 0, 1e12) * 1000).astype(
        np.int64
    )
    return items


def _discounted(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    discount = numbers(batch.column("discount"))
    given: npt.NDArray[np.int64] = (np.isfinite(discount) & (discount != 0)).astype(np.int64)
    return given


def _kind(batch: pa.RecordBatch) -> pa.Array:
    """A hash of the category; null where there is none."""
    unit = pa.array(hash_rows(batch, ["category"], 0).view(np.int64))
    has = batch.column("category").is_valid()
    return pc.if_else(has, unit, pa.scalar(None, pa.int64()))


def _nullable(batch: pa.RecordBatch, name: str) -> Any:
    values = numbers(batch.column(name))
    if name in ("amount", "price"):
        values = values / 1e6
    return pc.if_else(
        pa.array(np.isfinite(values)), pa.array(values), pa.scalar(None, pa.float64())
    )
