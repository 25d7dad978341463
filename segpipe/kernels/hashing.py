"""Row hashes that do not depend on the engine, the source's types or the partitioning.

Numbers go through splitmix64 (Steele, Lea, Flood, OOPSLA 2014), text through xxh64 (Collet,
https://github.com/Cyan4973/xxHash/blob/dev/doc/xxhash_spec.md); columns are chained. A whole
float hashes as the integer it equals; null and NaN hash alike; -0.0 as 0. Small batches take a
NumPy path with the same bits, so that a table of 200 rows compiles nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError
from segpipe.kernels.cells import floats, plain

Hashes = npt.NDArray[np.uint64]

SMALL_ROWS = 2_000
SMALL_BYTES = 1 << 18
_U = np.uint64
_GOLDEN = _U(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_ABSENT = _U(0x6E756C6C204E614E)  # null and NaN
_P1, _P2 = _U(0x9E3779B185EBCA87), _U(0xC2B2AE3D27D4EB4F)
_P3, _P4, _P5 = _U(0x165667B19E3779F9), _U(0x85EBCA77C2B2AE63), _U(0x27D4EB2F165667C5)
_SIGN_BOUND = 9.2e18  # whole floats below it fit int64


@functools.cache
def _compiled() -> ModuleType:
    from segpipe.kernels import hashing_jit

    return hashing_jit


def hash_rows(batch: pa.RecordBatch, columns: Sequence[str], seed: int) -> Hashes:
    """(n,) uint64: one hash per row over ``columns``, in the order given."""
    state = np.full(batch.num_rows, splitmix64(np.array([seed % 2**64], _U))[0], _U)
    for name in columns:
        _chain(state, batch.column(name), seed, name)
    return state


def splitmix64(x: Hashes) -> Hashes:
    """The splitmix64 finaliser of every element (arithmetic modulo 2^64)."""
    z = x + _GOLDEN
    z = (z ^ (z >> _U(30))) * _MIX1
    z = (z ^ (z >> _U(27))) * _MIX2
    result: Hashes = z ^ (z >> _U(31))
    return result


def xxh64(column: Any, seed: int = 0) -> Hashes:
    """(n,) xxh64 of the bytes of each cell of a text or binary array; nulls hash as empty."""
    column = plain(column)
    column = column.cast(pa.large_binary())
    if column.null_count:
        column = pc.fill_null(column, b"")
    n = len(column)
    if n == 0:
        return np.empty(0, _U)
    _, offset_buffer, data_buffer = column.buffers()
    offsets = np.frombuffer(offset_buffer, np.int64)[column.offset : column.offset + n + 1]
    data = np.frombuffer(data_buffer, np.uint8) if data_buffer else np.empty(0, np.uint8)
    start = _U(seed % 2**64)
    if n <= SMALL_ROWS and int(offsets[-1] - offsets[0]) <= SMALL_BYTES:
        return _xxh64_numpy(data, offsets, start)
    out = np.empty(n, _U)
    _compiled().xxh64_rows(data, offsets, start, out)
    return out


def _chain(state: Hashes, column: Any, seed: int, name: str) -> None:
    column = plain(column)
    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_null(kind) or pa.types.is_decimal(kind):
        values = floats(column)
        if len(state) <= SMALL_ROWS:
            state[:] = splitmix64(state ^ _float_bits(values.astype(np.float64)))
        else:
            _compiled().chain_floats(state, values)
        return
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or _is_bytes(kind):
        bits = xxh64(column, seed)
    elif pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_temporal(kind):
        bits = _integer_bits(column)
    elif pa.types.is_string_view(kind):
        bits = xxh64(column.cast(pa.large_string()), seed)
    else:
        raise DataError(
            f"column {name!r} has type {kind}, which cannot serve as a key.",
            hint="choose a text, number, date or time column",
        )
    if column.null_count:
        bits = np.where(column.is_null().to_numpy(zero_copy_only=False), _ABSENT, bits)
    if len(state) <= SMALL_ROWS:
        state[:] = splitmix64(state ^ bits)
    else:
        _compiled().chain_bits(state, bits)


def _is_bytes(kind: Any) -> bool:
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def _integer_bits(column: Any) -> Hashes:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz), safe=False)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    elif pa.types.is_date32(column.type) or pa.types.is_time32(column.type):
        column = column.cast(pa.int32())
    elif not pa.types.is_unsigned_integer(column.type):
        column = column.cast(pa.int64())
    if column.null_count:
        column = pc.fill_null(column, 0)
    whole = column.to_numpy(zero_copy_only=False)
    if whole.dtype != np.uint64:
        whole = np.ascontiguousarray(whole, np.int64).view(_U)
    return whole  # type: ignore[no-any-return]


def _float_bits(values: npt.NDArray[np.float64]) -> Hashes:
    whole = np.abs(values) < _SIGN_BOUND
    as_integer = np.where(whole, values, 0.0).astype(np.int64)
    whole &= as_integer == values
    bits = np.where(whole, as_integer.view(_U), np.ascontiguousarray(values).view(_U))
    return np.where(np.isnan(values), _ABSENT, bits)


def _rotate(x: Hashes, by: int) -> Hashes:
    result: Hashes = (x << _U(by)) | (x >> _U(64 - by))
    return result


def _xxh64_numpy(data: npt.NDArray[np.uint8], offsets: npt.NDArray[np.int64], seed: Any) -> Hashes:
    """xxh64 of all rows at once: every step takes the rows that still have so many bytes."""
    starts, lengths = offsets[:-1].copy(), np.diff(offsets)
    h = np.full(len(lengths), seed, _U) + _P5
    position = np.zeros_like(lengths)
    long = np.flatnonzero(lengths >= 32)
    if len(long):
        first = np.array([seed], _U)
        lanes = [first + _P1 + _P2, first + _P2, first, first - _P1]
        v = [np.repeat(lane, len(long)) for lane in lanes]
        for stripe in range(int(lengths[long].max()) // 32):
            alive = np.flatnonzero(lengths[long] >= 32 * (stripe + 1))
            for lane in range(4):
                word = _words(data, starts[long[alive]] + 32 * stripe + 8 * lane, 8)
                v[lane][alive] = _rotate(v[lane][alive] + word * _P2, 31) * _P1
        mixed = _rotate(v[0], 1) + _rotate(v[1], 7) + _rotate(v[2], 12) + _rotate(v[3], 18)
        for lane in range(4):
            mixed = (mixed ^ (_rotate(v[lane] * _P2, 31) * _P1)) * _P1 + _P4
        h[long] = mixed
        position[long] = lengths[long] // 32 * 32
    h += lengths.astype(_U)
    for _ in range(3):
        rows = np.flatnonzero(lengths - position >= 8)
        word = _rotate(_words(data, starts[rows] + position[rows], 8) * _P2, 31) * _P1
        h[rows] = _rotate(h[rows] ^ word, 27) * _P1 + _P4
        position[rows] += 8
    rows = np.flatnonzero(lengths - position >= 4)
    word = _words(data, starts[rows] + position[rows], 4) * _P1
    h[rows] = _rotate(h[rows] ^ word, 23) * _P2 + _P3
    position[rows] += 4
    for _ in range(3):
        rows = np.flatnonzero(lengths > position)
        word = data[starts[rows] + position[rows]].astype(_U) * _P5
        h[rows] = _rotate(h[rows] ^ word, 11) * _P1
        position[rows] += 1
    h = (h ^ (h >> _U(33))) * _P2
    h = (h ^ (h >> _U(29))) * _P3
    result: Hashes = h ^ (h >> _U(32))
    return result


def _words(data: npt.NDArray[np.uint8], at: npt.NDArray[np.int64], size: int) -> Hashes:
    """Little-endian words of ``size`` bytes at positions ``at``."""
    cells = np.ascontiguousarray(data[at[:, None] + np.arange(size)])
    return cells.view(f"<u{size}").reshape(-1).astype(_U)
