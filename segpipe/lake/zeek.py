"""Zeek logs, TSV or JSON lines, plain or compressed: every column as text, one reader everywhere.

The contract types what a feature set asks for; columns that are kept get the type that the log
declares (``zeekheader.arrow_type``). A line that is no record becomes a row with its text in the
column ``LINE`` and nothing else, which the contract rejects: no line is lost without a trace.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from segpipe.errors import DataError
from segpipe.lake import hive, zeekjson, zeektsv
from segpipe.lake.columnar import conform
from segpipe.lake.delimited import decoding
from segpipe.lake.uris import address, is_local, locate
from segpipe.lake.zeekheader import CONN, Header, declared
from segpipe.schema import LINE_FIELD
from segpipe.values import Fragment

Span = tuple[int, int, int]
"""Of a piece of a file: where the header in force starts, first byte, end."""

PACKED = (".gz", ".zst", ".bz2", ".lz4")
"""Names by which pyarrow knows that a file is compressed."""
_BLOCK = 4 << 20
SPAN = 64 << 20
"""A plain file is read in pieces of about so many bytes; a compressed one is one piece."""
_HEADER = b"\n#separator"
_BOM = b"\xef\xbb\xbf"
_STARTS = {
    b"\x1f\x8b": ("is compressed by gzip, which its name hides", "name it ....gz."),
    b"\x28\xb5\x2f\xfd": ("is compressed by zstd, which its name hides", "name it ....zst."),
    b"BZh": ("is compressed by bzip2, which its name hides", "name it ....bz2."),
    b"\x04\x22\x4d\x18": ("is compressed by lz4, which its name hides", "name it ....lz4."),
    b"\xfd7zXZ": ("is compressed by xz, which is not read", "unpack it, or use gzip or zstd."),
    b"PK\x03\x04": ("is a zip archive", "unpack it, or use gzip or zstd."),
    b"PAR1": ("is a Parquet file", "source.format: parquet."),
    b"\xff\xfe": ("is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8."),
    b"\xfe\xff": ("is UTF-16", "convert it: iconv -f UTF-16 -t UTF-8."),
    b"[": ("is one JSON array", "write one object per line: jq -c '.[]'."),
    b"{": ("has no whole JSON object on a line", "write one object per line: jq -c ."),
}
"""First bytes of files that are taken for logs -> what they are, what to do."""
_LONGEST = 64 << 20
"""Bytes of one line beyond which a file is no log."""


@dataclass(frozen=True, slots=True)
class _Opened:
    """What the start of a file says."""

    fields: tuple[pa.Field, ...]
    path: str | None
    """#path: conn, dns, ...; None for JSON lines."""
    rows: bool


def open_files(uri: str, files: Sequence[pafs.FileInfo]) -> tuple[pa.Schema, tuple[Fragment, ...]]:
    """All-text schema and the pieces of the files that hold a line; logs of one kind only."""
    filesystem, _ = locate(uri)
    shown = [address(uri, info.path) for info in files]
    partitions = [hive.from_path(info.path) for info in files]
    folders = hive.schema_of(partitions, shown)
    columns: dict[str, pa.Field] = {}
    kinds: dict[str, str] = {}
    fragments: list[Fragment] = []
    for info, path, partition in zip(files, shown, partitions, strict=True):
        if info.size == 0:
            continue
        with decoding(filesystem, info.path, path, "Zeek log"):
            opened = _opened(filesystem, info.path, path)
            for field in opened.fields:
                known = columns.setdefault(field.name, field)
                if not known.metadata:
                    columns[field.name] = field
                elif field.metadata and not known.equals(field, check_metadata=True):
                    columns[field.name] = declared(field.name, "string")
            if opened.path is not None:
                kinds.setdefault(opened.path, path)
            if opened.rows:
                fragments += [
                    Fragment(path, None, None, partition, 0, span)
                    for span in _spans(filesystem, info)
                ]
    if len(kinds) > 1:
        raise DataError(
            f"source {uri} holds several kinds of Zeek logs: {', '.join(sorted(kinds))} "
            f"(for example {', '.join(kinds.values())}).",
            "name one kind, for example a glob such as .../conn*.log*.",
        )
    inside = [field for field in columns.values() if field.name not in folders.names]
    return pa.schema([*inside, LINE_FIELD, *folders]), tuple(fragments)


def _opened(filesystem: pafs.FileSystem, path: str, shown: str) -> _Opened:
    header, fields, rows = Header(), tuple[pa.Field, ...](), False
    with filesystem.open_input_stream(path, compression="detect") as source:
        for block in _blocks(source, shown):
            if zeekjson.is_json(block) and not header.names:
                more = zeekjson.columns(block)
                if not more:
                    raise _no_log(shown, block)
                known = CONN if {"id.orig_h", "id.resp_h"} <= set(more) else {}
                names = dict.fromkeys([*known, *more])
                fields = tuple(
                    declared(n, CONN[n]) if n in known else pa.field(n, pa.string()) for n in names
                )
                return _Opened(fields, None, True)
            parts = list(_parts(block, header))
            header = parts[0][1]
            rows = any(part.strip() for part, _ in parts)
            if rows:
                break
    if rows and not header.names:
        raise _no_log(shown, block)
    doubled = sorted({n for n in header.names if header.names.count(n) > 1})
    if doubled:
        raise DataError(f"file {shown} has several columns named {doubled}.", "rename them.")
    return _Opened(tuple(header.fields()), header.path, rows)


def _no_log(shown: str, block: bytes) -> DataError:
    """What a file that starts with ``block`` is instead, as far as its first bytes tell."""
    told = next((hint for start, hint in _STARTS.items() if block.lstrip().startswith(start)), None)
    if told is not None:
        return DataError(f"file {shown} is no Zeek log that can be read: it {told[0]}.", told[1])
    return DataError(
        f"file {shown} is no Zeek log: it has neither a #fields line nor JSON lines.",
        "keep the header, or read it as csv: source.format csv with options {delimiter: "
        '"\\t", header: false, columns: [ts, uid, ...], nulls: ["-", "(empty)"]}.',
    )


def _spans(filesystem: pafs.FileSystem, info: pafs.FileInfo) -> list[Span | None]:
    """The pieces of a file, cut between lines; None: the whole.

    All of a large file is looked through once for headers: one that was put together from several
    logs has several, and each piece must know which is in force where it starts.
    """
    if info.size <= SPAN or info.path.endswith(PACKED):
        return [None]
    with filesystem.open_input_file(info.path) as source:
        headers, cuts, before = [0], [0], b"\n"
        for start in range(0, info.size, _BLOCK):
            block = before + source.read_at(min(_BLOCK, info.size - start), start)
            found = block.find(_HEADER)
            while found >= 0:
                headers.append(start - len(before) + found + 1)
                found = block.find(_HEADER, found + 1)
            if start - cuts[-1] >= SPAN and (line := block.find(b"\n", len(before) - 1)) >= 0:
                cuts.append(start - len(before) + line + 1)
            before = block[-len(_HEADER) + 1 :]
    ends = [*cuts[1:], info.size]
    return [
        (max(h for h in headers if h <= start), start, end)
        for start, end in zip(cuts, ends, strict=True)
    ]


def read_file(uri: str, fragment: Fragment, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    """The columns of ``schema``, all text; a column that the file lacks is null."""
    filesystem, _ = locate(uri)
    path = fragment.path if is_local(fragment.path) else fragment.path.removeprefix("s3://")
    batches = _batches(filesystem, path, fragment, frozenset(schema.names))
    while True:
        with decoding(filesystem, path, fragment.path, "Zeek log"):
            batch = next(batches, None)
        if batch is None:
            return
        yield conform(batch, schema, fragment.path)


def _batches(
    filesystem: pafs.FileSystem, path: str, fragment: Fragment, asked: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    header, shown = Header(), fragment.path
    if fragment.span is None:
        with filesystem.open_input_stream(path, compression="detect") as source:
            yield from _records(_blocks(source, shown), header, asked)
        return
    told, start, end = fragment.span
    with filesystem.open_input_file(path) as source:
        if told < start:
            source.seek(told)
            header = _header(_blocks(source, shown, start=told))
        source.seek(start)
        yield from _records(_blocks(source, shown, end - start, start), header, asked)


def _header(blocks: Iterator[bytes]) -> Header:
    """What the comments before the first record say."""
    header = Header()
    for block in blocks:
        for part, told in _parts(block, header):
            header = told
            if part.strip():
                return header
    return header


def _blocks(source: Any, shown: str, size: int | None = None, start: int = 0) -> Iterator[bytes]:
    """Whole lines, about ``_BLOCK`` bytes at a time; the last may lack its end.

    ``start``: where in the file ``source`` stands.
    """
    rest: list[bytes] = []
    while chunk := source.read(_BLOCK if size is None else min(_BLOCK, size)):
        size = None if size is None else size - len(chunk)
        if start == 0:
            chunk, start = chunk.removeprefix(_BOM), 1
        end = chunk.rfind(b"\n") + 1
        if end:
            yield b"".join([*rest, chunk[:end]])
            rest = []
        rest.append(chunk[end:])
        if len(rest) * _BLOCK > _LONGEST:
            raise DataError(f"file {shown} is no Zeek log: it has no lines.", "check the file.")
    if last := b"".join(rest):
        yield last


def _parts(block: bytes, header: Header) -> Iterator[tuple[bytes, Header]]:
    """Runs of records, each with the header in force; comments may come anywhere."""
    at = 0
    while at < len(block):
        notes = []
        while block.startswith(b"#", at):
            end = block.find(b"\n", at) + 1 or len(block)
            notes.append(block[at:end].decode())
            at = end
        header = header.told(notes)
        end = block.find(b"\n#", at) + 1 or len(block)
        yield block[at:end], header
        at = end


def _records(
    blocks: Iterator[bytes], header: Header, asked: frozenset[str]
) -> Iterator[pa.RecordBatch]:
    for block in blocks:
        if not header.names and zeekjson.is_json(block):
            yield from zeekjson.records(block, asked)
            continue
        for part, told in _parts(block, header):
            header = told
            if part.strip():
                yield from zeektsv.records(part, told, asked)
