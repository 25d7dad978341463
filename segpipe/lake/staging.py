"""Tasks write Parquet files that nobody reads until a commit names them."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segpipe.errors import ConfigError, DataError, said
from segpipe.lake import hive
from segpipe.lake.columnar import plain
from segpipe.lake.stats import INDEXED, Stats
from segpipe.lake.uris import locate, storing
from segpipe.values import StagedFile

FILE_ROWS = 1_000_000
GROUP_ROWS = 262_144
BUFFER_ROWS = 1_048_576
"""Rows that one task holds before it writes its longest buffer."""
OPEN_FILES = 64
TRIAL_ROWS = 8_192
WORTHWHILE = 0.85
"""A float column is compressed if its first rows shrink below this share."""
STAGED = re.compile(r"part-([A-Za-z0-9._-]+)-[0-9a-f]{32}\.parquet")
"""Names of our files, by run; foreign writers name theirs otherwise."""


def storable(schema: pa.Schema) -> pa.Schema:
    """The same columns in types that Delta, Spark, DuckDB and Polars all read; all nullable.

    Timestamps become microseconds UTC (naive ones are UTC), unsigned integers the next wider
    signed type (uint64: int64), durations int64 microseconds, times of day text.
    """
    return pa.schema([pa.field(f.name, _storable(f.type)) for f in schema])


def _storable(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - a table of types
    kind = plain(kind)
    if pa.types.is_timestamp(kind) or pa.types.is_date64(kind):
        return pa.timestamp("us", "UTC")
    if pa.types.is_time(kind):
        return pa.string()
    if pa.types.is_duration(kind):
        return pa.int64()
    wider = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64()}
    if pa.types.is_unsigned_integer(kind):
        return wider.get(kind, pa.int64())
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    if pa.types.is_fixed_size_list(kind):
        return pa.list_(_storable(kind.value_type))
    if pa.types.is_list(kind):
        return pa.list_(_storable(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _storable(f.type)) for f in kind])
    return kind


def _store(array: pa.Array, kind: pa.DataType) -> pa.Array:
    if array.type == kind:
        return array
    if pa.types.is_dictionary(array.type) and array.type.value_type == kind:
        return array  # written as it is: no text is built row by row
    if pa.types.is_duration(array.type):
        return array.cast(pa.duration("us"), safe=False).cast(pa.int64())
    if pa.types.is_timestamp(kind) and pa.types.is_timestamp(array.type) and array.type.tz is None:
        return array.cast(pa.timestamp("us"), safe=False).cast(kind)
    try:
        return array.cast(kind, safe=not pa.types.is_timestamp(kind))
    except pa.ArrowInvalid as error:
        raise DataError(
            f"a value of type {array.type} does not fit the stored type {kind}: {said(error)}.",
            "map the column to text in the source, or leave it out with target.keep.",
        ) from None


@dataclass(frozen=True, slots=True)
class Writer:
    """Fold step: writes all batches of one partition of the frame, returns its files.

    ``root``: where the files go (``Target.stage_uri``); they lie in hive folders below it and
    partition columns are not stored inside. Every call makes new names, so a repeated task leaves
    orphans, never duplicates. Memory: about a million buffered rows.
    """

    root: str
    run_id: str
    partition_by: tuple[str, ...]
    schema: pa.Schema
    indexed: int = INDEXED
    """Columns whose least and greatest values are told; 0 where nobody reads them."""

    def __post_init__(self) -> None:
        """ConfigError 78 for a run id or a partition column that cannot be spelled in a path."""
        check_run_id(self.run_id)
        check_partition_by(self.partition_by, self.schema)

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> list[StagedFile]:
        """Write; no rows, no file."""
        stored = storable(self.schema)
        body = [name for name in stored.names if name not in self.partition_by]
        shelf = _Shelf(self)
        for batch in batches:
            if batch.num_rows == 0:
                continue
            typed = {f.name: _store(batch.column(f.name), f.type) for f in stored}
            columns = [typed[name] for name in body]
            rows = pa.RecordBatch.from_arrays(columns, names=body)
            keys = [decoded(typed[name]) for name in self.partition_by]
            for partition, part in _parts(self.partition_by, keys, rows):
                shelf.add(partition, part)
        return shelf.close()


def decoded(array: pa.Array) -> pa.Array:
    """``array`` without a dictionary."""
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def check_run_id(run_id: str) -> None:
    """ConfigError 78 unless ``run_id`` can be a file name."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run_id):
        raise ConfigError(
            f"run id {run_id!r} cannot be a file name.", "use letters, digits, '.', '_' and '-'."
        )


def check_partition_by(partition_by: tuple[str, ...], schema: pa.Schema) -> None:
    """ConfigError 78 unless all are flat columns of ``schema`` and another column remains."""
    for name in partition_by:
        if name not in schema.names:
            raise ConfigError(
                f"target.partition_by names {name!r}; the labels have {schema.names}.",
                "choose columns of the label table.",
            )
        kind = schema.field(name).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise ConfigError(f"target.partition_by {name!r} is {kind}.", "choose a flat column.")
    if partition_by and set(schema.names) <= set(partition_by):
        raise ConfigError("target.partition_by names every column.", "leave one that is stored.")


def _parts(
    names: tuple[str, ...], keys: list[pa.Array], rows: pa.RecordBatch
) -> Iterator[tuple[hive.Partition, pa.RecordBatch]]:
    """Rows by partition, in order of first appearance."""
    if not names:
        yield (), rows
        return
    code = np.zeros(rows.num_rows, np.int64)
    values: list[list[str | None]] = []
    for key in keys:
        encoded = key.dictionary_encode(null_encoding="encode")
        texts = [hive.text_of(value) for value in encoded.dictionary.to_pylist()]
        # '' and null are one partition.
        spelled = list(dict.fromkeys(texts))
        index = np.array([spelled.index(text) for text in texts], np.int64)
        code = code * len(spelled) + index[encoded.indices.to_numpy(zero_copy_only=False)]
        values.append(spelled)
    found, first = np.unique(code, return_index=True)
    for one in found[np.argsort(first)]:
        rest, partition = int(one), []
        for name, spelled in zip(reversed(names), reversed(values), strict=True):
            rest, at = divmod(rest, len(spelled))
            partition.append((name, spelled[at]))
        part = rows if len(found) == 1 else rows.filter(pa.array(code == one))
        yield tuple(reversed(partition)), part


@dataclass(slots=True)
class _Shelf:
    """The open files of one task and the rows that wait for them."""

    writer: Writer
    waiting: dict[hive.Partition, list[pa.RecordBatch]] = field(default_factory=dict)
    rows: dict[hive.Partition, int] = field(default_factory=dict)
    open: dict[hive.Partition, _Open] = field(default_factory=dict)
    done: list[StagedFile] = field(default_factory=list)

    def add(self, partition: hive.Partition, batch: pa.RecordBatch) -> None:
        self.waiting.setdefault(partition, []).append(batch)
        self.rows[partition] = self.rows.get(partition, 0) + batch.num_rows
        if self.rows[partition] >= GROUP_ROWS:
            self.flush(partition)
        elif sum(self.rows.values()) >= BUFFER_ROWS:
            self.flush(max(self.rows, key=self.rows.__getitem__))

    def flush(self, partition: hive.Partition) -> None:
        table = pa.Table.from_batches(self.waiting.pop(partition))
        del self.rows[partition]
        if partition not in self.open:
            if len(self.open) >= OPEN_FILES:
                self.finish(next(iter(self.open)))
            self.open[partition] = _Open(self.writer, partition)
        self.open[partition].write(table)
        if self.open[partition].rows >= FILE_ROWS:
            self.finish(partition)

    def finish(self, partition: hive.Partition) -> None:
        self.done.append(self.open.pop(partition).close())

    def close(self) -> list[StagedFile]:
        for partition in list(self.waiting):
            self.flush(partition)
        for partition in list(self.open):
            self.finish(partition)
        return self.done


class _Open:
    """One file being written, with its running statistics."""

    def __init__(self, writer: Writer, partition: hive.Partition) -> None:
        self.partition, self.rows = partition, 0
        self.path = f"{hive.folder(partition)}part-{writer.run_id}-{uuid.uuid4().hex}.parquet"
        self.stats = Stats(writer.indexed)
        self.filesystem, root = locate(writer.root)
        self.full = f"{root}/{self.path}"
        with storing(writer.root):
            self.filesystem.create_dir(self.full.rsplit("/", 1)[0], recursive=True)
            self.sink = self.filesystem.open_output_stream(self.full)
        self.parquet: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        with storing(self.full):
            if self.parquet is None:
                self.parquet = _parquet(self.sink, table)
            self.parquet.write_table(table, row_group_size=GROUP_ROWS)
        self.rows += table.num_rows
        self.stats.add(table)

    def close(self) -> StagedFile:
        with storing(self.full):
            if self.parquet is not None:
                self.parquet.close()
            size = self.sink.tell()
            self.sink.close()
        return StagedFile(self.path, self.rows, size, self.partition, self.stats.json())


def _parquet(sink: Any, table: pa.Table) -> pq.ParquetWriter:
    """A writer whose settings fit the columns; ``table`` holds the first rows."""
    floats = {f.name for f in table.schema if pa.types.is_floating(f.type)}
    return pq.ParquetWriter(
        sink,
        table.schema,
        compression={
            path: "none" if _incompressible(table.column(name)) else "zstd"
            for name in table.schema.names
            for path in _paths(name, table.schema.field(name).type)
        },
        write_batch_size=8_192,  # of values: coded columns are written a quarter faster
        # Nearly distinct floats: a dictionary costs 3-5 times the time and saves nothing.
        use_dictionary=[name for name in _leaves(table.schema) if name not in floats],
        # The Arrow schema would bring dictionaries back; readers expect plain text.
        store_schema=False,
    )


def _incompressible(column: pa.ChunkedArray) -> bool:
    """What zstd takes time for and hardly shrinks, by the first rows: floats, codes, nulls.

    On measured floats it would take as long as all the rest of writing, and save a few percent.
    """
    if pa.types.is_dictionary(column.type) or column.null_count == len(column):
        return True
    if not pa.types.is_floating(column.type):
        return False
    values = column.chunk(0).slice(0, TRIAL_ROWS).drop_null()
    raw = values.to_numpy().tobytes()
    return len(raw) > 0 and pa.compress(raw, codec="zstd").size > WORTHWHILE * len(raw)


def _leaves(schema: pa.Schema) -> list[str]:
    """Parquet column paths, for writer settings."""
    return [path for f in schema for path in _paths(f.name, f.type)]


def _paths(name: str, kind: pa.DataType) -> list[str]:
    if pa.types.is_list(kind):
        return _paths(f"{name}.list.element", kind.value_type)
    if pa.types.is_struct(kind):
        return [path for f in kind for path in _paths(f"{name}.{f.name}", f.type)]
    return [name]


def total(files: list[StagedFile]) -> Mapping[str, int]:
    """Rows and bytes of staged files."""
    return {"rows": sum(f.rows for f in files), "bytes": sum(f.bytes for f in files)}
