"""Names of connection columns in the logs people have: KDD / NSL-KDD, Zeek conn.log, nfstream."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

ALIASES: Mapping[str, tuple[str, ...]] = {
    "src": ("id.orig_h", "id_orig_h", "orig_h", "src_ip"),
    "src_port": ("id.orig_p", "id_orig_p", "orig_p"),
    "dst": ("id.resp_h", "id_resp_h", "resp_h", "dst_ip"),
    "dst_port": ("id.resp_p", "id_resp_p", "resp_p"),
    "proto": ("protocol_type", "protocol"),
    "service": ("application_name",),
    "flag": ("conn_state",),
    "duration_ms": ("bidirectional_duration_ms",),
    "src_bytes": ("orig_bytes", "src2dst_bytes"),
    "dst_bytes": ("resp_bytes", "dst2src_bytes"),
    "src_packets": ("orig_pkts", "src2dst_packets"),
    "dst_packets": ("resp_pkts", "dst2src_packets"),
    "ts": ("bidirectional_first_seen_ms",),
}
"""Ours -> other people's names, first match wins. Nothing else of a foreign log is read.

Zeek's dots become underscores, or its record is unpacked, on the way into many tables.
"""

KDD = [
    "land",
    "wrong_fragment",
    "urgent",
    "hot",
    "num_failed_logins",
    "logged_in",
    "num_compromised",
    "root_shell",
    "su_attempted",
    "num_root",
    "num_file_creations",
    "num_shells",
    "num_access_files",
    "num_outbound_cmds",
    "is_host_login",
    "is_guest_login",
    "count",
    "srv_count",
    "serror_rate",
    "srv_serror_rate",
    "rerror_rate",
    "srv_rerror_rate",
    "same_srv_rate",
    "diff_srv_rate",
    "srv_diff_host_rate",
    "dst_host_count",
    "dst_host_srv_count",
    "dst_host_same_srv_rate",
    "dst_host_diff_srv_rate",
    "dst_host_same_src_port_rate",
    "dst_host_srv_diff_host_rate",
    "dst_host_serror_rate",
    "dst_host_srv_serror_rate",
    "dst_host_rerror_rate",
    "dst_host_srv_rerror_rate",
]
"""Numeric columns of KDD Cup 99 besides duration and bytes (archive.ics.uci.edu, dataset 130)."""

KNOWN = (
    *("ts", "src", "src_port", "dst", "dst_port", "proto", "service", "flag"),
    *("duration", "duration_ms", "src_bytes", "dst_bytes", "src_packets", "dst_packets"),
    *KDD,
)


def completed(schema: pa.Schema, mapping: Mapping[str, str]) -> dict[str, str]:
    """``mapping`` with the aliases found in ``schema``.

    What the user mapped, or a column that already bears our name, goes first.
    """
    result = dict(mapping)
    used = set(result.values())
    for ours, others in ALIASES.items():
        if ours in result or (ours in schema.names and ours not in used):
            continue
        theirs = next((n for n in others if n in schema.names and n not in used), None)
        if theirs is not None:
            result[ours] = theirs
    return result
