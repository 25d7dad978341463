"""What a connection is told by, whatever the log: whether it failed, and which service it asked."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.kernels.cells import numbers, texts
from segpipe.kernels.hashing import hash_rows

FAILED = frozenset({"S0", "REJ", "RSTO", "RSTR", "RSTOS0", "RSTRH", "SH"})
"""Zeek's conn_state (KDD's flag has the same names): no answer, a refusal, or an end by force."""
_MANY = r"^(22[4-9]|23[0-9])\.|\.255$|^[fF]{2}[0-9a-fA-F]{2}:"
"""Multicast and broadcast addresses: nobody is meant to answer."""

Mask = npt.NDArray[np.bool_]


def failed(batch: pa.RecordBatch) -> Mask:
    """(n,) connections that nobody answered or that were refused or cut off.

    By the state where the log tells one, else by the packets or bytes that came back. What goes to
    everybody at once (multicast, broadcast) never fails.
    """
    have = batch.schema.names
    if "flag" in have:
        found = np.asarray(pc.is_in(texts(batch.column("flag")), pa.array(sorted(FAILED))), bool)
    else:
        found = np.zeros(batch.num_rows, bool)
        back = next((name for name in ("dst_packets", "dst_bytes") if name in have), None)
        if back is not None:
            found = np.asarray(numbers(batch.column(back)) == 0, bool)
    if "dst" in have and found.any():
        places = texts(batch.column("dst"))
        asked = places.filter(pa.array(found)).unique()
        many = asked.filter(pc.match_substring_regex(asked, _MANY))
        if len(many):
            found &= ~np.asarray(pc.is_in(places, many), bool)
    return found


def service(batch: pa.RecordBatch) -> npt.NDArray[np.uint64]:
    """(n,) hash of the service; where the log names none, protocol and port stand for it."""
    have = batch.schema.names
    asked = [name for name in ("proto", "dst_port") if name in have]

    def spare(rows: pa.RecordBatch) -> npt.NDArray[np.uint64]:
        return hash_rows(rows, asked, 0) if asked else np.zeros(rows.num_rows, np.uint64)

    if "service" not in have:
        return spare(batch)
    found = hash_rows(batch, ["service"], 0)
    unnamed = batch.column("service").is_null()
    rows = np.flatnonzero(unnamed.to_numpy(zero_copy_only=False))
    if len(rows):
        found[rows] = spare(batch.select(asked).take(pa.array(rows)))
    return found
