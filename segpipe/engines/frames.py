"""What a frame is, on every engine: rows grouped into parts, and functions still to be applied.

A source is either ``Parts``, groups that any task can open by itself (files, held batches), or an
engine's own relational frame. The functions that follow it are the same values on every engine.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import ConfigError
from segpipe.lake import tables
from segpipe.values import BatchFn, Fragment, Table

State = TypeVar("State")
Batches = Iterator[pa.RecordBatch]
Step = Callable[[Batches], State]

BATCH_ROWS = tables.BATCH_ROWS
"""No source hands out larger batches."""
PART_ROWS = 2_000_000
"""A part of a large table: seconds of work, so that a lost task costs little."""
FAN_IN = 16
"""States that one machine merges at once; more are merged on the workers first, since a state may
be a sample of tens of megabytes."""
PARTS_PER_WORKER = 4
"""More parts than workers, because the last ones to finish are waited for."""


@dataclass(frozen=True, slots=True)
class Parts:
    """Groups of rows; ``open`` turns one into batches, on whichever machine it is called."""

    groups: tuple[Any, ...]
    open: Callable[[Any], Iterable[pa.RecordBatch]]


@dataclass(frozen=True, slots=True)
class Files:
    """Opens a group of fragments of one table. Tasks get it without the table's list of files."""

    table: Table
    columns: tuple[str, ...] | None

    def __call__(self, fragments: Sequence[Fragment]) -> Batches:
        """Rows of ``fragments``, filtered, at most 65,536 a batch."""
        for fragment in fragments:
            yield from tables.read(self.table, fragment, self.columns)


def held(batches: Sequence[pa.RecordBatch]) -> Batches:
    """Batches that are in memory, cut to size."""
    for batch in batches:
        if batch.num_rows <= BATCH_ROWS:
            yield batch
        else:
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)


@dataclass(frozen=True, slots=True)
class Stage:
    """One function of batches and what it promises to return."""

    fn: BatchFn
    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """``fn(batch)``; a broken promise fails here on every engine, not on Spark alone."""
        out = self.fn(batch)
        if out.schema.names != self.schema.names or out.schema.types != self.schema.types:
            raise TypeError(f"{self.fn!r} returned {out.schema}, promised {self.schema}")
        return out


@dataclass(frozen=True, slots=True)
class Conform:
    """Columns picked by name and cast: what comes back from an engine's own types."""

    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """The batch in ``schema``; a cast that would lose something raises ArrowInvalid."""
        if batch.schema.equals(self.schema):
            return batch
        columns = [cast(batch.column(field.name), field.type) for field in self.schema]
        return pa.RecordBatch.from_arrays(columns, schema=self.schema)


def cast(column: pa.Array, kind: pa.DataType) -> pa.Array:
    """``column`` as ``kind``; dictionaries are decoded first, since few casts take them."""
    if column.type.equals(kind):
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    return column.cast(kind)


@dataclass(frozen=True, slots=True)
class Work:
    """What happens to a part's batches: whole key groups are formed, then functions run."""

    keys: tuple[str, ...] = ()
    chain: tuple[BatchFn, ...] = ()

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Batches:
        """Lazily."""
        for batch in regroup(batches, self.keys) if self.keys else batches:
            for fn in self.chain:
                batch = fn(batch)  # noqa: PLW2901  a chain is a fold over one batch
            yield batch


@dataclass(frozen=True, slots=True)
class Frame:
    """Rows of ``schema``: a source and the work still to be done on it."""

    schema: pa.Schema
    source: Any
    """``Parts`` or the engine's own relational frame."""
    work: Work = Work()

    def then(self, fn: BatchFn, schema: pa.Schema) -> Frame:
        """The frame after ``fn``."""
        work = replace(self.work, chain=(*self.work.chain, Stage(fn, schema)))
        return replace(self, schema=schema, work=work)


def scanned(table: Table, columns: Sequence[str] | None, workers: int, parts: int) -> Frame:
    """Files in ``parts`` groups (0: by size and workers) that tasks open with Arrow."""
    groups = tables.split(table, parts or part_count(table, workers))
    names = None if columns is None else tuple(columns)
    opener = Files(replace(table, fragments=()), names)
    return Frame(selected(table.schema, names), Parts(tuple(groups), opener))


def selected(schema: pa.Schema, columns: Sequence[str] | None) -> pa.Schema:
    """``schema`` cut down to ``columns``, in that order."""
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def of_batches(batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> Frame:
    """Rows that the driver holds, a part per batch."""
    return Frame(schema, Parts(tuple((batch,) for batch in batches), held))


def paired(groups: Sequence[Any], beside: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The arguments of each part's task: its group, and its value where there are any."""
    return list(zip(groups, beside, strict=True)) if beside else [(group,) for group in groups]


def part_count(table: Table, workers: int) -> int:
    """Parts to cut ``table`` into."""
    rows = sum(fragment.rows or 0 for fragment in table.fragments)
    return max(PARTS_PER_WORKER * workers, -(-rows // PART_ROWS))


TEXT_BYTES = 24
"""Of a text cell: an offset and a short word."""


def decoded_bytes(table: Table, columns: Sequence[str] | None) -> int:
    """About what the rows of ``table`` take in memory; text and lists are guessed.

    Where nobody knows the number of rows it is more than any memory.
    """
    if any(fragment.rows is None for fragment in table.fragments):
        return sys.maxsize
    rows = sum(fragment.rows or 0 for fragment in table.fragments)
    kinds = selected(table.schema, columns).types
    return rows * sum(_cell_bytes(kind) for kind in kinds)


def _cell_bytes(kind: pa.DataType) -> int:
    try:
        return -(-int(kind.bit_width) // 8)
    except ValueError:  # of variable width
        return TEXT_BYTES


def regroup(batches: Iterable[pa.RecordBatch], keys: Sequence[str]) -> Batches:
    """Whole key groups from batches sorted by ``keys``: about 65,536 rows each, or one group.

    Of large batches only the group that two of them share is copied.
    """
    pending: list[pa.RecordBatch] = []
    rows, full = 0, BATCH_ROWS
    for batch in batches:
        if not batch.num_rows:
            continue
        start = 0
        if pending and batch.num_rows > BATCH_ROWS // 2:
            same = _equal(batch, keys, pending[-1])
            if not same.all():
                start = int(np.argmin(same))
                yield pa.concat_batches([*pending, batch.slice(0, start)])
                pending, rows, full = [], 0, BATCH_ROWS // 2
        pending.append(batch.slice(start))
        rows += pending[-1].num_rows
        if rows < full:
            continue
        whole = pa.concat_batches(pending) if len(pending) > 1 else pending[0]
        cut = _last_group(whole, keys)
        if cut:
            yield whole.slice(0, cut)
        pending, rows = [whole.slice(cut)], whole.num_rows - cut
        # A group larger than a batch is looked at again only after it has doubled.
        full = max(BATCH_ROWS, 2 * rows)
    if pending:
        yield pa.concat_batches(pending)


def _last_group(batch: pa.RecordBatch, keys: Sequence[str]) -> int:
    """Row at which the last key group starts."""
    same = _equal(batch, keys, batch)
    return 0 if same.all() else batch.num_rows - int(np.argmin(same[::-1]))


def _equal(
    batch: pa.RecordBatch, keys: Sequence[str], other: pa.RecordBatch
) -> npt.NDArray[np.bool_]:
    """Rows of ``batch`` whose key is that of the last row of ``other``."""
    same = np.ones(batch.num_rows, dtype=bool)
    for key in keys:
        column, last = batch.column(key), other.column(key)[-1]
        if not last.is_valid:
            equal = pc.is_null(column)
        elif pa.types.is_floating(column.type) and last.as_py() != last.as_py():
            equal = pc.fill_null(pc.is_nan(column), False)
        else:
            equal = pc.fill_null(pc.equal(column, last), False)
        same &= equal.to_numpy(zero_copy_only=False)
    return same


def sort_nulls_first(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """Sorted ascending by ``names``, nulls first and NaN last as in Spark and Polars."""
    # Arrow's own null_placement is spelt differently before and after release 25.
    columns: list[pa.ChunkedArray] = []
    for name in names:
        column = table.column(name)
        columns += [column.is_valid(), column] if column.null_count else [column]
    keys = [str(i) for i in range(len(columns))]
    order = pc.sort_indices(
        pa.table(columns, names=keys), sort_keys=[(key, "ascending") for key in keys]
    )
    return table.take(order)


def settle_memory() -> None:
    """Arrow's memory of this process from jemalloc, unless the environment names another.

    Holding a decoded table, Arrow's default (mimalloc) spends 2-5 times as long in the kernel
    (DECISIONS.md).
    """
    named = os.environ.get("ARROW_DEFAULT_MEMORY_POOL")
    if not named and "jemalloc" in pa.supported_memory_backends():
        pa.set_memory_pool(pa.jemalloc_memory_pool())


def cores() -> int:
    """Processor cores this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # macOS has no affinity
        return os.cpu_count() or 1


def memory_bytes(memory: str | int) -> int:
    """Bytes that an engine may take here: ``auto`` is half the machine; else ``"4g"`` or bytes.

    Raises
    ------
    ConfigError
        Not a size.
    """
    if memory == "auto":
        return _machine_bytes() // 2
    text = str(memory).strip().lower().removesuffix("ib").removesuffix("b")
    scale = {"k": 10, "m": 20, "g": 30, "t": 40}.get(text[-1:], 0)
    try:
        found = int(float(text[:-1] if scale else text) * 2**scale)
    except ValueError:
        found = 0
    if found <= 0:
        raise ConfigError(
            f"engine.memory {memory!r} is no size.", "write auto, a number of bytes, or e.g. 4g"
        )
    return found


def _machine_bytes() -> int:
    """Memory of the machine, or of the container if that is less."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        try:
            total = min(total, int(Path(limit).read_text()))
        except (OSError, ValueError):  # absent, or "max"
            continue
    return total
