"""A connection as windows see it: a few integers, the same whatever the source's types."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.features.signs import failed, service
from segpipe.kernels.cells import numbers
from segpipe.kernels.crowds import Crowds
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
        ("proto", pa.uint16()),
    ]
)
"""45 bytes a row; addresses, ports and services as hashes."""
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

        def hashed(name: str) -> Whole:
            return hash_rows(batch, [name], 0) if name in have else np.zeros(n, np.uint64)

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
            pa.array(_short(service(batch))),
            pa.array(_size(batch)),
            pa.array(failed(batch).astype(np.uint8)),
            pa.array(known),
            pa.array((hashed("proto") >> np.uint64(48)).astype(np.uint16)),
        ]
        records = pa.RecordBatch.from_arrays(arrays, schema=RECORD)
        return records.filter(timed) if ts.null_count else records


def flows_of(records: pa.RecordBatch) -> Flows:
    """What the kernel takes; short hashes are mixed up to 64 bits again."""
    of = {name: records.column(name).to_numpy() for name in RECORD.names}
    port, asked = (splitmix64(of[name].astype(np.uint64)) for name in ("port", "service"))
    return Flows(
        of["ts"], of["src"], of["dst"], port, asked, of["failed"], of["size"], of["known"],
        of["proto"].astype(np.uint64),
    )  # fmt: skip


CROWDS = pa.schema([("rows", pa.int64()), ("table", pa.string()), ("cells", pa.list_(pa.uint32()))])


def crowds_stored(crowds: Crowds) -> Iterator[pa.RecordBatch]:
    """As rows of ``CROWDS``."""
    for said in (crowds.counts, crowds.failed):
        for table, cells in said.items():
            for row in cells:
                held = pa.ListArray.from_arrays([0, len(row)], pa.array(row))
                yield pa.RecordBatch.from_arrays(
                    [pa.array([crowds.rows]), pa.array([table]), held], schema=CROWDS
                )


def crowds_of(batches: Iterable[pa.RecordBatch]) -> Crowds:
    """What was stored."""
    held = [
        (b["rows"][0].as_py(), b["table"][0].as_py(), b["cells"].values.to_numpy()) for b in batches
    ]
    half = len(held) // 2
    names = dict.fromkeys(name for _, name, _ in held)

    def tables(part: Sequence[Any]) -> dict[str, Any]:
        return {name: np.array([cells for _, n, cells in part if n == name]) for name in names}

    return Crowds(held[0][0], tables(held[:half]), tables(held[half:]))


def _short(hashes: Whole) -> npt.NDArray[np.uint32]:
    return (hashes >> np.uint64(32)).astype(np.uint32)


def _size(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    if "src_bytes" not in batch.schema.names:
        return np.zeros(batch.num_rows, np.int64)
    sent = np.nan_to_num(numbers(batch.column("src_bytes")), nan=0.0, posinf=BYTES)
    whole: npt.NDArray[np.int64] = np.rint(np.clip(sent, 0, BYTES)).astype(np.int64)
    return whole
