"""Transactions of customers of six known archetypes over the two years 2024 and 2025."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.datasets.chunk import (
    CHUNK_ROWS,
    DAY_US,
    TIME,
    Chunk,
    chosen,
    draws,
    lognormal,
    numbered,
)
from segpipe.values import Floats

START = np.datetime64("2024-01-01", "us")
DAYS = 731
MONTHS = [str(np.datetime64("2024-01", "M") + i) for i in range(24)]
CATEGORIES = ["grocery", "household", "clothing", "electronics", "toys", "garden"]
PRICES = np.array([4.0, 9.0, 28.0, 140.0, 16.0, 22.0])
"""Median unit price per category."""
COUNTRIES = ["GB", "DE", "FR", "NL", "ES", "US"]
COUNTRY_SHARES = [0.55, 0.15, 0.11, 0.08, 0.06, 0.05]
RETURNS = 0.015
"""Share of lines that are returns: negative quantity, some days after the purchase."""


@dataclass(frozen=True, slots=True)
class Archetype:
    """How customers of one kind buy."""

    name: str
    share: float
    begin: tuple[float, float]
    """First order: uniform over these days."""
    end: tuple[float, float]
    """Last day of activity, likewise."""
    gap: float
    """Days between orders; 0 = one order in all."""
    lines: float
    """Lines per order beyond the first (Poisson mean)."""
    items: float
    """Items per line beyond the first (Poisson mean)."""
    factor: float
    """On the price of every category."""
    taste: tuple[float, ...]
    """Shares of the categories."""


# A year has a heavy core, a thin tail of big tickets and many who came once: the shape of a shop.
ARCHETYPES = (
    Archetype("loyal", 0.12, (0, 120), (715, 731), 22, 2.2, 1.2, 1.1, (30, 22, 20, 4, 12, 12)),
    Archetype("regular", 0.22, (0, 300), (660, 731), 60, 1.5, 0.8, 1.0, (30, 25, 20, 5, 10, 10)),
    Archetype("big_ticket", 0.06, (0, 400), (600, 731), 120, 0.6, 0.2, 2.6, (1, 4, 15, 70, 3, 7)),
    Archetype("bargain", 0.18, (100, 500), (690, 731), 40, 1.0, 2.5, 0.5, (50, 30, 8, 1, 8, 3)),
    Archetype("lapsed", 0.20, (0, 120), (250, 420), 50, 1.4, 0.8, 1.0, (25, 25, 25, 5, 10, 10)),
    Archetype("one_time", 0.22, (0, 731), (0, 731), 0, 0.8, 0.3, 1.0, (10, 15, 30, 15, 20, 10)),
)
NAMES = [a.name for a in ARCHETYPES]


def chunks(rows: int, seed: int) -> Iterator[Chunk]:
    """All lines of a customer lie in one draw; above one chunk they are dealt to files by month."""
    for number, n, rng in draws(rows, seed):
        table, month, truth = _draw(number, n, rng)
        if rows <= CHUNK_ROWS:
            yield Chunk("00000", table, truth, ("order_id", "ts", "price"))
            continue
        bounds = np.searchsorted(month, np.arange(len(MONTHS) + 1))
        for m, (lo, hi) in enumerate(pairwise(bounds.tolist())):
            if hi > lo:
                part = table.slice(lo, hi - lo)
                yield Chunk(MONTHS[m], part, truth, ("order_id", "ts", "price"))
                truth = truth.slice(0, 0)  # told once per draw


def _draw(
    number: int, n: int, rng: np.random.Generator
) -> tuple[pa.Table, npt.NDArray[np.int64], pa.Table]:
    """``n`` lines by time, the month of each, and the archetype of every customer among them."""
    per_customer = sum(a.share * _expected_lines(a) for a in ARCHETYPES)
    many = int(n / per_customer * 1.1) + 50  # with room: what is too much is cut below
    kind = rng.choice(len(ARCHETYPES), many, p=[a.share for a in ARCHETYPES])
    customer, when = _orders(kind, rng)
    lines = 1 + rng.poisson(_of("lines")[kind[customer]])
    while lines.sum() < n:  # tiny tables: one unlucky draw may fall short
        lines += 1
    order = np.repeat(np.arange(len(customer)), lines)[:n]
    # Each draw owns a range of ids: at most one customer per line, so ranges never meet.
    ids = number * CHUNK_ROWS + 1 + customer[order]
    kinds = kind[customer[order]]
    category = _category(kinds, rng)
    price = lognormal(rng, PRICES[category] * _of("factor")[kinds], 0.45, n)
    price = np.maximum(np.round(price, 2), 0.05)
    quantity = 1 + rng.poisson(_of("items")[kinds])
    ts = when[order]
    back = rng.random(n) < RETURNS
    later = ts + (rng.exponential(7.0, n) * DAY_US).astype(np.int64)
    back &= later < DAYS * DAY_US
    ts = np.where(back, later, ts)
    quantity = np.where(back, -quantity, quantity)
    order_id = number * CHUNK_ROWS * 2 + order * 2 + back  # a return is a document of its own
    country = rng.choice(len(COUNTRIES), many, p=COUNTRY_SHARES)[customer[order]]
    by_time = np.lexsort((order_id, ts))
    stamp = START.astype(np.int64) + ts[by_time]
    table = pa.table(
        {
            "customer_id": ids[by_time],
            "order_id": numbered("", order_id[by_time], 10),
            "ts": pa.array(stamp).cast(TIME),
            "quantity": quantity[by_time].astype(np.int64),
            "price": price[by_time],
            "category": chosen(CATEGORIES, category[by_time]),
            "country": chosen(COUNTRIES, country[by_time]),
        }
    )
    first = stamp.astype("datetime64[us]").astype("datetime64[M]")
    month = (first - np.datetime64(MONTHS[0], "M")).astype(np.int64)
    seen, at = np.unique(ids, return_index=True)
    truth = pa.table({"customer_id": seen, "archetype": chosen(NAMES, kinds[at])})
    return table, month, truth


def _of(field: str) -> Floats:
    return np.array([getattr(a, field) for a in ARCHETYPES], dtype=np.float64)


def _expected_lines(a: Archetype) -> float:
    days = sum(a.end) / 2 - sum(a.begin) / 2
    return (1 + (days / a.gap if a.gap else 0)) * (1 + a.lines)


def _orders(
    kind: npt.NDArray[np.int64], rng: np.random.Generator
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """(customer, microseconds since the start) of every order, customer by customer."""
    begin = rng.uniform(*np.array([a.begin for a in ARCHETYPES], float)[kind].T)
    end = np.maximum(rng.uniform(*np.array([a.end for a in ARCHETYPES], float)[kind].T), begin)
    gap = _of("gap")[kind]
    # Everybody has an own rhythm around the archetype's.
    own = np.where(gap > 0, gap * np.exp(0.25 * rng.standard_normal(len(kind))), np.inf)
    count = 1 + rng.poisson((end - begin) / own)
    customer = np.repeat(np.arange(len(kind)), count)
    place = np.arange(len(customer)) - np.repeat(np.cumsum(count) - count, count)
    # Regular with jitter: order i of n falls anywhere within the i-th n-th of the active time.
    share = (place + rng.random(len(customer))) / count[customer]
    share = np.where(gap[customer] > 0, share, 0.0)
    day = np.minimum(np.floor(begin[customer] + share * (end - begin)[customer]), DAYS - 1)
    hour = np.clip(rng.normal(14.5, 3.5, len(customer)), 0.0, 23.99)
    when = day.astype(np.int64) * DAY_US + (hour * 3.6e9).astype(np.int64)
    return customer, when


def _category(kinds: npt.NDArray[np.int64], rng: np.random.Generator) -> npt.NDArray[np.int64]:
    taste = np.array([a.taste for a in ARCHETYPES], dtype=np.float64)
    upto = np.cumsum(taste / taste.sum(axis=1, keepdims=True), axis=1)
    picked = (rng.random(len(kinds))[:, None] > upto[kinds]).sum(axis=1)
    within: npt.NDArray[np.int64] = np.minimum(picked, len(CATEGORIES) - 1)
    return within
