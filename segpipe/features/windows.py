"""Window columns of connections: which there are, and what they are called."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from segpipe.kernels.windows import GAP, Measure
from segpipe.kernels.windows_loops import (
    COUNT,
    FAILED,
    PEER_ENTROPY,
    PEERS,
    PORT_ENTROPY,
    PORTS,
    SERVICE,
    SIZE,
)

_NEEDS = {
    PEERS: "peer",
    PEER_ENTROPY: "peer",
    GAP: "peer",
    PORTS: "dst_port",
    PORT_ENTROPY: "dst_port",
    SERVICE: "service",
    SIZE: "src_bytes",
    FAILED: "answer",
}
"""Measures that need more than the time and the key."""


def available(names: Collection[str]) -> Mapping[str, Measure]:
    """Name -> measure of the windows that these columns give, in a fixed order; may be none."""
    have = set(names)
    if "ts" not in have:
        return {}
    if have & {"service", "dst_port", "proto"}:
        have.add("service")
    if have & {"flag", "dst_packets", "dst_bytes"}:
        have.add("answer")
    found = {}
    for side, other in (("src", "dst"), ("dst", "src")):
        if side not in have:
            continue
        if other in have:
            have.add("peer")
        for name, measure in _side(side, other).items():
            if _NEEDS.get(measure.kind, "ts") in have:
                found[name] = measure
    return found


def _side(side: str, other: str) -> dict[str, Measure]:
    """All windows of one side. Peers of a source are the destinations it reached, and so on."""
    said = {
        COUNT: "count",
        FAILED: "failed",
        SERVICE: "same_service",
        PEERS: f"{other}s",
        PORTS: "ports",
        SIZE: "bytes",
        PEER_ENTROPY: f"{other}_entropy",
        PORT_ENTROPY: "port_entropy",
    }
    chosen = {
        "10s": (COUNT, PEERS, PORTS),
        "1m": (COUNT, FAILED, PEERS, PORTS),
        "10m": (COUNT, FAILED, PEERS, PORTS, SIZE),
        "last100": (FAILED, SERVICE, PEER_ENTROPY, PORT_ENTROPY),
    }
    found = {
        f"{side}_{window}_{said[kind]}": Measure(side, window, kind)
        for window, kinds in chosen.items()
        for kind in kinds
    }
    if side == "src":
        found["pair_gap"] = Measure(side, "", GAP)
    return found
