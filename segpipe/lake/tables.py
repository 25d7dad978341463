"""Source tables: find the files once, read them batch by batch on any worker.

Every engine reads through ``read``, so a column has one type and one value everywhere:
dictionary, view and large text become string, files of one table that differ are cast to the
unified schema, hive folders become typed columns, ``where`` and ``--partition`` are applied.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import ConfigError, DataError, FlagError, InputMissing
from segpipe.lake import columnar, delimited, hive, zeek
from segpipe.lake.deltasource import open_delta
from segpipe.lake.expr import Expr, compile_expr
from segpipe.lake.files import find_files
from segpipe.lake.uris import absolute
from segpipe.schema import LINE
from segpipe.values import Fragment, Table

BATCH_ROWS = 65_520
"""An odd number of cache lines of float32: at 65,536 the features of a block would share cache
sets, and the nearest-centre kernel would wait for memory a third longer."""
_OPTIONS: Mapping[str, frozenset[str]] = {
    "parquet": frozenset(),
    "delta": frozenset({"version"}),
    "csv": delimited.OPTIONS,
    "zeek": frozenset(),
    "table": frozenset(),
}
UNTYPED = frozenset({"csv", "zeek"})
"""Formats that are read as text; the contract gives the types."""
_LATER = ("iceberg",)


def open_table(
    uri: str,
    format: str,
    options: Mapping[str, Any] | None = None,
    where: str | None = None,
    partitions: Sequence[str] = (),
    names: Mapping[str, str] | None = None,
) -> Table:
    """List the files of ``uri`` and unify their schemas; no row is kept.

    ``partitions``: ``COLUMN=VALUE`` each, compared in the column's type. ``names``: our column
    names to the source's, for ``where``. Raises InputMissing 66 (absent, unreadable, no rows),
    DataError 65 (corrupt file, schemas that cannot be unified), ConfigError 78.
    """
    options = dict(options or {})
    _check_options(format, options)
    if format == "table":
        # The schema is known to the engine only, which applies the filters as it reads.
        asked = [compile_expr(where, names or {}).text] if where else []
        asked += [_untyped_filter(part) for part in partitions]
        return Table(uri, format, pa.schema([]), (), uri, options, tuple(asked))
    place = absolute(uri)
    if format == "delta":
        table = open_delta(place, options)
    else:
        files = find_files(place, format)
        listing = [f"{info.path}\0{info.size}\0{info.mtime_ns}" for info in files]
        # Paths below the root only: a moved copy is another table, a remounted one is not judged.
        digest = hashlib.sha256("\n".join(sorted(listing)).encode()).hexdigest()
        if format == "parquet":
            opened = columnar.open_files(place, files)
        elif format == "zeek":
            opened = zeek.open_files(place, files)
        else:
            opened = delimited.open_files(place, files, options)
        table = Table(place, format, opened[0], opened[1], digest, options)
    filters = [_partition_filter(part, table.schema) for part in partitions]
    if where:
        filters.insert(0, _checked(where, table.schema, names or {}, format in UNTYPED))
    return _pruned(replace(table, filters=tuple(filters)))


def _check_options(format: str, options: Mapping[str, Any]) -> None:
    if format in _LATER:
        raise ConfigError(
            f"source.format {format!r} is not in this version.", "use parquet, delta, csv or zeek."
        )
    if format not in _OPTIONS:
        raise ConfigError(
            f"source.format {format!r} is unknown.", f"known formats: {', '.join(_OPTIONS)}."
        )
    unknown = sorted(set(options) - _OPTIONS[format])
    if unknown:
        raise ConfigError(
            f"source.options {unknown} are unknown for format {format}.",
            f"known: {sorted(_OPTIONS[format])}.",
        )


@lru_cache(maxsize=256)
def _compiled(text: str) -> Expr:
    return compile_expr(text, {})


def _checked(where: str, schema: pa.Schema, names: Mapping[str, str], untyped: bool) -> str:
    expr = compile_expr(where, names, schema.names)
    empty = pa.RecordBatch.from_pylist([], schema=schema)
    expr.condition(empty, untyped)
    return expr.text


def _quoted(name: str) -> str:
    return f"`{name}`"


def _untyped_filter(part: str) -> str:
    name, _, value = part.partition("=")
    return f"{_quoted(name)} == {value!r}"


def _partition_filter(part: str, schema: pa.Schema) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        raise FlagError(f"--partition {part!r} holds no value.", "write --partition COLUMN=VALUE.")
    if name not in schema.names:
        raise ConfigError(
            f"--partition {part!r} names no column of the table; it has {schema.names}.",
            "write --partition COLUMN=VALUE.",
        )
    if value == hive.NULL:
        return f"({_quoted(name)} is None)"
    kind = schema.field(name).type
    if pa.types.is_boolean(kind) and value.lower() in ("true", "false"):
        return f"({_quoted(name)} == {value.lower() == 'true'})"
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        try:
            number = int(value) if pa.types.is_integer(kind) else float(value)
        except ValueError:
            raise ConfigError(
                f"--partition {part!r}: column {name} is {kind}, {value!r} is not.",
                "give a number.",
            ) from None
        return f"({_quoted(name)} == {number!r})"
    return _checked(f"{_quoted(name)} == {value!r}", schema, {}, False)


def _pruned(table: Table) -> Table:
    """Drop the fragments whose partition values alone fail a filter."""
    if not table.fragments:
        raise InputMissing(f"table {table.uri} has no rows.", "check the path and the options.")
    held = [name for name, _ in table.fragments[0].partition]
    if not held or not table.filters:
        return table
    values = pa.RecordBatch.from_arrays(
        [
            hive.column(
                [fragment.partition[i][1] for fragment in table.fragments],
                table.schema.field(name).type,
                table.uri,
            )
            for i, name in enumerate(held)
        ],
        names=held,
    )
    keep = [True] * len(table.fragments)
    for text in table.filters:
        expr = _compiled(text)
        if expr.columns <= set(held):
            passed = expr.condition(values).to_pylist()
            keep = [a and bool(b) for a, b in zip(keep, passed, strict=True)]
    kept = tuple(f for f, stays in zip(table.fragments, keep, strict=True) if stays)
    if not kept:
        raise InputMissing(
            f"table {table.uri} has no partition where {' and '.join(table.filters)}.",
            "check --partition and source.where.",
        )
    return replace(table, fragments=kept)


def read(
    table: Table, fragment: Fragment, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Rows of ``fragment`` that pass the filters: ``columns`` (None: all) in the asked order.

    Batches hold at most ``BATCH_ROWS`` rows and may be empty. Raises DataError 65 for a file that
    breaks off, TemporaryError 75 for one that disappeared since ``open_table``.
    """
    asked = table.schema.names if columns is None else list(columns)
    filters = [_compiled(text) for text in table.filters]
    needed = list(dict.fromkeys([*asked, *sorted(n for f in filters for n in f.columns)]))
    if filters and table.format == "zeek":
        needed = list(dict.fromkeys([*needed, LINE]))
    missing = [name for name in needed if name not in table.schema.names]
    if missing:
        raise DataError(
            f"table {table.uri} lacks columns {missing}; it has {table.schema.names}.",
            "map them under source.columns.",
        )
    held = dict(fragment.partition)
    stored = pa.schema([table.schema.field(name) for name in needed if name not in held])
    out = pa.schema([table.schema.field(name) for name in asked])
    if table.format == "zeek":
        batches = zeek.read_file(table.uri, fragment, stored)
    elif table.format == "csv":
        batches = delimited.read_file(table.uri, fragment, stored, table.options)
    else:
        batches = columnar.read_file(table.uri, fragment, stored, BATCH_ROWS)
    for batch in batches:
        full = _with_partition(batch, needed, held, table)
        for expr in filters:
            passed = expr.condition(full, table.format in UNTYPED)
            if table.format == "zeek":
                # No filter can judge a line that is no record: the contract rejects it.
                passed = pc.or_kleene(passed, full.column(LINE).is_valid())
            full = full.filter(passed)
        for start in range(0, max(full.num_rows, 1), BATCH_ROWS):
            part = full.slice(start, BATCH_ROWS)
            arrays = [part.column(part.schema.get_field_index(name)) for name in asked]
            if not arrays:
                yield pa.RecordBatch.from_struct_array(
                    pa.array([{}] * part.num_rows, pa.struct([]))
                )
            else:
                yield pa.RecordBatch.from_arrays(arrays, schema=out)


def _with_partition(
    batch: pa.RecordBatch, needed: Sequence[str], held: Mapping[str, str | None], table: Table
) -> pa.RecordBatch:
    if not held or not needed:
        return batch
    arrays = []
    for name in needed:
        if name in held:
            kind = table.schema.field(name).type
            value = hive.column([held[name]], kind, table.uri)[0]
            arrays.append(pa.repeat(value, batch.num_rows))
        else:
            arrays.append(batch.column(batch.schema.get_field_index(name)))
    return pa.RecordBatch.from_arrays(
        arrays, schema=pa.schema([table.schema.field(name) for name in needed])
    )


def split(table: Table, parts: int) -> list[tuple[Fragment, ...]]:
    """At most ``parts`` contiguous groups of fragments, balanced by rows, never an empty group."""
    fragments = table.fragments
    parts = max(1, min(parts, len(fragments)))
    if not fragments:
        return []
    weights = [fragment.rows or 1 for fragment in fragments]
    groups: list[tuple[Fragment, ...]] = []
    start = 0
    left = float(sum(weights))
    for remaining in range(parts, 0, -1):
        goal, taken, stop = left / remaining, 0.0, start
        # Leave at least one fragment for each group to come.
        while stop < len(fragments) - (remaining - 1):
            weight = weights[stop]
            if stop > start and taken + weight / 2 > goal and remaining > 1:
                break
            taken += weight
            stop += 1
        groups.append(fragments[start:stop])
        start, left = stop, left - taken
    return groups


def count_rows(table: Table) -> int | None:
    """Rows before the filters where the files tell; None for csv."""
    rows = [fragment.rows for fragment in table.fragments]
    return (
        None
        if any(r is None for r in rows)
        else int(pc.sum(pa.array(rows, pa.int64())).as_py() or 0)
    )
