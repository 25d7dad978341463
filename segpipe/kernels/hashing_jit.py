"""Compiled loops of ``kernels.hashing``, with the bits of its NumPy path.

Every operand is uint64: numba turns int64 with uint64 into float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from segpipe.kernels.jit import jit

_U = np.uint64
_GOLDEN = _U(0x9E3779B97F4A7C15)
_MIX1, _MIX2 = _U(0xBF58476D1CE4E5B9), _U(0x94D049BB133111EB)
_ABSENT = _U(0x6E756C6C204E614E)  # null and NaN
_P1, _P2 = _U(0x9E3779B185EBCA87), _U(0xC2B2AE3D27D4EB4F)
_P3, _P4, _P5 = _U(0x165667B19E3779F9), _U(0x85EBCA77C2B2AE63), _U(0x27D4EB2F165667C5)
CHUNK = 512
_SIGN_BOUND = 9.2e18  # whole floats below it fit int64


@jit
def _mix(x: Any) -> Any:
    z = x + _GOLDEN
    z = (z ^ (z >> _U(30))) * _MIX1
    z = (z ^ (z >> _U(27))) * _MIX2
    return z ^ (z >> _U(31))


@jit
def chain_bits(state: Any, bits: Any) -> None:
    """Chain a column of 64-bit cells onto ``state``, in place."""
    for i in range(state.size):
        state[i] = _mix(state[i] ^ bits[i])


@jit
def _chain_wide(state: Any, wide: Any, raw: Any) -> None:
    for i in range(state.size):
        value = wide[i]
        if value != value:  # noqa: PLR0124 - the NaN test that vectorises
            bits = _ABSENT
        else:
            bits = raw[i]
            if abs(value) < _SIGN_BOUND:
                whole = np.int64(value)
                if np.float64(whole) == value:
                    bits = np.uint64(whole)
        state[i] = _mix(state[i] ^ bits)


@jit
def chain_floats(state: Any, values: Any) -> None:
    """Chain a column of floats: whole ones as integers, NaN as one cell, float32 as float64."""
    wide = np.empty(CHUNK)
    raw = wide.view(np.uint64)
    for start in range(0, state.size, CHUNK):
        size = min(CHUNK, state.size - start)
        for i in range(size):
            wide[i] = values[start + i]
        _chain_wide(state[start : start + size], wide, raw)


@jit
def _rotl(x: Any, by: Any) -> Any:
    return (x << by) | (x >> (_U(64) - by))


@jit
def _word(data: Any, at: Any, size: Any) -> Any:
    word = _U(0)
    for j in range(size):
        word |= _U(data[at + j]) << _U(8 * j)
    return word


@jit
def xxh64_rows(data: Any, offsets: Any, seed: Any, out: Any) -> None:
    """``out[i]``: xxh64 of ``data[offsets[i]:offsets[i + 1]]``."""
    for i in range(out.size):
        at, end = offsets[i], offsets[i + 1]
        length = end - at
        if length >= 32:
            v1, v2, v3, v4 = seed + _P1 + _P2, seed + _P2, seed, seed - _P1
            while at + 32 <= end:
                v1 = _rotl(v1 + _word(data, at, 8) * _P2, _U(31)) * _P1
                v2 = _rotl(v2 + _word(data, at + 8, 8) * _P2, _U(31)) * _P1
                v3 = _rotl(v3 + _word(data, at + 16, 8) * _P2, _U(31)) * _P1
                v4 = _rotl(v4 + _word(data, at + 24, 8) * _P2, _U(31)) * _P1
                at += 32
            h = _rotl(v1, _U(1)) + _rotl(v2, _U(7)) + _rotl(v3, _U(12)) + _rotl(v4, _U(18))
            for v in (v1, v2, v3, v4):
                h = (h ^ (_rotl(v * _P2, _U(31)) * _P1)) * _P1 + _P4
        else:
            h = seed + _P5
        h += _U(length)
        while at + 8 <= end:
            h = _rotl(h ^ (_rotl(_word(data, at, 8) * _P2, _U(31)) * _P1), _U(27)) * _P1 + _P4
            at += 8
        if at + 4 <= end:
            h = _rotl(h ^ (_word(data, at, 4) * _P1), _U(23)) * _P2 + _P3
            at += 4
        while at < end:
            h = _rotl(h ^ (_U(data[at]) * _P5), _U(11)) * _P1
            at += 1
        h = (h ^ (h >> _U(33))) * _P2
        h = (h ^ (h >> _U(29))) * _P3
        out[i] = h ^ (h >> _U(32))
