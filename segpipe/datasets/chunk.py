"""What a generator yields, and the little that the generators share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.values import Floats

CHUNK_ROWS = 1_000_000
"""Rows drawn at once; memory is bounded by a few hundred bytes times this."""
DAY_US = 86_400_000_000
TIME = pa.timestamp("us")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows for the file ``part-<file>.parquet``, and what is true of them."""

    file: str
    table: pa.Table
    truth: pa.Table
    plain: tuple[str, ...] = ()
    """Columns with about as many values as rows."""


def draws(rows: int, seed: int) -> Iterator[tuple[int, int, np.random.Generator]]:
    """(chunk number, rows in it, its own generator): chunk i is drawn from (seed, i) alone."""
    for number, start in enumerate(range(0, rows, CHUNK_ROWS)):
        yield number, min(CHUNK_ROWS, rows - start), np.random.default_rng([seed, number])


def lognormal(rng: np.random.Generator, median: Floats | float, spread: float, size: int) -> Floats:
    """``size`` lognormal values; ``spread`` is the standard deviation of the natural log."""
    values: Floats = np.asarray(median) * np.exp(spread * rng.standard_normal(size))
    return values


def numbered(prefix: str, numbers: npt.NDArray[np.int64], width: int) -> pa.Array:
    """Text ids such as "C000042"."""
    digits = pc.utf8_lpad(pc.cast(pa.array(numbers), pa.string()), width, "0")
    return pc.binary_join_element_wise(prefix, digits, "")


def chosen(values: list[str], codes: npt.NDArray[np.integer]) -> pa.Array:
    """``values[codes]`` as text."""
    return pa.array(values).take(pa.array(codes))
