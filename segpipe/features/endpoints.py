"""The features of a host (or of a pair of hosts), from the lines that ``features.hosts`` prepared.

Conventions, the same on every engine; times are UTC, sizes bytes, shares 0..1, entropies nats:

* n_conn: connections from the host. bytes_out, bytes_in: sent and received in all; max_bytes_out,
  max_bytes_in: in one connection. upload_ratio: sent / (sent + received), 0.5 of nothing.
* active_hours: clock hours with a connection. night_share: connections from 0 to 6 o'clock.
* fan_out, port_fan_out, distinct_services: distinct destinations, destination ports, services;
  dst_entropy, port_entropy, service_entropy: how evenly the connections spread over them.
* failed_share: connections that nobody answered, or that were refused or cut off
  (``signs.failed``).
* beacon_regularity: 1 - min(1, MAD / median) of the gaps between connections to one destination,
  the largest of the destinations with at least five; 0 where the median gap is 0.
  size_regularity: the same of the bytes sent.
* pair_rarity: mean over the connections of -log(connections between the two / all of the table).
* rare_service_share: connections to services that fewer than 1 % of the table's ask for.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.features import grouped
from segpipe.features.grouped import Index, count_of, exact_sum, heads, sum_in_order
from segpipe.values import Floats

HOUR_US = 3_600_000_000
_DAY_US = 24 * HOUR_US
LEAST = 5
"""Connections between two hosts from which on their rhythm is judged."""

NEEDS = {
    "n_conn": (),
    "bytes_out": ("_out",),
    "bytes_in": ("_in",),
    "max_bytes_out": ("_out",),
    "max_bytes_in": ("_in",),
    "upload_ratio": ("_out", "_in"),
    "active_hours": ("_ts",),
    "night_share": ("_ts",),
    "fan_out": ("_dst",),
    "dst_entropy": ("_dst",),
    "port_fan_out": ("_port",),
    "port_entropy": ("_port",),
    "distinct_services": ("_service",),
    "service_entropy": ("_service",),
    "failed_share": ("_failed",),
    "beacon_regularity": ("_ts", "_dst"),
    "size_regularity": ("_out", "_dst"),
    "pair_rarity": ("_dst",),
    "rare_service_share": ("_rare",),
}
"""Features, in order, and the cells that they are made of."""


def names(cells: Collection[str]) -> tuple[str, ...]:
    """The features that these cells give."""
    return tuple(name for name, needs in NEEDS.items() if set(needs) <= set(cells))


@dataclass(frozen=True, slots=True)
class Hosts:
    """Whole hosts, sorted by ``keys``, to one row each.

    Columns beside the keys, int64 or int8, those of ``NEEDS`` that the source gives: ``_ts``
    (microseconds), ``_dst``, ``_port``, ``_service`` (hashes), ``_out``, ``_in`` (bytes),
    ``_failed``, ``_rare`` (0 or 1). Null: no destination, no port.
    """

    schema: pa.Schema
    keys: tuple[str, ...]
    rows: int
    """Of the table."""

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class; a host's row is the same in every batch and order of lines."""
        if not batch.num_rows:
            return pa.RecordBatch.from_arrays(
                [pa.array([], field.type) for field in self.schema], schema=self.schema
            )
        code = grouped.numbered([batch.column(key) for key in self.keys])
        starts = heads(code)
        found = described(code, starts, batch, self.rows)
        first = pa.array(starts)
        arrays = [
            batch.column(field.name).take(first)
            if field.name in self.keys
            else pa.array(found[field.name])
            for field in self.schema
        ]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def described(code: Index, starts: Index, batch: pa.RecordBatch, rows: int) -> dict[str, Floats]:
    """All features of hosts ``code`` (0, 1, ..., ascending; ``starts`` their first rows)."""
    count = len(starts)
    cells = set(batch.schema.names)
    total = np.diff(starts, append=len(code)).astype(np.float64)
    found = {"n_conn": total}
    for cell, name in (("_out", "bytes_out"), ("_in", "bytes_in")):
        if cell in cells:
            size = _cell(batch, cell)
            found[name] = exact_sum(size, starts)
            found[f"max_{name}"] = np.maximum.reduceat(size, starts).astype(np.float64)
    if {"_out", "_in"} <= cells:
        both = found["bytes_out"] + found["bytes_in"]
        found["upload_ratio"] = np.where(both > 0, found["bytes_out"] / np.maximum(both, 1), 0.5)
    for cell, name in (("_failed", "failed_share"), ("_rare", "rare_service_share")):
        if cell in cells:
            found[name] = count_of(code, count, _cell(batch, cell) > 0) / total
    if "_ts" in cells:
        ts = _cell(batch, "_ts")
        found["active_hours"] = _distinct(code, ts // HOUR_US, count)
        found["night_share"] = count_of(code, count, ts % _DAY_US < _DAY_US // 4) / total
    for cell, distinct, entropy in (
        ("_port", "port_fan_out", "port_entropy"),
        ("_service", "distinct_services", "service_entropy"),
    ):
        if cell in cells:
            owner, sizes = _sizes(*_known(code, batch, cell))
            found[distinct], found[entropy] = spread(owner, sizes, count)
    if "_dst" in cells:
        found |= _pairs(code, batch, count, rows)
    return found


def _cell(batch: pa.RecordBatch, name: str) -> Index:
    values: Index = batch.column(name).to_numpy(zero_copy_only=False)
    return values


def _known(code: Index, batch: pa.RecordBatch, name: str) -> tuple[Index, Index]:
    """Owner and value of the rows that have one."""
    column = batch.column(name)
    if not column.null_count:
        return code, column.to_numpy()
    rows = column.is_valid().to_numpy(zero_copy_only=False)
    return code[rows], column.drop_null().to_numpy()


def _distinct(code: Index, values: Index, count: int) -> Floats:
    """Distinct ``values`` per host."""
    values = grouped.sorted_within(code, values)
    new = np.ones(len(values), bool)
    new[1:] = (values[1:] != values[:-1]) | (code[1:] != code[:-1])
    return count_of(code, count, new)


def _sizes(owner: Index, hashed: Index) -> tuple[Index, Index]:
    """(owner, rows) of each distinct value, by ascending owner, then by rows."""
    by = grouped.together(owner, hashed)
    owner, hashed = owner[by], hashed[by]
    first = _changes(owner, hashed)
    sizes = np.diff(first, append=len(owner))
    return owner[first], grouped.sorted_within(owner[first], sizes)


def _changes(owner: Index, hashed: Index) -> Index:
    new = np.ones(len(owner), bool)
    new[1:] = (owner[1:] != owner[:-1]) | (hashed[1:] != hashed[:-1])
    return np.flatnonzero(new)


def spread(owner: Index, sizes: Index, count: int) -> tuple[Floats, Floats]:
    """(count,) number and entropy of what an owner's rows spread over; see ``_sizes``."""
    total = np.bincount(owner, weights=sizes, minlength=count)
    share: Floats = sizes / total[owner]
    entropy = sum_in_order(owner, -share * np.log(share), count)
    return count_of(owner, count), np.maximum(entropy, 0.0) + 0.0


def _pairs(code: Index, batch: pa.RecordBatch, count: int, rows: int) -> dict[str, Floats]:
    """What is said of a host and each of its destinations."""
    known = batch.column("_dst").is_valid().to_numpy(zero_copy_only=False)
    at = np.flatnonzero(known)
    hashed = _known(code, batch, "_dst")[1]
    by = grouped.together(code[at], hashed)
    at, hashed = at[by], hashed[by]
    owner = code[at]
    first = _changes(owner, hashed)
    sizes = np.diff(first, append=len(at))
    pair = np.repeat(np.arange(len(first)), sizes)
    owner = owner[first]
    del by, hashed
    ordered = grouped.sorted_within(owner, sizes)
    linked = ordered.astype(np.float64)
    rarity = -linked * np.log(linked / rows)
    fan_out, entropy = spread(owner, ordered, count)
    every = np.maximum(np.bincount(owner, weights=sizes, minlength=count), 1.0)
    found = {
        "fan_out": fan_out,
        "dst_entropy": entropy,
        "pair_rarity": sum_in_order(owner, rarity, count) / every,
    }
    # Pairs of too few connections have no rhythm; most of a scan's rows end here.
    judged = (sizes >= LEAST)[pair]
    at, pair = at[judged], pair[judged]
    if "_ts" in batch.schema.names:
        when = grouped.sorted_within(pair, _cell(batch, "_ts")[at])
        gap = np.diff(when)[pair[1:] == pair[:-1]]
        between = pair[1:][pair[1:] == pair[:-1]]
        found["beacon_regularity"] = _steadiest(between, gap, owner, count)
    if "_out" in batch.schema.names:
        found["size_regularity"] = _steadiest(pair, _cell(batch, "_out")[at], owner, count)
    return found


def _steadiest(pair: Index, values: Index, owner: Index, count: int) -> Floats:
    """(count,) largest ``regularity`` of an owner's pairs, 0 without one."""
    best = np.zeros(count)
    if len(pair):
        which, steady = regularity(pair, values)
        np.maximum.at(best, owner[which], steady)
    return best


def regularity(group: Index, values: Index) -> tuple[Index, Floats]:
    """1 - min(1, MAD / median) of each group's values; 0 where the median is 0.

    Parameters
    ----------
    group : (n,) ascending, n >= 1
    values : (n,) integers from 0 on, below 2^61

    Returns
    -------
    The groups that there are, ascending, and their regularity. Doubled medians are whole numbers,
    so equal values give equal bits.
    """
    start = np.flatnonzero(np.diff(group, prepend=group[0] - 1))
    sizes = np.diff(start, append=len(group))
    values = grouped.sorted_within(group, values)
    low, high = start + (sizes - 1) // 2, start + sizes // 2
    twice = values[low] + values[high]
    away = np.abs(2 * values - np.repeat(twice, sizes))
    away = grouped.sorted_within(group, away)
    off = (away[low] + away[high]) / 2.0
    steady = 1.0 - np.minimum(1.0, off / np.where(twice > 0, twice, 1))
    return group[start], np.where(twice > 0, steady, 0.0)
