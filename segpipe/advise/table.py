"""A table as ``advise`` finds it: its format, its feature set, its key, and a scaled sample."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe import configfile
from segpipe.config import Config
from segpipe.engines.open import open_engine
from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError, DataError
from segpipe.features.names import KNOWN, completed
from segpipe.features.sets import SETS
from segpipe.lake.scratch import Scratch
from segpipe.lake.tables import open_table
from segpipe.pipeline import reading_of
from segpipe.stages import described, intake
from segpipe.values import Table

SAMPLE_ROWS = 50_000
KEY_ROWS = 65_536
"""Rows whose values must all differ for a column called an identifier to be one."""
_NAMES = ("id", "key", "uuid", "guid", "index", "number", "nr", "no")
PURCHASES = {
    "customer_id": r"(customer|client|user|member|buyer)[ _-]?(id|no|number|key)",
    "ts": r"ts|((invoice|order|purchase|transaction|event)[ _-]?)?(date|time|timestamp|datetime)",
    "order_id": r"(invoice|order|transaction|basket)[ _-]?(id|no|number)",
    "quantity": r"quantity|qty",
    "price": r"(unit[ _-]?)?price",
    "amount": r"(total[ _-]?)?(amount|revenue|sales|spend)",
}
"""Our names, and what others call the same."""
_ENDS = {".csv": "csv", ".tsv": "csv", ".txt": "csv", ".gz": "csv", ".log": "zeek"}


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """The table, described; ``tree`` is the config that reads it so."""

    tree: dict[str, Any]
    seen: described.Described
    rows: int
    notes: tuple[str, ...]
    """What was assumed or left out, in sentences."""


def look_at(uri: str, columns: Sequence[str] | None, seed: int = 0) -> Seen:
    """Read a table once or twice with the local engine, keeping a hash sample of its rows.

    Raises
    ------
    InputMissing, DataError
        As a run of the same table would.
    """
    tree: dict[str, Any] = {
        "job": Path(uri.rstrip("/*")).stem or "advice",
        "source": {"uri": uri, "format": format_of(uri)},
        "features": {"columns": None if columns is None else list(columns)},
        "target": {"uri": f"{Path(uri.rstrip('/*')).stem or 'advice'}-segments"},
        "seed": seed,
    }
    notes: list[str] = []
    draft = configfile.validate(tree, "the table")
    table = open_table(uri, draft.source.format, reading_of(draft), None, (), {})
    with (
        open_engine("local") as engine,
        tempfile.TemporaryDirectory(prefix="segpipe-advise-") as folder,
    ):
        if columns is None:
            known = _known(table, tree)
            if known is not None:
                try:
                    return _seen(engine, table, *known, folder)
                except (DataError, ConfigError) as error:  # its columns only look like those
                    notes.append(f"read as any table: {error.message}")
            notes += _without_identifiers(engine, table, tree)
        return _seen(engine, table, tree, notes, folder)


def _seen(
    engine: Engine, table: Table, tree: dict[str, Any], notes: Sequence[str], folder: str
) -> Seen:
    seen, said = _described(engine, table, configfile.validate(tree, "the table"), folder)
    if seen.description.rows < 2:
        raise DataError("the table has one usable row; nothing can be compared with it.")
    return Seen(tree, seen, seen.description.rows, (*notes, *said))


def format_of(uri: str) -> str:
    """Delta where a log lies, else by the file's ending or that of a folder's files."""
    path = Path(uri)
    if (path / "_delta_log").is_dir():
        return "delta"
    suffix = path.suffix.lower()
    if not suffix and path.is_dir():
        files = (p for p in sorted(path.rglob("*")) if p.is_file() and p.name[0] not in "._")
        suffix = next((p.suffix.lower() for p in files), "")
    return _ENDS.get(suffix, "parquet")


def _described(
    engine: Engine, table: Table, c: Config, folder: str
) -> tuple[described.Described, list[str]]:
    """One pass for tables of rows; customers and hosts are built first."""
    featureset = SETS[c.features.set]
    plan = intake.plan_for(engine, table, c.source, c.contract, c.features)
    plan = replace(plan, request=replace(plan.request, scratch=Scratch(folder)))
    terms = intake.compiled(table, plan, c.source, c.contract, None, ())
    looking = partial(described.looking, sample_rows=SAMPLE_ROWS, seed=c.seed, rows=None)
    first = not featureset.keys and not plan.shuffles
    taken = intake.take_in(
        engine, table, plan, terms, None, "keep", featureset, looking if first else None
    )
    intake.gates(taken, c.contract.max_reject_share, first)
    built = taken.build(engine, featureset)
    seen = described.look(
        engine, built, featureset, c.features.scale, plan.required,
        c.features.columns is not None, looking(built), taken.found,
    )  # fmt: skip
    return seen, seen.warnings(taken.warnings)


def _known(table: Table, tree: dict[str, Any]) -> tuple[dict[str, Any], list[str]] | None:
    """Config and note of a table of purchases or connections, told by its columns' names."""
    names = table.schema.names
    mapped = {
        ours: theirs
        for ours, pattern in PURCHASES.items()
        if (theirs := next((n for n in names if re.fullmatch(pattern, n, re.I)), None))
    }
    paid = "amount" in mapped or {"quantity", "price"} <= set(mapped)
    if {"customer_id", "ts"} <= set(mapped) and paid:
        kept = {o: t for o, t in mapped.items() if o != t}
        source = tree["source"] | ({"columns": kept} if kept else {})
        note = "the rows are purchases: features.set rfm describes each customer by them"
        return {**tree, "source": source, "features": {"set": "rfm"}}, [note]
    known = set(completed(table.schema, {})) | (set(names) & set(KNOWN))
    if "proto" in known and len(known & set(KNOWN)) > 4:
        note = "the rows are connections: their columns are those of features.set connections"
        return {**tree, "features": {"set": "connections"}}, [note]
    return None


def _without_identifiers(engine: Engine, table: Table, tree: dict[str, Any]) -> list[str]:
    """Make an identifier the key, if it tells rows apart, and no feature in any case."""
    likely = [f.name for f in table.schema if _says_identifier(f.name) and _countable(f.type)]
    if not likely:
        return []
    found: dict[str, bool] = engine.fold(
        engine.scan(table, likely), partial(_distinct, tuple(likely)), _both
    )
    notes = []
    key = next((name for name in likely if found.get(name)), None)
    if key is not None:
        tree["contract"] = {"keys": [key]}
        notes.append(f"{key} tells rows apart: it is the key, no feature")
    c = configfile.validate(tree, "the table")
    plan = intake.plan_for(engine, table, c.source, c.contract, c.features)
    features = [*plan.numeric, *plan.categorical]
    if named := [name for name in features if name in likely]:
        tree["features"] = {"columns": [name for name in features if name not in named]}
        notes.append(
            f"{', '.join(named)}: left out, an identifier is no feature; if rows are events, "
            "describe what it identifies (features.set rfm or hosts)"
        )
    return notes


def _distinct(names: tuple[str, ...], batches: Any) -> dict[str, bool]:
    """Whether the first rows of one part hold each value once."""
    found = {}
    for batch in batches:
        if batch.num_rows:
            for name in names:
                column = batch.column(name).slice(0, KEY_ROWS)
                held = pc.count_distinct(column, mode="all").as_py()
                found[name] = held == len(column) > 1 and column.null_count == 0
            break
    return found


def _both(a: dict[str, bool], b: dict[str, bool]) -> dict[str, bool]:
    return {name: a.get(name, True) and b.get(name, True) for name in {*a, *b}}


def _says_identifier(name: str) -> bool:
    """``customer_id``, ``CustomerID``, ``row-no``, ``id``; not ``acid`` or ``piano``."""
    low = name.lower()
    for end in _NAMES:
        if low == end or (
            low.endswith(end) and (not name[-len(end) - 1].isalpha() or name[-len(end)].isupper())
        ):
            return True
    return False


def _countable(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )
