"""Flows or connections: one row per log row, from that row and the windows that end with it.

Only columns of known meaning are read: identifiers, addresses, port numbers as magnitudes, labels
and anything unknown never enter a distance. Ports and categories enter as surprisal (-log share).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.features.names import KDD, KNOWN, completed
from segpipe.features.plan import Built, Plan, Request, unmapped
from segpipe.features.timeline import windowed
from segpipe.features.typing import TextFacts
from segpipe.features.windows import BURST, TELLING, available
from segpipe.kernels.cells import numbers
from segpipe.values import Column, Floats

CATEGORIES = ("proto", "service", "flag", "dst_port")
AMOUNTS = ("duration", "src_bytes", "dst_bytes", "src_packets", "dst_packets")
MEASURES = ("duration", "duration_ms", "src_bytes", "dst_bytes")
DERIVED: Mapping[str, tuple[str, ...]] = {
    "bytes_ratio": ("src_bytes", "dst_bytes"),
    "bytes_per_second": ("duration", "src_bytes"),
    "bytes_per_packet": ("src_packets", "src_bytes"),
}
"""Our features -> the columns they need."""


def unsure(schema: pa.Schema, mapping: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """None: every column that is read has a known kind."""
    del schema, mapping, request
    return ()


def plan(
    schema: pa.Schema,
    mapping: Mapping[str, str],
    request: Request,
    facts: Mapping[str, TextFacts],
) -> Plan:
    """Any of the known columns; at least one of duration and the bytes.

    Raises
    ------
    DataError
        No measure is there, or features.columns names something this set does not know.
    """
    del facts
    mapping = completed(schema, mapping)
    names = unmapped(schema, mapping)
    found = [name for name in KNOWN if name in names]
    if not any(name in found for name in MEASURES):
        raise DataError(
            f"connections needs one of duration, src_bytes, dst_bytes; the source has "
            f"{sorted(names)}.",
            hint="map them under source.columns, e.g. {src_bytes: bytes_out}",
        )
    columns = []
    for name in found:
        if name in request.keys:
            continue
        if name in ("src", "dst", "src_port"):
            columns.append(Column(name, "any"))
        else:
            kind = "time" if name == "ts" else "text" if name in CATEGORIES else "number"
            columns.append(Column(name, kind))
    numeric, categorical = _features(found)
    if request.columns is not None:
        known = (*numeric, *categorical)
        absent = [name for name in request.columns if name not in known]
        if absent:
            raise DataError(
                f"features.columns names {absent}; connections can give {', '.join(known)} here.",
                hint="use features.set: columns for other columns",
            )
        numeric = tuple(n for n in numeric if n in request.columns)
        categorical = tuple(n for n in categorical if n in request.columns)
    else:
        numeric, categorical = _distance(numeric, categorical, available(found).names)
    if request.categorical == "none":
        categorical = ()
    elif isinstance(request.categorical, tuple):
        categorical = tuple(n for n in categorical if n in request.categorical)
    required = tuple(request.columns or ())
    shuffles = bool(set(numeric) & set(available(found).names))
    return Plan(tuple(columns), mapping, numeric, categorical, required, request, shuffles=shuffles)


def build(engine: Engine, frame: Frame, schema: pa.Schema, plan: Plan) -> Built:
    """The accepted rows with ``duration`` in seconds and the derived columns added."""
    numeric, categorical = _features(schema.names)
    moving = available(schema.names)
    if plan.request.columns is not None:
        kept = moving.only(plan.numeric, plan.request.bursts)
        numeric = tuple(n for n in numeric if n in kept.names or n not in moving.names)
        moving = kept
    if moving.names:
        if plan.request.scratch is None:
            raise ValueError("windows leave files in Request.scratch")
        frame, schema = windowed(engine, frame, schema, moving, plan.request.scratch)
    added = [
        name
        for name in numeric
        if name not in schema.names and (name in DERIVED or name == "duration")
    ]
    result = pa.schema([*schema, *(pa.field(name, pa.float64()) for name in added)])
    flows = engine.map_batches(frame, Flows(result, tuple(added)), result)
    return Built(
        flows,
        result,
        plan.request.keys,
        tuple(n for n in plan.numeric if n in result.names),
        tuple(n for n in plan.categorical if n in result.names),
        (*numeric, *categorical),
        aside=tuple(n for n in moving.names if n not in plan.numeric and n != BURST),
        logs=AMOUNTS if moving.names else (),
    )


def _distance(
    numeric: tuple[str, ...], categorical: tuple[str, ...], moving: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The features that enter the distance unless the user names others.

    Without windows all of them. With windows few: every further fan-out or count that was tried
    hides the attacks of one log or another (DECISIONS.md); they stay columns of the label table.
    """
    if not moving:
        return numeric, categorical
    kept = tuple(n for n in numeric if n in TELLING or (n not in moving and n not in DERIVED))
    return kept, tuple(n for n in categorical if n != "dst_port")


@dataclass(frozen=True, slots=True)
class Flows:
    """Adds the derived columns to a batch of flows."""

    schema: pa.Schema
    added: tuple[str, ...]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class; a row with a missing operand has a missing result."""
        arrays = list(batch.columns)
        cells = {
            name: numbers(batch.column(name))
            for name in (*AMOUNTS, "duration_ms")
            if name in batch.schema.names
        }
        if "duration" not in cells and "duration_ms" in cells:
            cells["duration"] = cells["duration_ms"] / 1000.0
        arrays += [pa.array(_derived(name, cells)) for name in self.added]
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _features(names: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(numeric, categorical) features that these columns give, in a fixed order."""
    have = set(names)
    if "duration_ms" in have:
        have.add("duration")
    derived = [name for name, needs in DERIVED.items() if have.issuperset(needs)]
    numeric = [n for n in AMOUNTS if n in have] + derived + [n for n in KDD if n in have]
    numeric += available(names).names
    return tuple(numeric), tuple(n for n in CATEGORIES if n in have)


def _derived(name: str, cells: Mapping[str, Floats]) -> Floats:
    if name == "duration":
        return cells["duration"]
    out = np.maximum(cells["src_bytes"], 0.0)
    back = np.maximum(cells["dst_bytes"], 0.0) if "dst_bytes" in cells else np.zeros(len(out))
    if name == "bytes_ratio":
        # Natural log: +1 = e times as much sent as received.
        return np.log((out + 1.0) / (back + 1.0))
    if name == "bytes_per_second":
        # One second is added: logs round short durations to 0, and a rate must not explode there.
        return (out + back) / (np.maximum(cells["duration"], 0.0) + 1.0)
    packets = cells["src_packets"] + cells.get("dst_packets", np.zeros(len(out)))
    return (out + back) / np.maximum(packets, 1.0)
