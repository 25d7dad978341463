"""Any table with one row per entity: its numeric and few-valued columns are the features."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.features.plan import Built, Plan, Request, unmapped
from segpipe.features.typing import TextFacts
from segpipe.values import Column

TIME = "ts"
"""Where this name is mapped or present it is the time of the row, never a feature."""


def unsure(schema: pa.Schema, mapping: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """Text columns that may be numbers, categories or neither."""
    names = unmapped(schema, mapping)
    wanted = names if request.columns is None else [n for n in request.columns if n in names]
    chosen = _chosen_categories(request)
    return tuple(
        names[name]
        for name in wanted
        if name not in request.keys
        and name not in chosen
        and name not in (TIME, request.weight)
        and _is_text(schema.field(names[name]).type)
    )


def plan(
    schema: pa.Schema,
    mapping: Mapping[str, str],
    request: Request,
    facts: Mapping[str, TextFacts],
) -> Plan:
    """Numbers and categories among the source's columns; keys and times are neither.

    Raises
    ------
    DataError
        A named column is absent, or nothing can serve as a feature.
    """
    names = unmapped(schema, mapping)
    chosen = _chosen_categories(request)
    asked = request.columns
    absent = [n for n in (*(asked or ()), *chosen) if n not in names]
    if absent:
        raise DataError(
            f"features.columns or categorical names {absent}; the source has {sorted(names)}.",
            hint="correct the names, or map them under source.columns",
        )
    numeric, categorical, warnings = [], [], []
    wanted = dict.fromkeys(names) if asked is None else dict.fromkeys([*asked, *chosen])
    for name in wanted:
        if name == request.weight:
            continue
        if name in request.keys or name == TIME:
            if asked is not None:
                warnings.append(f"column {name!r} is a key or the time")
            continue
        kind, found = schema.field(names[name]).type, facts.get(names[name])
        role = _role(name, kind, found, request, asked is not None)
        if role == "number":
            numeric.append(name)
        elif role == "category":
            categorical.append(name)
        elif role:
            warnings.append(f"column {name!r} is no feature: {role}")
    if asked is not None and warnings:
        raise DataError(
            f"features.columns asks for what cannot be a feature: {'; '.join(warnings)}.",
            hint="name number or category columns, or leave features.columns out",
        )
    if not numeric and not categorical:
        raise DataError(
            f"no column can serve as a feature; {'; '.join(warnings) or 'there is none'}.",
            hint="name numeric or category columns in features.columns",
        )
    must = asked is not None
    columns = [Column(name, "number", required=must) for name in numeric]
    for name in categorical:
        kind = schema.field(names[name]).type
        # cells.texts spells whole floats as integers; the contract's own text does not promise it.
        columns.append(Column(name, "text" if _is_text(kind) else "any", required=must))
    if TIME in names:
        columns.append(Column(TIME, "time"))
    return Plan(
        tuple(columns),
        dict(mapping),
        tuple(numeric),
        tuple(categorical),
        tuple(asked or ()),
        request,
        tuple(warnings),
    )


def build(engine: Engine, frame: Frame, schema: pa.Schema, plan: Plan) -> Built:
    """The accepted rows as they are."""
    del engine
    numeric = tuple(name for name in plan.numeric if name in schema.names)
    categorical = tuple(name for name in plan.categorical if name in schema.names)
    return Built(frame, schema, plan.request.keys, numeric, categorical, numeric + categorical)


def _chosen_categories(request: Request) -> tuple[str, ...]:
    return request.categorical if isinstance(request.categorical, tuple) else ()


def _role(name: str, kind: Any, facts: TextFacts | None, request: Request, named: bool) -> str:
    """number, category, or the reason why neither ('' where nobody expects a feature)."""
    if name in _chosen_categories(request):
        return "category"
    if _is_number(kind):
        return "number"
    if not _is_text(kind):
        return f"its type is {kind}" if named else ""
    return _text_role(facts or TextFacts(), request, named)


def _text_role(facts: TextFacts, request: Request, named: bool) -> str:
    if facts.is_number:
        return "number"
    if not facts.filled:
        return "it has no value"
    # A list says which unnamed text columns count; a named column counts unless none may.
    if request.categorical == "none" or (request.categorical != "auto" and not named):
        return "it is text and not among features.categorical" if named else ""
    # A named column is wanted even if wide: the scaler gathers its rare levels.
    wide = facts.levels is None and not named
    return "it is text with more than 30 values" if wide else "category"


def _is_text(kind: Any) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    )


def _is_number(kind: Any) -> bool:
    return bool(
        pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_decimal(kind)
        or pa.types.is_boolean(kind)
    )
