"""Sums, order statistics and dense codes of groups of rows, for rows sorted by group.

Whatever the order of the rows within a group, and whatever other groups are in the batch, a group
gets the same bits: sums are of integers, or of values that were sorted first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.kernels.cells import group_codes
from segpipe.values import Floats

Index = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]

_LOW = 2**32 - 1


def numbered(columns: list[Any]) -> Index:
    """Number of each row's group, ascending from 0, for rows sorted by ``columns``."""
    changed = np.zeros(len(columns[0]), bool)
    for column in columns:
        whole = pa.types.is_integer(column.type) and not column.null_count
        code = column.to_numpy() if whole else group_codes(column)
        changed[1:] |= code[1:] != code[:-1]
    return np.cumsum(changed)


def heads(code: Index) -> Index:
    """First row of each group."""
    return np.flatnonzero(np.diff(code, prepend=-1))


def dense(values: Index) -> Index:
    """Codes 0, 1, ... of ``values`` in order of appearance, which means nothing."""
    return group_codes(pa.array(values))


def together(code: Index, hashed: Index) -> Index:
    """A permutation that brings rows of equal (code, hash) together, by ascending code.

    One sort by code and half of the hash, unless two hashes of a group agree in that half.
    """
    packed = code << 32 | hashed & _LOW
    by = np.argsort(packed)
    packed, other = packed[by], hashed[by]
    mixed = (packed[1:] == packed[:-1]) & (other[1:] != other[:-1])
    return np.lexsort((hashed, code)) if mixed.any() else by


def sorted_within(code: Index, values: Index) -> Index:
    """``values`` sorted within each group; ``code`` is ascending."""
    if not len(values):
        return values
    low = int(values.min())
    span = int(values.max()) - low + 1
    if (int(code[-1]) + 1) * span >= 2**63:
        return values[np.lexsort((values, code))]
    # One sort of one integer each; the codes come out as they were.
    base = code * span - low
    packed = base + values
    packed.sort()
    return packed - base


def exact_sum(values: Index, starts: Index) -> Floats:
    """Sum of each group of consecutive rows as float64: one rounding, and no overflow."""
    high = np.add.reduceat(values >> 32, starts).astype(np.float64)
    return high * 2.0**32 + np.add.reduceat(values & _LOW, starts)


def count_of(code: Index, count: int, rows: Mask | None = None) -> Floats:
    """Rows per group; of those in ``rows`` only."""
    found = np.bincount(code if rows is None else code[rows], minlength=count)
    return found.astype(np.float64)


def sum_in_order(code: Index, values: Floats, count: int) -> Floats:
    """Sum per group, added one by one in the order of the rows."""
    sums = np.bincount(code, weights=values, minlength=count)
    return sums.astype(np.float64, copy=False)  # of no rows bincount makes integers


def middle(values: Floats, sizes: Index) -> Floats:
    """Median of each group of sorted ``values``, the mean of the middle two; 0 of none."""
    starts = np.cumsum(sizes) - sizes
    result = np.zeros(len(sizes))
    some = sizes > 0
    low, high = (starts + (sizes - 1) // 2)[some], (starts + sizes // 2)[some]
    result[some] = (values[low] + values[high]) / 2
    return result


def runs(code: Index, values: Index) -> tuple[Index, Index]:
    """Group and length of each run of equal ``values``, sorted within groups."""
    new = np.ones(len(code), bool)
    new[1:] = (code[1:] != code[:-1]) | (values[1:] != values[:-1])
    starts = np.flatnonzero(new)
    return code[starts], np.diff(starts, append=len(code))


def entropy(code: Index, sizes: Index, count: int) -> Floats:
    """Entropy in nats of the ``sizes`` of each group's parts; 0 of none."""
    # Ascending sizes: the same order of additions, whatever the parts are called.
    sizes = sorted_within(code, sizes)
    total = np.bincount(code, weights=sizes, minlength=count)
    share = sizes / total[code]
    # + 0.0: -0.0 for a single part would print as such.
    return np.maximum(sum_in_order(code, -share * np.log(share), count) + 0.0, 0.0)
