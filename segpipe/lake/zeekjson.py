"""Zeek logs as JSON lines, in the texts that the TSV reader gives."""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pajson

from segpipe.lake.zeekcells import EXACT, as_text, filled, one_chunk
from segpipe.lake.zeekheader import MISSING
from segpipe.schema import LINE


def is_json(block: bytes) -> bool:
    """Whether the first line opens an object."""
    return block.lstrip()[:1] == b"{"


def columns(block: bytes) -> list[str]:
    """Names of the fields that appear in ``block``; nested ones with dots."""
    return list(dict.fromkeys(n for part in records(block) for n in part.schema.names if n != LINE))


def records(block: bytes, asked: Collection[str] | None = None) -> Iterator[pa.RecordBatch]:
    """Whole lines: the objects among them, then the lines that are none.

    ``asked``: the columns to bring; None: all.
    """
    wrong: list[str] = []
    try:
        found = _read(block, asked)
    except pa.ArrowInvalid:
        # Rare: a line that breaks off, or a field that is a number here and a text there.
        good, objects = [], []
        for line in block.decode().split("\n"):
            if not line.strip():
                continue
            try:
                value = json.loads(line)
            except ValueError:
                value = None
            if isinstance(value, dict):
                good.append(line)
                objects.append(value)
            else:
                wrong.append(line.rstrip("\r"))
        found = _again("\n".join(good).encode(), objects, asked)
    if found.num_rows:
        yield found
    if wrong:
        yield pa.RecordBatch.from_pydict({LINE: pa.array(wrong, pa.string())})


def _again(
    block: bytes, objects: list[dict[str, Any]], asked: Collection[str] | None
) -> pa.RecordBatch:
    if not objects:
        return pa.RecordBatch.from_pylist([])
    try:
        return _read(block, asked)
    except pa.ArrowInvalid:
        flat = [_row(value) for value in objects]
        names = dict.fromkeys(name for row in flat for name in row)
        marks = pa.array(MISSING)
        cells = [filled(pa.array([r.get(n) for r in flat], pa.string()), marks) for n in names]
        return pa.RecordBatch.from_arrays(cells, names=list(names))


def _read(block: bytes, asked: Collection[str] | None) -> pa.RecordBatch:
    table = _table(block, None)
    # Texts that look like times would be respelt, and only where all of a block do.
    texts = pa.schema([f.with_type(_untimed(f.type)) for f in table.schema])
    if texts != table.schema:
        table = _table(block, texts)
    while any(pa.types.is_struct(kind) for kind in table.schema.types):
        table = table.flatten()
    doubled = len(set(table.column_names)) < len(table.column_names)
    if doubled or any(_rounded(column) for column in table.columns):
        raise pa.ArrowInvalid("values must be read one by one")
    if asked is not None:
        known = [name for name in table.column_names if name in asked]
        table = table.select(known or table.column_names[:1])
    marks = pa.array(MISSING)
    cells = [filled(as_text(one_chunk(column)), marks) for column in table.columns]
    return pa.RecordBatch.from_arrays(cells, names=table.column_names)


def _table(block: bytes, schema: pa.Schema | None) -> pa.Table:
    return pajson.read_json(
        io.BytesIO(block),
        read_options=pajson.ReadOptions(use_threads=False, block_size=len(block) + 1),
        parse_options=pajson.ParseOptions(explicit_schema=schema),
    )


def _untimed(kind: pa.DataType) -> pa.DataType:
    """``kind`` with text in place of times, at any depth."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(_untimed(field.type)) for field in kind])
    if pa.types.is_list(kind):
        return pa.list_(_untimed(kind.value_type))
    return pa.string() if pa.types.is_temporal(kind) else kind


def _rounded(column: pa.ChunkedArray) -> bool:
    """Whether integers that a fraction among their neighbours made floats may have lost digits."""
    if not pa.types.is_floating(column.type):
        return False
    return bool(pc.any(pc.greater_equal(pc.abs(column), EXACT)).as_py())


def _row(value: dict[str, Any]) -> dict[str, str | None]:
    """The texts of an object; of a name that is there nested and with dots, the latter's."""
    texts: dict[str, str | None] = {}
    for name, text in _leaves("", value):
        if texts.get(name) is None:
            texts[name] = text
    return texts


def _leaves(prefix: str, value: dict[str, Any]) -> Iterator[tuple[str, str | None]]:
    """(name, text) of an object's values, as ``_read`` would give them; nested ones last."""
    inside = {f"{prefix}{name}": inner for name, inner in value.items()}
    for name, inner in inside.items():
        if not isinstance(inner, dict):
            yield name, _text(inner)
    for name, inner in inside.items():
        if isinstance(inner, dict):
            yield from _leaves(f"{name}.", inner)


def _text(value: Any) -> str | None:
    if value is None or value == []:
        return None
    if isinstance(value, list):
        return ",".join(_text(element) or "" for element in value)
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, float):
        return str(as_text(pa.array([value]))[0])
    return str(value)
