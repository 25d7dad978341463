"""Bind a contract: what a feature set asks for, to what the source has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import pyarrow as pa

from segpipe.errors import ConfigError, DataError
from segpipe.lake import convert
from segpipe.lake.contract import NULL_KEY, Action, Bound, Contract, Rule
from segpipe.lake.expr import compile_expr
from segpipe.schema import OURS, line_of
from segpipe.values import Column


def compile_contract(
    schema: pa.Schema,
    columns: Sequence[Column],
    mapping: Mapping[str, str],
    keys: Sequence[str] = (),
    rules: Sequence[tuple[str, str, Action]] = (),
    window: tuple[int | None, int | None] | None = None,
    carry: Sequence[str] | Literal["all"] = (),
    time_format: str | None = None,
    untyped: bool = False,
) -> Contract:
    """Bind what a feature set asks for to what the source has.

    ``mapping``: our names to the source's. ``rules``: (name, expression, action). ``window``:
    [from, until) in microseconds UTC on the first time column. ``untyped``: a csv source. Raises
    DataError 65 for missing columns and wrong types (all of them at once), ConfigError 78 for bad
    rules and for a source column that bears one of our names.
    """
    mapped = set(mapping.values())
    taken = sorted(name for name in schema.names if name.lower() in OURS and name not in mapped)
    if taken:
        raise ConfigError(
            f"the source has columns {taken}, which are names that segpipe writes.",
            "rename them, or map them to other names under source.columns.",
        )
    asked = _with_keys(columns, keys)
    bound = _bind(asked, schema, mapping)
    names = {ours: theirs for ours, theirs in mapping.items() if theirs in schema.names}
    names |= {column.name: column.name for column in bound}
    # Ours by mapping first, then the source's own.
    known = {*schema.names, *(column.name for column in bound)}
    compiled = tuple(
        Rule(name, compile_expr(text, names, known), action) for name, text, action in rules
    )
    kept = [n for n in schema.names if n != line_of(schema)] if carry == "all" else list(carry)
    absent = [name for name in kept if name not in schema.names]
    if absent:
        raise DataError(f"columns {absent} are to be kept but the source lacks them.", "")
    contract = Contract(
        source=schema.remove_metadata(),
        columns=bound,
        keys=tuple(keys),
        rules=compiled,
        carried=tuple(name for name in kept if name.lower() not in OURS),
        window=window,
        time_column=next((column.name for column in bound if column.kind == "time"), None),
        time_format=time_format,
        untyped=untyped,
    )
    # Types that an expression cannot work with show on an empty batch.
    contract.judge(pa.RecordBatch.from_pylist([], schema=contract.source))
    return contract


def _with_keys(columns: Sequence[Column], keys: Sequence[str]) -> list[Column]:
    """Keys first, as kind key, whatever else asks for them."""
    by_name = {column.name: column for column in columns}
    clashing = [k for k in keys if k in by_name and by_name[k].kind not in ("key", "text", "any")]
    if clashing:
        kinds = {key: by_name[key].kind for key in clashing}
        raise ConfigError(
            f"contract.keys names {clashing}, which the feature set reads as {kinds}.",
            "choose other keys, or map the key column to a second name under source.columns.",
        )
    first = [Column(key, "key", required=True, nulls=NULL_KEY) for key in keys]
    return first + [column for column in columns if column.name not in set(keys)]


def _bind(
    asked: Sequence[Column], schema: pa.Schema, mapping: Mapping[str, str]
) -> tuple[Bound, ...]:
    bound, missing, wrong = [], [], []
    for column in asked:
        source = mapping.get(column.name, column.name)
        if source not in schema.names:
            # An explicit mapping to a column that is not there is a mistake even if optional.
            if column.required or column.name in mapping:
                missing.append(
                    column.name if source == column.name else f"{column.name} ({source})"
                )
            continue
        stored = schema.field(source).type
        if not convert.fits(stored, column.kind):
            wrong.append(f"{source!r} is {stored}, asked is {column.kind}")
            continue
        result = convert.result_type(stored, column.kind)
        bound.append(
            Bound(column.name, source, column.kind, column.required, column.nulls, stored, result)
        )
    if missing:
        raise DataError(
            f"the source lacks required columns {missing}; it has {schema.names}.",
            "map them under source.columns.",
        )
    if wrong:
        raise DataError(
            f"columns of a wrong type: {'; '.join(wrong)}.",
            "map other columns under source.columns, or convert them in the source.",
        )
    return tuple(bound)
