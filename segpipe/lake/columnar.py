"""Parquet files: footers, one schema for all of them, batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import NamedTuple

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from segpipe.errors import DataError, InputMissing, SegpipeError, TemporaryError, said
from segpipe.lake import hive
from segpipe.lake.uris import address, is_local, locate, reading
from segpipe.values import Fragment

FRAGMENT_ROWS = 1_000_000
FRAGMENT_BYTES = 64 << 20
"""A file beyond either is read in several fragments where its row groups allow."""


class Footer(NamedTuple):
    """What one file says of itself: rows and compressed bytes per row group."""

    schema: pa.Schema
    rows: tuple[int, ...]
    sizes: tuple[int, ...]


@contextmanager
def decoding(path: str) -> Iterator[None]:
    """Turn Arrow's complaints about ``path`` into DataError 65; a vanished file is 75."""
    try:
        with reading(f"file {path}"):
            yield
    except InputMissing as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise TemporaryError(
            f"file {path} disappeared while the table was read.",
            "the table is being rewritten: run again.",
        ) from error
    except SegpipeError:
        raise
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError, pa.ArrowException) as error:
        raise DataError(
            f"file {path} is no readable Parquet file (corrupt or truncated?): {said(error)}.",
            "restore the file or leave it out.",
        ) from error


def plain(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911 - a table of types
    """One type per meaning: dictionary, view and large text to string; null to string."""
    if pa.types.is_dictionary(kind):
        return plain(kind.value_type)
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind) or pa.types.is_null(kind):
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return pa.binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_list_view(kind):
        return pa.list_(plain(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, plain(f.type)) for f in kind])
    return kind


def footer(filesystem: pafs.FileSystem, path: str, shown: str) -> Footer:
    """Read one footer; DataError 65 naming the file if it is corrupt."""
    with decoding(shown), filesystem.open_input_file(path) as source:
        parquet = pq.ParquetFile(source)
        meta = parquet.metadata
        groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
        sizes = [
            sum(g.column(c).total_compressed_size for c in range(g.num_columns)) for g in groups
        ]
        schema = parquet.schema_arrow.remove_metadata()
    doubled = sorted({name for name in schema.names if schema.names.count(name) > 1})
    if doubled:
        raise DataError(f"file {shown} has several columns named {doubled}.", "rename them.")
    fields = [pa.field(f.name, plain(f.type)) for f in schema]
    empty = {f.name for f in schema if pa.types.is_null(f.type)}
    # A column of type null says nothing: it takes the type that other files give it.
    fields = [f.with_type(pa.null()) if f.name in empty else f for f in fields]
    return Footer(pa.schema(fields), tuple(g.num_rows for g in groups), tuple(sizes))


def unify(schemas: Sequence[pa.Schema], files: Sequence[str]) -> pa.Schema:
    """One schema: wider integers and floats win; DataError 65 naming file and column otherwise."""
    kinds: dict[str, pa.DataType] = {}
    seen: dict[str, str] = {}
    previous: pa.Schema | None = None
    for schema, path in zip(schemas, files, strict=True):
        if previous is not None and schema.equals(previous):
            continue
        previous = schema
        for field in schema:
            known = kinds.get(field.name)
            if known is None:
                kinds[field.name], seen[field.name] = field.type, path
            elif known != field.type:
                kinds[field.name] = _wider(field.name, known, field.type, seen[field.name], path)
    return pa.schema([(name, plain(kind)) for name, kind in kinds.items()])


def _wider(name: str, known: pa.DataType, new: pa.DataType, first: str, path: str) -> pa.DataType:
    try:
        pair = [pa.schema([(name, known)]), pa.schema([(name, new)])]
        wide = pa.unify_schemas(pair, promote_options="permissive").field(0).type
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise DataError(
            f"column {name!r} is {new} in file {path} but {known} in {first}.",
            "rewrite one of them; integers and floats are widened, nothing else.",
        ) from error
    return wide


def open_files(uri: str, files: Sequence[pafs.FileInfo]) -> tuple[pa.Schema, tuple[Fragment, ...]]:
    """Schema and fragments of plain Parquet files; files without rows are left out."""
    filesystem, _ = locate(uri)
    shown = [address(uri, info.path) for info in files]
    partitions = [hive.from_path(info.path) for info in files]
    folders = hive.schema_of(partitions, shown)
    with ThreadPoolExecutor(4 if is_local(uri) else 32) as pool:
        footers = list(
            pool.map(lambda i: footer(filesystem, files[i].path, shown[i]), range(len(files)))
        )
    inside = unify([f.schema for f in footers], shown)
    # The folder wins over a column of the same name inside: pruning relies on it.
    fields = [f for f in inside if f.name not in folders.names]
    fragments = [
        fragment
        for path, partition, foot in zip(shown, partitions, footers, strict=True)
        for fragment in fragments_of(path, partition, foot)
    ]
    return pa.schema([*fields, *folders]), tuple(fragments)


def fragments_of(path: str, partition: hive.Partition, foot: Footer) -> list[Fragment]:
    """The file as one fragment, or runs of row groups of about a million rows or 64 MiB."""
    total = sum(foot.rows)
    if total == 0:
        return []
    if total <= FRAGMENT_ROWS and sum(foot.sizes) <= FRAGMENT_BYTES:
        return [Fragment(path, total, None, partition)]
    out: list[Fragment] = []
    run: list[int] = []
    offset = rows = size = 0
    for group, (n, b) in enumerate(zip(foot.rows, foot.sizes, strict=True)):
        if run and (rows + n > FRAGMENT_ROWS or size + b > FRAGMENT_BYTES):
            out.append(Fragment(path, rows, tuple(run), partition, offset))
            offset, rows, size, run = offset + rows, 0, 0, []
        run.append(group)
        rows, size = rows + n, size + b
    out.append(Fragment(path, rows, tuple(run), partition, offset))
    return out


def read_file(
    uri: str, fragment: Fragment, schema: pa.Schema, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """The columns of ``schema`` in its types; a column that the file lacks is null."""
    filesystem, _ = locate(uri)
    path = fragment.path if is_local(fragment.path) else fragment.path.removeprefix("s3://")
    with decoding(fragment.path):
        source = filesystem.open_input_file(path)
    with source:
        with decoding(fragment.path):
            parquet = pq.ParquetFile(
                source, pre_buffer=not is_local(uri), coerce_int96_timestamp_unit="us"
            )
            stored = set(parquet.schema_arrow.names)
            batches = parquet.iter_batches(
                batch_size=batch_rows,
                row_groups=fragment.row_groups,
                columns=[name for name in schema.names if name in stored],
            )
        while True:
            with decoding(fragment.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield conform(batch, schema, fragment.path)


def conform(batch: pa.RecordBatch, schema: pa.Schema, path: str) -> pa.RecordBatch:
    """``batch`` with exactly the columns and types of ``schema``."""
    arrays = []
    for field in schema:
        index = batch.schema.get_field_index(field.name)
        if index < 0:
            arrays.append(pa.nulls(batch.num_rows, field.type))
            continue
        array = batch.column(index)
        if array.type != field.type:
            try:
                array = array.cast(field.type)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise DataError(
                    f"column {field.name!r} of file {path} is {array.type}, "
                    f"which does not fit {field.type}: {said(error)}.",
                    "rewrite the file in the table's type.",
                ) from error
        arrays.append(array)
    if not arrays:
        return pa.RecordBatch.from_struct_array(pa.array([{}] * batch.num_rows, pa.struct([])))
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
