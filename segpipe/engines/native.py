"""Files read by the engine's own reader (``engine.io: engine``), and tables only it knows.

What the reader returns is cast to the table's schema and filtered by the same functions as
elsewhere, so that the rows are the same whoever reads them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from segpipe.engines.frames import Conform, Frame, Stage, Work, selected
from segpipe.errors import ConfigError
from segpipe.lake.expr import compile_expr
from segpipe.values import Table

FORMATS = ("parquet", "delta")


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows that pass every filter, in the asked columns."""

    filters: tuple[str, ...]
    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """May be empty."""
        for text in self.filters:
            batch = batch.filter(compile_expr(text, {}).condition(batch))
        return Conform(self.schema)(batch)


@dataclass(frozen=True, slots=True)
class NativeFiles:
    """What an engine's Parquet reader needs to know."""

    root: str
    paths: tuple[str, ...]
    schema: pa.Schema
    """Of the columns to read, those of the filters included."""
    folders: pa.Schema
    """Of the columns that hive folders hold."""


def native_files(table: Table, columns: Sequence[str] | None) -> NativeFiles:
    """The whole files of ``table``.

    Raises
    ------
    ConfigError
        Not Parquet files, or partition columns that their paths do not show.
    """
    if table.format not in FORMATS:
        raise ConfigError(
            f"engine.io engine reads {', '.join(FORMATS)}; the source is {table.format}.",
            "use engine.io: auto",
        )
    for fragment in table.fragments:
        if any(f"/{name}=" not in fragment.path for name, _ in fragment.partition):
            raise ConfigError(
                f"engine.io engine: the path {fragment.path} does not show its partition "
                f"{dict(fragment.partition)}.",
                "use engine.io: auto",
            )
    names = [name for name, _ in table.fragments[0].partition] if table.fragments else []
    paths = tuple(dict.fromkeys(fragment.path for fragment in table.fragments))
    return NativeFiles(table.uri, paths, needed(table, columns), selected(table.schema, names))


def needed(table: Table, columns: Sequence[str] | None) -> pa.Schema:
    """Schema of ``columns`` and of what the filters read besides."""
    asked = table.schema.names if columns is None else list(columns)
    read = {name for text in table.filters for name in compile_expr(text, {}).columns}
    return selected(table.schema, [*asked, *sorted(read - set(asked))])


def native_frame(table: Table, columns: Sequence[str] | None, source: object) -> Frame:
    """A frame over what the engine's reader found: cast, then filtered."""
    schema = selected(table.schema, columns)
    stage = Stage(Filter(table.filters, schema), schema)
    return Frame(schema, source, Work((), (Conform(needed(table, columns)), stage)))


def no_catalogue(table: Table, engine: str) -> Table:
    """``table`` as it is; an engine without a catalogue refuses a name."""
    if table.format == "table":
        raise ConfigError(
            f"source.format table: the {engine} engine has no catalogue to find {table.uri!r} in.",
            "use engine.name: spark, or give the files",
        )
    return table
