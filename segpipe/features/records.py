"""A connection as windows see it: a few integers, the same whatever the source's types."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.kernels.cells import numbers, texts
from segpipe.kernels.hashing import hash_rows, splitmix64
from segpipe.kernels.windows import BYTES, Flows

RECORD = pa.schema(
    [
        ("row", pa.int32()),
        ("ts", pa.int64()),
        ("src", pa.uint64()),
        ("dst", pa.uint64()),
        ("port", pa.uint32()),
        ("service", pa.uint32()),
        ("size", pa.int64()),
        ("failed", pa.uint8()),
        ("known", pa.uint8()),
    ]
)
"""43 bytes a row; addresses, ports and services as hashes."""
FAILED = frozenset({"S0", "REJ", "RSTOS0", "RSTRH", "SH", "SHR"})
"""States of a connection that was never established (Zeek's conn_state; KDD has the same names)."""

Whole = npt.NDArray[np.uint64]


class Recorder:
    """Accepted rows of one part, batch by batch, to records; rows without a time have none."""

    def __init__(self) -> None:
        self._rows = 0

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """See the class; ``row`` counts the part's rows."""
        have = set(batch.schema.names)
        n = batch.num_rows
        row = np.arange(self._rows, self._rows + n, dtype=np.int32)
        self._rows += n
        ts = batch.column("ts")
        timed = ts.is_valid()

        def hashed(*names: str) -> Whole:
            some = [name for name in names if name in have]
            return hash_rows(batch, some, 0) if some else np.zeros(n, np.uint64)

        known = np.zeros(n, np.uint8)
        for name, bit in (("src", 1), ("dst", 2)):
            if name in have:
                known |= batch.column(name).is_valid().to_numpy(zero_copy_only=False) * np.uint8(
                    bit
                )
        arrays = [
            pa.array(row),
            pc.fill_null(ts, 0),
            pa.array(hashed("src")),
            pa.array(hashed("dst")),
            pa.array(_short(hashed("dst_port"))),
            pa.array(_short(_service(batch, hashed))),
            pa.array(_size(batch)),
            pa.array(_failed(batch)),
            pa.array(known),
        ]
        records = pa.RecordBatch.from_arrays(arrays, schema=RECORD)
        return records.filter(timed) if ts.null_count else records


def flows_of(records: pa.RecordBatch) -> Flows:
    """What the kernel takes; ports and services are mixed up to 64 bits again."""
    of = {name: records.column(name).to_numpy() for name in RECORD.names}
    port, service = (splitmix64(of[name].astype(np.uint64)) for name in ("port", "service"))
    return Flows(
        of["ts"], of["src"], of["dst"], port, service, of["failed"], of["size"], of["known"]
    )


def _short(hashes: Whole) -> npt.NDArray[np.uint32]:
    return (hashes >> np.uint64(32)).astype(np.uint32)


def _service(batch: pa.RecordBatch, hashed: Callable[..., Whole]) -> Whole:
    """The service; where the log names none, protocol and port stand for it."""
    asked = hashed("proto", "dst_port")
    if "service" not in batch.schema.names:
        return asked
    named = batch.column("service").is_valid().to_numpy(zero_copy_only=False)
    return asked if not named.any() else np.where(named, hashed("service"), asked)


def _size(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    if "src_bytes" not in batch.schema.names:
        return np.zeros(batch.num_rows, np.int64)
    sent = np.nan_to_num(numbers(batch.column("src_bytes")), nan=0.0, posinf=BYTES)
    whole: npt.NDArray[np.int64] = np.rint(np.clip(sent, 0, BYTES)).astype(np.int64)
    return whole


def _failed(batch: pa.RecordBatch) -> npt.NDArray[np.uint8]:
    """1 where nobody answered or the attempt was refused; by the packets where no state is told."""
    if "flag" in batch.schema.names:
        state = texts(batch.column("flag"))
        found = pc.is_in(state, pa.array(sorted(FAILED), pa.string()))
        return np.asarray(found, np.uint8)
    for name in ("dst_packets", "dst_bytes"):
        if name in batch.schema.names:
            return np.asarray(numbers(batch.column(name)) == 0, np.uint8)
    return np.zeros(batch.num_rows, np.uint8)
