"""Whether anybody listens, asked before a cluster library spends a minute on finding out."""

from __future__ import annotations

import socket
from collections.abc import Sequence

SECONDS = 10
"""A host that drops packets is given up after this."""


def silence(addresses: Sequence[str], port: int) -> str:
    """Why none of ``addresses`` (host or host:port) answers; empty if one does."""
    reasons = []
    for address in addresses:
        host, _, given = address.rpartition(":") if ":" in address else (address, "", "")
        try:
            socket.create_connection((host.strip("[]"), int(given or port)), SECONDS).close()
        except (OSError, ValueError) as error:
            reasons.append(f"{address}: {error}")
        else:
            return ""
    return "; ".join(reasons)
