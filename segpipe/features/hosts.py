"""Hosts: one row per source, per source and destination, or per day of either.

The rows become a few integers each: times, sizes, hashes of addresses, ports and services. They
are sorted by host, the only shuffle; all else is NumPy over whole hosts (``features.endpoints``).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.engines.protocol import Engine, Frame
from segpipe.errors import DataError
from segpipe.features import endpoints, signs
from segpipe.features.endpoints import Hosts
from segpipe.features.names import completed
from segpipe.features.plan import Built, Plan, Request, unmapped
from segpipe.features.typing import TextFacts
from segpipe.kernels.cells import numbers
from segpipe.kernels.hashing import hash_rows
from segpipe.values import Column

DAY = "day"
"""A key of this name is the UTC day of the connection, where the source has no such column."""
KINDS = {
    "ts": "time",
    "src": "text",
    "dst": "text",
    "dst_port": "text",
    "proto": "text",
    "service": "text",
    "flag": "text",
    "src_bytes": "number",
    "dst_bytes": "number",
    "dst_packets": "number",
}
"""Columns that are read, and how."""
DISTANCE = (
    "bytes_out",
    "upload_ratio",
    "night_share",
    "fan_out",
    "dst_entropy",
    "port_fan_out",
    "port_entropy",
    "service_entropy",
    "failed_share",
    "beacon_regularity",
    "pair_rarity",
    "rare_service_share",
)
"""Default features of the distance: how a host behaves. How much it does (connections, hours, bytes
received, equal sizes) tells servers from clients, not odd from usual: such hosts then come before
the scanner of a capture (DECISIONS.md). All features are columns of the label table;
features.columns chooses among all of them."""
RARE = 0.01
"""A service is rare below this share of the table's connections."""
_DAY_US = 86_400_000_000
_MOST = 2.0**60
_WHOLE = pa.int64()


def unsure(schema: pa.Schema, mapping: Mapping[str, str], request: Request) -> tuple[str, ...]:
    """None: every column has a known kind."""
    del schema, mapping, request
    return ()


def plan(
    schema: pa.Schema,
    mapping: Mapping[str, str],
    request: Request,
    facts: Mapping[str, TextFacts],
) -> Plan:
    """The keys, and any of ts, dst, dst_port, proto, service, flag and the bytes.

    Raises
    ------
    DataError
        A key or everything to describe it by is missing, or features.columns names no feature.
    """
    del facts
    mapping = completed(schema, mapping)
    names = unmapped(schema, mapping)
    derived = tuple(key for key in request.keys if key == DAY and key not in names)
    keys = tuple(key for key in request.keys if key not in derived)
    if derived and not keys:
        raise DataError(
            "contract.keys names the day alone.", hint="name a host too, e.g. [src, day]"
        )
    columns = [Column(key, "key", True, "null_key") for key in keys]
    for name, kind in KINDS.items():
        if name in names and name not in keys:
            when = name == "ts"
            columns.append(Column(name, kind, when, "null_value" if when else "keep"))
    if derived and "ts" not in names:
        raise DataError(
            f"contract.keys names {DAY!r}, but the source has no ts; it has {sorted(names)}.",
            hint="map the time under source.columns, e.g. {ts: start_time}",
        )
    known = endpoints.names(cells_of([column.name for column in columns]))
    if len(known) < 2:
        raise DataError(
            f"hosts are described by any of {', '.join(n for n in KINDS if n != 'src')}; the "
            f"source has {sorted(names)}.",
            hint="map them under source.columns, e.g. {dst: peer, src_bytes: bytes_out}",
        )
    absent = [name for name in request.columns or () if name not in known]
    if absent:
        raise DataError(
            f"features.columns names {absent}; hosts can give {', '.join(known)} here.",
            hint="correct the names; other features need more columns mapped",
        )
    usual = tuple(name for name in DISTANCE if name in known) or known
    return Plan(
        tuple(columns),
        mapping,
        request.columns or usual,
        (),
        tuple(request.columns or ()),
        request,
        derived_keys=derived,
        lone_key=True,
    )


def cells_of(columns: list[str]) -> tuple[str, ...]:
    """The integers that these columns of ours give."""
    have = set(columns)
    made = {
        "_ts": have & {"ts"},
        "_dst": have & {"dst"},
        "_port": have & {"dst_port"},
        "_service": have & {"service", "dst_port", "proto"},
        "_out": have & {"src_bytes"},
        "_in": have & {"dst_bytes"},
        "_failed": have & {"flag", "dst_packets", "dst_bytes"},
        "_rare": have & {"service", "dst_port", "proto"},
    }
    return tuple(cell for cell, by in made.items() if by)


def build(engine: Engine, frame: Frame, schema: pa.Schema, plan: Plan) -> Built:
    """One row per key, computed once: the keys, then float64 features in readable units."""
    keys = plan.request.keys
    cells = cells_of(schema.names)
    key_fields = [
        pa.field(k, pa.date32()) if k in plan.derived_keys else schema.field(k) for k in keys
    ]
    whole = [
        pa.field(cell, pa.int8() if cell in ("_failed", "_rare") else _WHOLE) for cell in cells
    ]
    lines = pa.schema([*key_fields, *whole])
    census: Census = engine.fold(frame, Counting(), Census.merged)
    rows = engine.map_batches(frame, Lines(lines, keys, census.rare()), lines)
    features = endpoints.names(cells)
    result = pa.schema([*key_fields, *(pa.field(name, pa.float64()) for name in features)])
    table = engine.group_map(rows, keys, (), Hosts(result, keys, max(census.rows, 1)), result)
    return Built(engine.persist(table), result, keys, plan.numeric, (), features, as_rows=False)


@dataclass(frozen=True, slots=True)
class Census:
    """Connections of the table, by service; at most a few for each protocol and port."""

    rows: int = 0
    services: Mapping[int, int] | None = None

    def merged(self, other: Census) -> Census:
        """Counts of both parts."""
        total = dict(self.services or {})
        for unit, rows in (other.services or {}).items():
            total[unit] = total.get(unit, 0) + rows
        return Census(self.rows + other.rows, total)

    def rare(self) -> npt.NDArray[np.uint64]:
        """Services below ``RARE``, ascending."""
        found = [unit for unit, rows in (self.services or {}).items() if rows < RARE * self.rows]
        return np.array(sorted(found), np.uint64)


@dataclass(frozen=True, slots=True)
class Counting:
    """Fold step: the census of a part."""

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Census:
        """Rows and services."""
        found = Census()
        for batch in batches:
            units, rows = np.unique(signs.service(batch), return_counts=True)
            counted = dict(zip(units.tolist(), rows.tolist(), strict=True))
            found = found.merged(Census(batch.num_rows, counted))
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Lines:
    """Accepted rows to the integers that ``Hosts`` reads; see there for the columns."""

    schema: pa.Schema
    keys: tuple[str, ...]
    rare: npt.NDArray[np.uint64]

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class."""
        service = signs.service(batch)
        make: dict[str, Any] = {
            "_ts": lambda: batch.column("ts"),
            "_dst": lambda: _hashed(batch, "dst"),
            "_port": lambda: _hashed(batch, "dst_port"),
            "_service": lambda: pa.array(service.view(np.int64)),
            "_out": lambda: _bytes(batch, "src_bytes"),
            "_in": lambda: _bytes(batch, "dst_bytes"),
            "_failed": lambda: pa.array(signs.failed(batch).astype(np.int8)),
            "_rare": lambda: pa.array(np.isin(service, self.rare).astype(np.int8)),
        }
        arrays = []
        for field in self.schema:
            if field.name in batch.schema.names:
                arrays.append(batch.column(field.name))
            elif field.name == DAY:
                ts = batch.column("ts").to_numpy(zero_copy_only=False)
                arrays.append(pa.array((ts // _DAY_US).astype(np.int32)).cast(pa.date32()))
            else:
                arrays.append(make[field.name]())
        return pa.RecordBatch.from_arrays(arrays, schema=self.schema)


def _hashed(batch: pa.RecordBatch, name: str) -> pa.Array:
    """A hash of the value; null where there is none."""
    unit = pa.array(hash_rows(batch, [name], 0).view(np.int64))
    column = batch.column(name)
    if not column.null_count:
        return unit
    return pc.if_else(column.is_valid(), unit, pa.scalar(None, _WHOLE))


def _bytes(batch: pa.RecordBatch, name: str) -> pa.Array:
    """Whole bytes; none where the log tells none."""
    size = np.nan_to_num(numbers(batch.column(name)), nan=0.0, posinf=_MOST)
    return pa.array(np.rint(np.clip(size, 0, _MOST)).astype(np.int64))
