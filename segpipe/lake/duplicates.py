"""Keys that several rows bear: found by one group-by, handed back to the contract as a set."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import narwhals.stable.v2 as nw
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError

COUNT = "rows_with_key"
LIMIT = 1_000_000
"""Duplicated keys that are handed back to every worker: beyond, the key identifies nothing."""


@dataclass(frozen=True, slots=True)
class DuplicatePlan:
    """For ``engine.relate``: the keys that more than one accepted row bears, with their counts."""

    keys: tuple[str, ...]

    def __call__(self, frame: nw.LazyFrame[Any]) -> nw.LazyFrame[Any]:
        """Group, count, keep counts above one."""
        counted = frame.group_by(*self.keys).agg(nw.len().alias(COUNT))
        return counted.filter(nw.col(COUNT) > 1)

    def schema(self, accepted: pa.Schema) -> pa.Schema:
        """Of the plan's result: the keys and int64 ``rows_with_key``."""
        fields = [accepted.field(key) for key in self.keys]
        return pa.schema([*fields, pa.field(COUNT, pa.int64())])


@dataclass(frozen=True, slots=True)
class CollectKeys:
    """Fold step that gathers the duplicated keys; DataError 65 beyond a million of them."""

    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> pa.RecordBatch:
        """All rows of one partition as one batch."""
        table = pa.Table.from_batches(list(batches), schema=self.schema)
        return self._one(table)

    def merge(self, left: pa.RecordBatch, right: pa.RecordBatch) -> pa.RecordBatch:
        """Both, in order."""
        return self._one(pa.Table.from_batches([left, right], schema=self.schema))

    def _one(self, table: pa.Table) -> pa.RecordBatch:
        if table.num_rows > LIMIT:
            raise DataError(
                f"more than {LIMIT:,} keys {self.schema.names[:-1]} stand on several rows.",
                "name columns that identify a row, or set contract.duplicates: keep.",
            )
        batches = table.combine_chunks().to_batches()
        return batches[0] if batches else pa.RecordBatch.from_pylist([], schema=self.schema)


def duplicated_rows(duplicated: pa.RecordBatch) -> int:
    """How many accepted rows bear one of the keys."""
    return int(pc.sum(duplicated.column(COUNT)).as_py() or 0)


def refuse(duplicated: pa.RecordBatch) -> None:
    """DataError 65 naming a few duplicated keys; nothing if there are none."""
    if duplicated.num_rows == 0:
        return
    keys = [name for name in duplicated.schema.names if name != COUNT]
    order = [(COUNT, "descending"), *((key, "ascending") for key in keys)]
    top = pa.Table.from_batches([duplicated]).sort_by(order).slice(0, 3)
    shown = ", ".join(
        f"{' / '.join(str(row[key]) for key in keys)} ({row[COUNT]} rows)"
        for row in top.to_pylist()
    )
    raise DataError(
        f"{duplicated.num_rows:,} keys {keys} stand on several rows, for example {shown}.",
        "name other columns under contract.keys, or set contract.duplicates to reject or keep.",
    )


def rows_with_keys(keys: Sequence[pa.Array], duplicated: pa.RecordBatch) -> npt.NDArray[np.bool_]:
    """Rows whose key is one of ``duplicated``; ``keys``: the key columns in contract order."""
    held = [duplicated.column(i).cast(key.type) for i, key in enumerate(keys)]
    found: npt.NDArray[np.bool_] = np.ones(len(keys[0]), np.bool_)
    for key, values in zip(keys, held, strict=True):
        found &= np.asarray(pc.is_in(key, value_set=values))
    if len(keys) == 1 or not found.any():
        return found
    # Column by column the rows are only candidates: compare whole keys for these few.
    known = set(zip(*(values.to_pylist() for values in held), strict=True))
    rows = np.flatnonzero(found)
    picked = pa.array(rows)
    whole = zip(*(key.take(picked).to_pylist() for key in keys), strict=True)
    found[rows] = [key in known for key in whole]
    return found
