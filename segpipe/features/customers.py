"""The features of a customer, from the lines that ``features.rfm`` prepared.

Units: money in the source's currency, times in days, shares in 0..1. Ages count to the end of the
as_of day. Conventions, the same on every engine:

* recency_days, tenure_days: since the last and the first purchase (line, for a customer with
  returns only).
* The time of an order is that of its first purchase line.
* frequency: orders with a purchase. orders_per_month: per 30.44 days of tenure, at least one month
  (a customer of yesterday has no monthly rate yet).
* monetary_total: purchases minus returns. monetary_mean, monetary_std, basket_median: of the
  orders' purchases; std with divisor n, 0 for one order.
* active_months_share: calendar months with a purchase / calendar months since the first.
* interpurchase_mean_days, interpurchase_cv: gaps between successive orders. With one order there
  is no gap: the mean is the tenure (no return visit in all that time) and the cv 0.
* lateness: recency / mean gap (at least a day): 2 = twice as long away as usual.
* basket_items: items per order (lines where there is no quantity).
* return_rate: returned lines / all lines. discount_share: purchase lines with a discount.
* weekend_share, night_share: orders on Saturday or Sunday, and from 0 to 6 o'clock, UTC.
* hour_entropy: of the orders' UTC hours, nats: 0 = always at one hour.
* trend_90d: (a - b) / (a + b) of the money spent in the last 90 days (a) and the 90 before (b).
* distinct_categories, category_entropy (nats), top_category_share: of purchase lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.features import grouped
from segpipe.features.grouped import Index, Mask, count_of, exact_sum, heads, sum_in_order
from segpipe.kernels.cells import numbers
from segpipe.values import Floats

NEVER = 2**62
"""A time beyond all, for a minimum over no line; negated for a maximum."""
DAY_US = 86_400_000_000
_MONTH_DAYS = 365.25 / 12
_MICRO = 1e6

BASE = (
    "recency_days",
    "frequency",
    "orders_per_month",
    "monetary_total",
    "monetary_mean",
    "monetary_std",
    "tenure_days",
    "active_months_share",
    "interpurchase_mean_days",
    "interpurchase_cv",
    "lateness",
    "basket_items",
    "basket_median",
    "return_rate",
    "weekend_share",
    "night_share",
    "hour_entropy",
    "trend_90d",
    "single_purchase",
)
CATEGORIES = ("distinct_categories", "category_entropy", "top_category_share")
DISCOUNT = ("discount_share",)


def names(categories: bool, discount: bool) -> tuple[str, ...]:
    """Features of a source with or without these columns, in order."""
    return BASE + (CATEGORIES if categories else ()) + (DISCOUNT if discount else ())


@dataclass(frozen=True, slots=True)
class Customers:
    """Whole customers, sorted by ``keys``, to one row each.

    Columns beside the keys: ``_unit`` (the order within the customer), ``_ts`` (microseconds),
    ``_amount`` (micro-units; negative for a return) and, where the source has them, ``_items``
    (thousandths), ``_kind`` (category, null = none), ``_discounted`` (0 or 1) and ``passed``.
    """

    schema: pa.Schema
    keys: tuple[str, ...]
    passed: tuple[str, ...]
    end_us: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class; a customer's row is the same in every batch and order of lines."""
        if not batch.num_rows:
            return pa.RecordBatch.from_arrays(
                [pa.array([], field.type) for field in self.schema], schema=self.schema
            )
        code = grouped.numbered([batch.column(key) for key in self.keys])
        starts = heads(code)
        cells = {
            name: batch.column(name).to_numpy(zero_copy_only=False)
            for name in ("_unit", "_ts", "_amount", "_items", "_discounted")
            if name in batch.schema.names
        }
        found = _lines(code, starts, cells, self.end_us)
        found |= _orders(code, cells, found, self.end_us)
        if "_kind" in batch.schema.names:
            found |= _categories(code, batch.column("_kind"), cells["_amount"] >= 0, len(starts))
        for name in self.passed:
            found[name] = _largest(numbers(batch.column(name)), starts)
        first = pa.array(starts)
        arrays = [
            batch.column(field.name).take(first)
            if field.name in self.keys
            else pa.array(found[field.name])
            for field in self.schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _lines(code: Index, starts: Index, cells: dict[str, Index], end: int) -> dict[str, Floats]:
    """What needs no orders; with an underscore, what ``_orders`` divides by their number."""
    count = len(starts)
    ts, amount = cells["_ts"], cells["_amount"]
    bought = amount >= 0
    sold = count_of(code, count, bought)
    every = count_of(code, count)
    first = np.minimum.reduceat(np.where(bought, ts, NEVER), starts)
    last = np.maximum.reduceat(np.where(bought, ts, -NEVER), starts)
    none = sold == 0
    first = np.where(none, np.minimum.reduceat(ts, starts), first)
    last = np.where(none, np.maximum.reduceat(ts, starts), last)
    items = sold
    if "_items" in cells:
        items = exact_sum(np.where(bought, cells["_items"], 0), starts) / 1000.0
    discounted = np.zeros(count)
    if "_discounted" in cells:
        discounted = count_of(code, count, bought & (cells["_discounted"] > 0))
    return {
        "recency_days": (end - last) / DAY_US,
        "tenure_days": (end - first) / DAY_US,
        "monetary_total": exact_sum(amount, starts) / _MICRO,
        "_gross": exact_sum(np.where(bought, amount, 0), starts) / _MICRO,
        "_items": items,
        "return_rate": (every - sold) / every,
        "discount_share": discounted / np.maximum(sold, 1.0),
    }


def _orders(
    code: Index, cells: dict[str, Index], lines: dict[str, Floats], end: int
) -> dict[str, Floats]:
    """What is said of orders with a purchase; no feature depends on the order of equal ones."""
    owner, when, gross = _summed(code, cells)
    tenure, recency = lines["tenure_days"], lines["recency_days"]
    count = len(tenure)
    sizes = np.bincount(owner, minlength=count)
    frequency = sizes.astype(np.float64)
    some = np.maximum(frequency, 1.0)
    mean = lines["_gross"] / some
    spent = grouped.sorted_within(owner, gross) / _MICRO
    variance = sum_in_order(owner, (spent - mean[owner]) ** 2, count) / some
    when_sorted = grouped.sorted_within(owner, when)
    gap_mean, gap_cv = _gaps(owner, when_sorted, frequency, tenure)
    hours = grouped.runs(owner, grouped.sorted_within(owner, when % DAY_US // (DAY_US // 24)))
    weekday = (when // DAY_US + 4) % 7  # 0 = Sunday: 1970-01-01 was a Thursday
    return {
        "frequency": frequency,
        "orders_per_month": frequency * _MONTH_DAYS / np.maximum(tenure, _MONTH_DAYS),
        "monetary_mean": mean,
        "monetary_std": np.sqrt(variance),
        "active_months_share": _active_months(owner, when_sorted, tenure, end),
        "interpurchase_mean_days": gap_mean,
        "interpurchase_cv": gap_cv,
        "lateness": recency / np.maximum(gap_mean, 1.0),
        "basket_items": lines["_items"] / some,
        "basket_median": grouped.middle(spent, sizes),
        "weekend_share": count_of(owner, count, (weekday == 0) | (weekday == 6)) / some,
        "night_share": count_of(owner, count, when % DAY_US < DAY_US // 4) / some,
        "hour_entropy": grouped.entropy(*hours, count),
        "trend_90d": _trend(owner, gross, end - when, count),
        "single_purchase": (frequency <= 1).astype(np.float64),
    }


def _summed(code: Index, cells: dict[str, Index]) -> tuple[Index, Index, Index]:
    """Owner, first purchase and money spent of each order with a purchase, by owner."""
    bought = cells["_amount"] >= 0
    code, unit = code[bought], cells["_unit"][bought]
    ts, amount = cells["_ts"][bought], cells["_amount"][bought]
    if not len(code):
        return code, ts, amount
    by = grouped.together(code, unit)
    code, unit = code[by], unit[by]
    new = np.ones(len(code), bool)
    new[1:] = (code[1:] != code[:-1]) | (unit[1:] != unit[:-1])
    starts = np.flatnonzero(new)
    return (
        code[starts],
        np.minimum.reduceat(ts[by], starts),
        np.add.reduceat(amount[by], starts),
    )


def _gaps(owner: Index, when: Index, frequency: Floats, tenure: Floats) -> tuple[Floats, Floats]:
    """Mean gap in days and its coefficient of variation, per customer; ``when`` is sorted."""
    count = len(frequency)
    same = owner[1:] == owner[:-1]
    between, gap = owner[1:][same], np.diff(when)[same] / DAY_US
    gaps = np.maximum(frequency - 1, 1.0)
    mean = sum_in_order(between, gap, count) / gaps
    variance = sum_in_order(between, (gap - mean[between]) ** 2, count) / gaps
    cv = np.sqrt(variance) / np.where(mean > 0, mean, 1.0)
    return np.where(frequency > 1, mean, tenure), np.where(frequency > 1, cv, 0.0)


def _active_months(owner: Index, when: Index, tenure: Floats, end: int) -> Floats:
    """Months with a purchase among those since the first; ``when`` is sorted."""
    month = _month(when)
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (month[1:] != month[:-1])
    active = count_of(owner, len(tenure), new)
    starts = heads(owner)
    first = np.zeros(len(tenure), np.int64)
    first[owner[starts]] = month[starts]
    share: Floats = active / np.where(active > 0, _month(np.array([end - 1]))[0] - first + 1, 1)
    return share


def _month(us: Index) -> Index:
    months: Index = us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return months


def _trend(owner: Index, gross: Index, age: Index, count: int) -> Floats:
    """(a - b) / (a + b) of the money of the last 90 days and the 90 before; 0 without both."""
    starts = heads(owner)

    def spent(rows: Mask) -> Floats:
        total = np.zeros(count)
        if len(starts):
            total[owner[starts]] = exact_sum(np.where(rows, gross, 0), starts) / _MICRO
        return total

    recent = spent(age <= 90 * DAY_US)
    before = spent((age > 90 * DAY_US) & (age <= 180 * DAY_US))
    return (recent - before) / np.where(recent + before > 0, recent + before, 1.0)


def _categories(code: Index, kind: pa.Array, bought: Mask, count: int) -> dict[str, Floats]:
    rows = bought & kind.is_valid().to_numpy(zero_copy_only=False)
    owner = code[rows]
    which = grouped.dense(kind.fill_null(0).to_numpy(zero_copy_only=False)[rows])
    owner, sizes = grouped.runs(owner, grouped.sorted_within(owner, which))
    distinct = np.bincount(owner, minlength=count)
    total = np.bincount(owner, weights=sizes, minlength=count)
    top = np.zeros(count)
    np.maximum.at(top, owner, sizes / total[owner])
    return {
        "distinct_categories": distinct.astype(np.float64),
        "category_entropy": grouped.entropy(owner, sizes, count),
        "top_category_share": top,
    }


def _largest(values: Floats, starts: Index) -> Floats:
    result = np.maximum.reduceat(np.where(np.isfinite(values), values, -np.inf), starts)
    return np.where(np.isfinite(result), result, np.nan)
