"""Names of connection columns that need no mapping."""

from __future__ import annotations

import pyarrow as pa
import pytest

from segpipe.features import connections, hosts
from segpipe.features.names import completed
from segpipe.features.plan import Request

ZEEK = ["ts", "uid", "proto", "service", "duration", "orig_bytes", "resp_bytes", "conn_state"]
ZEEK += ["local_orig", "missed_bytes", "history", "orig_pkts", "orig_ip_bytes", "resp_pkts"]
ENDS = {"id.orig_h": "src", "id.orig_p": "src_port", "id.resp_h": "dst", "id.resp_p": "dst_port"}
NFSTREAM = {
    "src_ip": "src",
    "src_port": "src_port",
    "dst_ip": "dst",
    "dst_port": "dst_port",
    "protocol": "proto",
    "bidirectional_first_seen_ms": "ts",
    "bidirectional_duration_ms": "duration_ms",
    "src2dst_packets": "src_packets",
    "src2dst_bytes": "src_bytes",
    "dst2src_packets": "dst_packets",
    "dst2src_bytes": "dst_bytes",
    "application_name": "service",
}
REST = ["id", "expiration_id", "ip_version", "bidirectional_packets", "bidirectional_bytes"]
KDD = ["duration", "protocol_type", "service", "flag", "src_bytes", "dst_bytes", "count", "class"]


@pytest.mark.parametrize(
    "spelt", [str, lambda n: n.replace(".", "_"), lambda n: n.removeprefix("id.")]
)
def test_zeek_with_dots_underscores_or_unpacked(spelt) -> None:
    schema = pa.schema([(n, pa.string()) for n in [*ZEEK, *map(spelt, ENDS)]])
    found = completed(schema, {})
    assert found == {
        **{ours: spelt(theirs) for theirs, ours in ENDS.items()},
        "flag": "conn_state",
        "src_bytes": "orig_bytes",
        "dst_bytes": "resp_bytes",
        "src_packets": "orig_pkts",
        "dst_packets": "resp_pkts",
    }


def test_nfstream() -> None:
    schema = pa.schema([(n, pa.int64()) for n in [*REST, *NFSTREAM]])
    renamed = {ours: theirs for theirs, ours in NFSTREAM.items() if ours != theirs}
    assert completed(schema, {}) == renamed
    flows = connections.plan(schema, {}, Request(), {})
    assert {c.name for c in flows.columns} == set(NFSTREAM.values())
    people = hosts.plan(schema, {}, Request(("src",)), {})
    assert people.mapping["dst"] == "dst_ip" and "failed_share" in people.numeric


def test_kdd_and_own_names_go_first() -> None:
    schema = pa.schema([(n, pa.string()) for n in KDD])
    assert completed(schema, {}) == {"proto": "protocol_type"}
    schema = pa.schema([(n, pa.string()) for n in ["src", "src_ip", "peer", "dst_ip"]])
    assert completed(schema, {"dst": "peer"}) == {"dst": "peer"}
