"""Loops of ``kernels.windows``, without numba: small tables run them as they are.

Integers alone are added up, so that a row's numbers do not depend on where its slice began.
"""

from __future__ import annotations

from typing import Any

MEASURES = 9
COUNT, FAILED, SERVICE, PEER, PEERS, PORTS, SIZE, PEER_ENTROPY, PORT_ENTROPY = range(MEASURES)
"""Measures of a window, in the order of ``slots``."""
LAST = 100
"""Connections that the window without a width holds."""


def slide(  # noqa: PLR0912, PLR0915  in one piece: numba cannot call plain functions
    start: Any,
    ts: Any,
    wanted: Any,
    at: Any,
    peer: Any,
    port: Any,
    service: Any,
    failed: Any,
    size: Any,
    widths: Any,
    lookback: int,
    slots: Any,
    plogp: Any,
    unit: int,
    peers_in: Any,
    ports_in: Any,
    services_in: Any,
    out: Any,
) -> None:
    """Trailing windows of every key: all rows with t - width < ts <= t count for a row at t.

    Parameters
    ----------
    start : (keys + 1,) first row of each key; rows are sorted by key, then time
    ts : (n,) microseconds; wanted : (n,) 1 for rows that are written; at : (n,) their row in out
    peer, port, service : (n,) codes; two keys share none
    failed : (n,) 0 or 1; size : (n,) bytes
    widths : (w,) microseconds; 0 is the last 100 rows, none of them older than ``lookback``
    slots : (w * 9,) column of out for each measure, -1 for none
    plogp : (102,) c log2 c in parts of 1 / ``unit``
    peers_in, ports_in, services_in : (codes,) zeros, left so
    out : (rows, columns), filled in place
    """
    for key in range(len(start) - 1):
        end = start[key + 1]
        new = start[key]
        while new < end and not wanted[new]:
            new += 1
        if new == end:
            continue
        for w in range(len(widths)):
            width, base = widths[w], MEASURES * w
            last = width == 0
            reach = lookback if last else width
            entropies = last and (
                slots[base + PEER_ENTROPY] >= 0 or slots[base + PORT_ENTROPY] >= 0
            )
            # Of the history only what the first wanted row sees.
            low = new
            while (
                low > start[key]
                and ts[low - 1] > ts[new] - reach
                and not (last and new - low >= LAST)
            ):
                low -= 1
            i = low
            rows, fails, peers, ports, total = 0, 0, 0, 0, 0
            peer_sum, port_sum = 0, 0
            while i < end:
                now, stop = ts[i], i
                while stop < end and ts[stop] == now:
                    p, q, s = peer[stop], port[stop], service[stop]
                    if entropies:
                        peer_sum += plogp[peers_in[p] + 1] - plogp[peers_in[p]]
                        port_sum += plogp[ports_in[q] + 1] - plogp[ports_in[q]]
                    if peers_in[p] == 0:
                        peers += 1
                    if ports_in[q] == 0:
                        ports += 1
                    peers_in[p] += 1
                    ports_in[q] += 1
                    services_in[s] += 1
                    rows += 1
                    fails += failed[stop]
                    total += size[stop]
                    stop += 1
                    while ts[low] <= now - reach or (last and rows > LAST):
                        p, q, s = peer[low], port[low], service[low]
                        peers_in[p] -= 1
                        ports_in[q] -= 1
                        services_in[s] -= 1
                        if entropies:
                            peer_sum -= plogp[peers_in[p] + 1] - plogp[peers_in[p]]
                            port_sum -= plogp[ports_in[q] + 1] - plogp[ports_in[q]]
                        if peers_in[p] == 0:
                            peers -= 1
                        if ports_in[q] == 0:
                            ports -= 1
                        rows -= 1
                        fails -= failed[low]
                        total -= size[low]
                        low += 1
                for j in range(i, stop):
                    if not wanted[j]:
                        continue
                    row = at[j]
                    if slots[base + COUNT] >= 0:
                        out[row, slots[base + COUNT]] = rows
                    if slots[base + FAILED] >= 0:
                        out[row, slots[base + FAILED]] = fails / rows
                    if slots[base + SERVICE] >= 0:
                        out[row, slots[base + SERVICE]] = services_in[service[j]] / rows
                    if slots[base + PEER] >= 0:
                        out[row, slots[base + PEER]] = peers_in[peer[j]] / rows
                    if slots[base + PEERS] >= 0:
                        out[row, slots[base + PEERS]] = peers
                    if slots[base + PORTS] >= 0:
                        out[row, slots[base + PORTS]] = ports
                    if slots[base + SIZE] >= 0:
                        out[row, slots[base + SIZE]] = total
                    if slots[base + PEER_ENTROPY] >= 0:
                        out[row, slots[base + PEER_ENTROPY]] = (plogp[rows] - peer_sum) / (
                            rows * unit
                        )
                    if slots[base + PORT_ENTROPY] >= 0:
                        out[row, slots[base + PORT_ENTROPY]] = (plogp[rows] - port_sum) / (
                            rows * unit
                        )
                i = stop
            for j in range(low, end):
                peers_in[peer[j]] = 0
                ports_in[port[j]] = 0
                services_in[service[j]] = 0


def gaps(
    start: Any,
    ts: Any,
    wanted: Any,
    at: Any,
    peer: Any,
    lookback: int,
    column: int,
    seen: Any,
    out: Any,
) -> None:
    """Seconds since the key's latest earlier row with the same peer; ``lookback`` where none is.

    ``seen`` : (codes,) zeros; the rest as of ``slide``.
    """
    for key in range(len(start) - 1):
        i, end = start[key], start[key + 1]
        while i < end:
            now, stop = ts[i], i
            while stop < end and ts[stop] == now:
                if wanted[stop]:
                    before = seen[peer[stop]]
                    gap = lookback if before == 0 else now - (before - 1)
                    out[at[stop], column] = min(gap, lookback) / 1e6
                stop += 1
            for j in range(i, stop):
                seen[peer[j]] = now + 1
            i = stop
