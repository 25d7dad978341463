"""Compiled loops of ``kernels.windows``."""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels import windows_loops
from segpipe.kernels.jit import jit

slide = jit(windows_loops.slide)
gaps = jit(windows_loops.gaps)


@jit
def group(keys: Any) -> tuple[Any, Any]:
    """Rows of equal (n,) uint64 ``keys`` together, their order kept: (order, start of each)."""
    n = len(keys)
    slots = 16
    while slots < 2 * n:
        slots *= 2
    mask = np.uint64(slots - 1)
    table = np.full(slots, -1, np.int32)
    code, found = np.empty(n, np.int32), np.empty(n, np.uint64)
    count = 0
    for i in range(n):
        slot = keys[i] & mask
        while table[slot] >= 0 and found[table[slot]] != keys[i]:
            slot = (slot + np.uint64(1)) & mask
        if table[slot] < 0:
            table[slot], found[count] = count, keys[i]
            count += 1
        code[i] = table[slot]
    start = np.zeros(count + 1, np.int64)
    for i in range(n):
        start[code[i] + 1] += 1
    for k in range(count):
        start[k + 1] += start[k]
    place, order = start[:-1].copy(), np.empty(n, np.int64)
    for i in range(n):
        order[place[code[i]]] = i
        place[code[i]] += 1
    return order, start


@jit
def recode(start: Any, values: Any) -> Any:
    """(n,) codes of (key, value) for rows grouped by key; ``values`` : (n,) well-mixed uint64."""
    n, most = len(values), 0
    for key in range(len(start) - 1):
        most = max(most, start[key + 1] - start[key])
    size = 16
    while size < 2 * most:
        size *= 2
    # A slot counts as empty unless the current key has stamped it.
    stamp, held = np.full(size, -1, np.int64), np.empty(size, np.uint64)
    codes, code = np.empty(size, np.int32), np.empty(n, np.int32)
    count = 0
    for key in range(len(start) - 1):
        rows, slots = start[key + 1] - start[key], 16
        while slots < 2 * rows:
            slots *= 2
        mask = np.uint64(slots - 1)
        for i in range(start[key], start[key + 1]):
            slot = values[i] & mask
            while stamp[slot] == key and held[slot] != values[i]:
                slot = (slot + np.uint64(1)) & mask
            if stamp[slot] != key:
                stamp[slot], held[slot], codes[slot] = key, values[i], count
                count += 1
            code[i] = codes[slot]
    return code
