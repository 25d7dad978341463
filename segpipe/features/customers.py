"""The features of a customer, from the orders and categories that ``features.rfm`` summed.

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
* trend_90d: (a - b) / (a + b) of the money spent in the last 90 days (a) and the 90 before (b).
* distinct_categories, category_entropy (nats), top_category_share: of purchase lines.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.kernels.cells import group_codes, numbers
from segpipe.values import Floats

ORDER, CATEGORY = 0, 1
"""Values of ``_part``."""
NEVER = 2**62
"""``_bought`` of an order without a purchase: sorts last."""
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
    "trend_90d",
    "single_purchase",
)
CATEGORIES = ("distinct_categories", "category_entropy", "top_category_share")
DISCOUNT = ("discount_share",)

TIMES = ("_bought", "_latest", "_first", "_last")
"""First and last purchase line of an order, first and last line of any kind."""
SUMS = ("_gross", "_back", "_lines", "_returned", "_items", "_discounted")
"""Integer sums per order; underscores: passed columns keep their own names beside these."""

Index = npt.NDArray[np.int64]


def names(categories: bool, discount: bool) -> tuple[str, ...]:
    """Features of a source with or without these columns, in order."""
    return BASE + (CATEGORIES if categories else ()) + (DISCOUNT if discount else ())


@dataclass(frozen=True, slots=True)
class Customers:
    """Whole customers, sorted by (keys, _part, _bought, _unit), to one row each."""

    schema: pa.Schema
    keys: tuple[str, ...]
    passed: tuple[str, ...]
    end_us: int

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class; sums run over a customer's rows in order, whatever the batch."""
        if not batch.num_rows:
            return pa.RecordBatch.from_arrays(
                [pa.array([], field.type) for field in self.schema], schema=self.schema
            )
        code = _codes(batch, self.keys)
        starts = np.flatnonzero(np.diff(code, prepend=-1))
        count = len(starts)
        cells = {
            name: batch.column(name).to_numpy(zero_copy_only=False)
            for name in ("_part", *TIMES, *SUMS)
        }
        is_order = cells["_part"] == ORDER
        found = _orders(code, is_order, cells, count, self.end_us)
        found |= _categories(code, ~is_order, cells["_lines"], count)
        for name in self.passed:
            found[name] = _largest(code, numbers(batch.column(name)), count)
        first = pa.array(starts)
        arrays = [
            batch.column(field.name).take(first)
            if field.name in self.keys
            else pa.array(found[field.name])
            for field in self.schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _orders(
    code: Index, is_order: npt.NDArray[np.bool_], cells: dict[str, Index], count: int, end: int
) -> dict[str, Floats]:
    def total(values: npt.NDArray[np.generic], rows: npt.NDArray[np.bool_]) -> Floats:
        return _sum(code[rows], values[rows], count)

    buys = is_order & (cells["_lines"] > 0)
    frequency = np.bincount(code[buys], minlength=count).astype(np.float64)
    some = np.maximum(frequency, 1.0)
    spent = cells["_gross"] / _MICRO
    gross, lines = total(spent, buys), total(cells["_lines"], buys)
    returned = total(cells["_returned"], is_order)
    first, last = _span(code, is_order, buys, cells, count)
    recency, tenure = (end - last) / DAY_US, (end - first) / DAY_US
    mean = gross / some
    variance = total((spent - mean[code]) ** 2, buys) / some
    gap_mean, gap_cv = _gaps(code[buys], cells["_bought"][buys], frequency, tenure)
    when = cells["_bought"][buys]
    day = when // DAY_US
    weekday = (day + 4) % 7  # 0 = Sunday: 1970-01-01 was a Thursday
    ordered = code[buys]
    recent = _share_sum(ordered, spent[buys], end - when <= 90 * DAY_US, count)
    before = _share_sum(
        ordered, spent[buys], (end - when > 90 * DAY_US) & (end - when <= 180 * DAY_US), count
    )
    return {
        "recency_days": recency,
        "frequency": frequency,
        "orders_per_month": frequency * _MONTH_DAYS / np.maximum(tenure, _MONTH_DAYS),
        "monetary_total": gross - total(cells["_back"] / _MICRO, is_order),
        "monetary_mean": mean,
        "monetary_std": np.sqrt(variance),
        "tenure_days": tenure,
        "active_months_share": _active_months(ordered, when, first, end, count),
        "interpurchase_mean_days": gap_mean,
        "interpurchase_cv": gap_cv,
        "lateness": recency / np.maximum(gap_mean, 1.0),
        "basket_items": total(cells["_items"], buys) / 1000.0 / some,
        "basket_median": _median(ordered, spent[buys], count),
        "return_rate": returned / np.maximum(lines + returned, 1.0),
        "weekend_share": np.bincount(ordered[(weekday == 0) | (weekday == 6)], minlength=count)
        / some,
        "night_share": np.bincount(ordered[when % DAY_US < DAY_US // 4], minlength=count) / some,
        "trend_90d": (recent - before) / np.where(recent + before > 0, recent + before, 1.0),
        "single_purchase": (frequency <= 1).astype(np.float64),
        "discount_share": total(cells["_discounted"], buys) / np.maximum(lines, 1.0),
    }


def _sum(code: Index, values: npt.NDArray[np.generic], count: int) -> Floats:
    """Sum per group, added in row order: the same bits in every batch."""
    sums = np.bincount(code, weights=values.astype(np.float64), minlength=count)
    return sums.astype(np.float64, copy=False)  # of no rows bincount makes integers


def _span(
    code: Index,
    is_order: npt.NDArray[np.bool_],
    buys: npt.NDArray[np.bool_],
    cells: dict[str, Index],
    count: int,
) -> tuple[Index, Index]:
    """First and last purchase of each customer; first and last line if there is no purchase."""
    first, last = np.full(count, NEVER), np.full(count, -NEVER)
    np.minimum.at(first, code[buys], cells["_bought"][buys])
    np.maximum.at(last, code[buys], cells["_latest"][buys])
    other_first, other_last = np.full(count, NEVER), np.full(count, -NEVER)
    np.minimum.at(other_first, code[is_order], cells["_first"][is_order])
    np.maximum.at(other_last, code[is_order], cells["_last"][is_order])
    none = first == NEVER
    return np.where(none, other_first, first), np.where(none, other_last, last)


def _gaps(code: Index, when: Index, frequency: Floats, tenure: Floats) -> tuple[Floats, Floats]:
    """Mean gap in days and its coefficient of variation, per customer."""
    count = len(frequency)
    same = code[1:] == code[:-1]
    owner, gap = code[1:][same], np.diff(when)[same] / DAY_US
    gaps = np.maximum(frequency - 1, 1.0)
    mean = np.bincount(owner, weights=gap, minlength=count) / gaps
    variance = np.bincount(owner, weights=(gap - mean[owner]) ** 2, minlength=count) / gaps
    cv = np.sqrt(variance) / np.where(mean > 0, mean, 1.0)
    return np.where(frequency > 1, mean, tenure), np.where(frequency > 1, cv, 0.0)


def _active_months(code: Index, when: Index, first: Index, end: int, count: int) -> Floats:
    month = _month(when)
    # Sorted by time within the customer: a new month is a change of month or of customer.
    new = np.ones(len(code), bool)
    new[1:] = (code[1:] != code[:-1]) | (month[1:] != month[:-1])
    elapsed = _month(np.array([end - 1]))[0] - _month(first) + 1
    share: Floats = np.bincount(code[new], minlength=count) / elapsed
    return share


def _month(us: Index) -> Index:
    months: Index = us.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64)
    return months


def _share_sum(code: Index, values: Floats, rows: npt.NDArray[np.bool_], count: int) -> Floats:
    return _sum(code[rows], values[rows], count)


def _median(code: Index, values: Floats, count: int) -> Floats:
    """Median per group, the mean of the middle two for even sizes; 0 for empty groups."""
    ordered = values[np.lexsort((values, code))]
    sizes = np.bincount(code, minlength=count)
    starts = np.cumsum(sizes) - sizes
    result = np.zeros(count)
    some = sizes > 0
    low = ordered[(starts + (sizes - 1) // 2)[some]]
    high = ordered[(starts + sizes // 2)[some]]
    result[some] = (low + high) / 2
    return result


def _categories(
    code: Index, rows: npt.NDArray[np.bool_], lines: Index, count: int
) -> dict[str, Floats]:
    owner, n = code[rows], lines[rows].astype(np.float64)
    total = np.bincount(owner, weights=n, minlength=count)
    share = n / total[owner]
    top = np.zeros(count)
    np.maximum.at(top, owner, share)
    # -0.0 for a single category would print as such.
    entropy = np.bincount(owner, weights=-share * np.log(share), minlength=count) + 0.0
    return {
        "distinct_categories": np.bincount(owner, minlength=count).astype(np.float64),
        "category_entropy": np.maximum(entropy, 0.0),
        "top_category_share": top,
    }


def _largest(code: Index, values: Floats, count: int) -> Floats:
    result = np.full(count, -np.inf)
    seen = np.isfinite(values)
    np.maximum.at(result, code[seen], values[seen])
    return np.where(np.isfinite(result), result, np.nan)


def _codes(batch: pa.RecordBatch, keys: tuple[str, ...]) -> Index:
    """Number of each row's customer, ascending, since the rows are sorted by key."""
    changed = np.zeros(batch.num_rows, bool)
    for key in keys:
        changed[1:] |= np.diff(group_codes(batch.column(key))) != 0
    return np.cumsum(changed)
