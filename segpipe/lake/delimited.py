"""CSV: every column is read as text by one reader; the contract gives it a type."""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.fs as pafs

from segpipe.errors import ConfigError, DataError, SegpipeError, said
from segpipe.lake import hive
from segpipe.lake.columnar import conform
from segpipe.lake.uris import address, is_local, locate, reading
from segpipe.values import Fragment

OPTIONS = frozenset({"delimiter", "header", "quote", "encoding", "columns", "nulls"})
NULLS = ("", "NA", "N/A", "n/a", "null", "NULL", "NaN", "nan", "None")
BLANKS = "blanks"
"""``delimiter: blanks``: columns are parted by any run of blanks, leading ones ignored."""
_BLOCK = 4 << 20


def check_options(options: Mapping[str, Any]) -> None:
    """ConfigError 78 for a value that the reader cannot follow."""
    encoding = str(options.get("encoding", "utf-8")).lower().replace("_", "-")
    if encoding not in ("utf-8", "utf8"):
        raise ConfigError(
            f"source.options.encoding {encoding!r}: csv is read as UTF-8 only.",
            "convert the file: iconv -f ... -t UTF-8.",
        )
    delimiter = options.get("delimiter", ",")
    if delimiter != BLANKS and (not isinstance(delimiter, str) or len(delimiter) != 1):
        raise ConfigError(
            f"source.options.delimiter {delimiter!r} is no single character.",
            "for example ';', or 'blanks'.",
        )
    quote = options.get("quote", '"')
    if quote is not False and (not isinstance(quote, str) or len(quote) != 1):
        raise ConfigError(
            f"source.options.quote {quote!r} is no single character.", "or false for none."
        )
    header, columns = options.get("header", True), options.get("columns")
    if not isinstance(header, bool):
        raise ConfigError(f"source.options.header {header!r} is neither true nor false.")
    if header == (columns is not None):
        raise ConfigError(
            f"source.options: header is {header} and columns are {columns}.",
            "give columns exactly when the file has no header line (header: false).",
        )
    if columns is not None and len(set(columns)) != len(columns):
        raise ConfigError(f"source.options.columns {columns} names a column twice.")


@contextmanager
def decoding(
    filesystem: pafs.FileSystem, path: str, shown: str, kind: str = "csv"
) -> Iterator[None]:
    """Turn what goes wrong in a text file into DataError 65 that says where."""
    try:
        with reading(f"file {shown}"):
            yield
    except SegpipeError:
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        where = _first_bad_byte(filesystem, path)
        if where is not None:
            raise DataError(
                f"file {shown} is not UTF-8: byte {where} cannot be read.",
                "convert it: iconv -f ... -t UTF-8.",
            ) from error
        raise DataError(
            f"file {shown} is no readable {kind}: {said(error)}.",
            "check source.options (delimiter, header, quote)."
            if kind == "csv"
            else "restore the file or leave it out.",
        ) from error


def _first_bad_byte(filesystem: pafs.FileSystem, path: str) -> int | None:
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    try:
        with filesystem.open_input_stream(path, compression="detect") as source:
            while chunk := source.read(1 << 20):
                pending = len(decoder.getstate()[0])
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    return offset - pending + error.start
                offset += len(chunk)
        pending = len(decoder.getstate()[0])
    except OSError:
        return None
    return offset - pending if pending else None


def _batches(
    source: Any, options: Mapping[str, Any], names: Sequence[str] | None
) -> Iterator[pa.RecordBatch]:
    """All columns as text, in the file's order; ``names`` None: only to learn them."""
    if options.get("delimiter") == BLANKS:
        yield from _blank_parted(source, options)
        return
    quote = options.get("quote", '"')
    reader = pacsv.open_csv(
        source,
        read_options=pacsv.ReadOptions(
            block_size=_BLOCK, column_names=options.get("columns"), use_threads=False
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=options.get("delimiter", ","),
            quote_char=quote,
            newlines_in_values=quote is not False,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={name: pa.string() for name in names or ()},
            null_values=list(options.get("nulls", NULLS)),
            strings_can_be_null=True,
        ),
    )
    if names is None:
        yield pa.RecordBatch.from_pylist([], schema=reader.schema)
        return
    yield from reader


def _blank_parted(source: Any, options: Mapping[str, Any]) -> Iterator[pa.RecordBatch]:
    nulls = pa.array(list(options.get("nulls", NULLS)), pa.string())
    names: list[str] | None = options.get("columns")
    lines = pacsv.open_csv(
        source,
        read_options=pacsv.ReadOptions(block_size=_BLOCK, column_names=["line"], use_threads=False),
        # A byte that text files do not hold: every line is one value.
        parse_options=pacsv.ParseOptions(delimiter="\x01", quote_char=False),
        convert_options=pacsv.ConvertOptions(column_types={"line": pa.string()}),
    )
    for batch in lines:
        parts = pc.split_pattern_regex(pc.ascii_trim_whitespace(batch.column(0)), r"[ \t]+")
        if names is None:
            names = [str(name) for name in parts[0].as_py()] if len(parts) else []
            parts = parts.slice(1)
        lengths = pc.list_value_length(parts)
        wrong = pc.filter(lengths, pc.not_equal(lengths, len(names)))
        if len(wrong):
            raise pa.ArrowInvalid(f"a line has {wrong[0]} values, expected {len(names)}")
        columns = [
            pc.list_element(parts, i) if len(parts) else pa.array([], pa.string())
            for i in range(len(names))
        ]
        kept = [pc.if_else(pc.is_in(c, nulls), pa.scalar(None, pa.string()), c) for c in columns]
        yield pa.RecordBatch.from_arrays(kept, names=names)


def open_files(
    uri: str, files: Sequence[pafs.FileInfo], options: Mapping[str, Any]
) -> tuple[pa.Schema, tuple[Fragment, ...]]:
    """All-text schema and one fragment per file; no fragment at all if no file has a row."""
    check_options(options)
    filesystem, _ = locate(uri)
    shown = [address(uri, info.path) for info in files]
    partitions = [hive.from_path(info.path) for info in files]
    folders = hive.schema_of(partitions, shown)
    names: dict[str, None] = {}
    fragments = []
    for info, path, partition in zip(files, shown, partitions, strict=True):
        if info.size == 0:
            continue
        mine = _names(filesystem, info.path, path, options)
        doubled = sorted({name for name in mine if mine.count(name) > 1})
        if doubled:
            raise DataError(f"file {path} has several columns named {doubled}.", "rename them.")
        names |= dict.fromkeys(mine)
        if _has_rows(filesystem, info.path, path, options, mine):
            fragments.append(Fragment(path, None, None, partition))
    fields = [pa.field(name, pa.string()) for name in names if name not in folders.names]
    return pa.schema([*fields, *folders]), tuple(fragments)


def _names(
    filesystem: pafs.FileSystem, path: str, shown: str, options: Mapping[str, Any]
) -> list[str]:
    with (
        decoding(filesystem, path, shown),
        filesystem.open_input_stream(path, compression="detect") as source,
    ):
        first = next(_batches(source, options, None), None)
        return [] if first is None else list(first.schema.names)


def _has_rows(
    filesystem: pafs.FileSystem,
    path: str,
    shown: str,
    options: Mapping[str, Any],
    names: Sequence[str],
) -> bool:
    with (
        decoding(filesystem, path, shown),
        filesystem.open_input_stream(path, compression="detect") as source,
    ):
        return any(batch.num_rows for batch in _batches(source, options, names))


def read_file(
    uri: str, fragment: Fragment, schema: pa.Schema, options: Mapping[str, Any]
) -> Iterator[pa.RecordBatch]:
    """The columns of ``schema``, all text; a column that the file lacks is null."""
    filesystem, _ = locate(uri)
    path = fragment.path if is_local(fragment.path) else fragment.path.removeprefix("s3://")
    names = _names(filesystem, path, fragment.path, options)
    with decoding(filesystem, path, fragment.path):
        source = filesystem.open_input_stream(path, compression="detect")
    with source:
        batches = _batches(source, options, names)
        while True:
            with decoding(filesystem, path, fragment.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield conform(batch, schema, fragment.path)
