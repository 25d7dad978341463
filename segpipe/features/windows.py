"""Columns of a connection that other rows decide: which there are, and what they are called."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.kernels.crowds import Crowds, keys_of
from segpipe.kernels.windows import GAP, Flows, Index, Measure, bursts, windows
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

Singles = npt.NDArray[np.float32]
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


TELLING = frozenset(
    {
        *("src_rarity", "dst_rarity", "pair_rarity"),
        *("src_failed", "dst_failed", "pair_failed"),
        *("src_1m_failed", "dst_1m_failed"),
    }
)
"""Columns that enter the distance by default (``connections``)."""
BURST = "burst_size"
"""Rows of the same ends, port, protocol and ten seconds of the clock."""


@dataclass(slots=True)
class Room:
    """Memory of one task that its slices use in turn: new pages cost as much as what fills them."""

    held: Singles = field(default_factory=lambda: np.empty(0, np.float32))

    def table(self, rows: int, columns: int) -> Singles:
        """(rows, columns) of anything."""
        if len(self.held) < rows * columns:
            self.held = np.empty(rows * columns, np.float32)
        return self.held[: rows * columns].reshape(rows, columns)


@dataclass(frozen=True, slots=True)
class Moving:
    """What is computed for each row from the rows around it; picklable."""

    measures: dict[str, Measure]
    """By column name."""
    crowds: dict[str, tuple[str, int]]
    """Column name -> table of ``kernels.crowds``, and 0 for the rarity or 1 for the failures."""
    burst: bool

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in order."""
        return (*self.measures, *self.crowds, *((BURST,) if self.burst else ()))

    def only(self, wanted: Collection[str], burst: bool) -> Moving:
        """The columns that are among ``wanted``; with any of them, or asked for, the bursts."""
        measures = {n: m for n, m in self.measures.items() if n in wanted}
        crowds = {n: c for n, c in self.crowds.items() if n in wanted}
        some = bool(measures or crowds) or burst or BURST in wanted
        return Moving(measures, crowds, self.burst and some)

    def __call__(
        self, flows: Flows, first: int, at: Index, crowds: Crowds, room: Room
    ) -> tuple[Any, Any]:
        """Float32 of the flows with ts >= ``first``, each in row ``at``.

        (rows, columns) of the measures, because a row's are written together, and (columns, rows)
        of the others. ``first`` is a border between bursts; the former lie in ``room`` until the
        next call with it.
        """
        new = np.flatnonzero(flows.ts >= first)
        whole = bool((flows.known[new] == _ALL).all())
        moving = room.table(len(new), len(self.measures))
        resting = np.empty((len(self.names) - len(self.measures), len(new)), np.float32)
        if not whole:
            moving[:] = resting[:] = np.nan
        windows(flows, first, at, tuple(self.measures.values()), moving)
        recent, to = flows.take(new), at[new]
        keys = keys_of(recent.src, recent.dst)
        for table in dict.fromkeys(table for table, _ in self.crowds.values()):
            known = slice(None) if whole else recent.known & _BITS[table] == _BITS[table]
            said = crowds.look_up(table, keys[table][known])
            for column, (its, kind) in zip(resting, self.crowds.values(), strict=False):
                if its == table:
                    column[to[known]] = said[kind]
        if self.burst:
            resting[-1, to] = bursts(recent)
        return moving, resting


_BITS = {"src": 1, "dst": 2, "pair": 3}
_ALL = 3


def available(names: Collection[str]) -> Moving:
    """What these columns of the source give, in a fixed order; may be nothing."""
    have = set(names)
    ends = [end for end in ("src", "dst") if end in have]
    if "ts" not in have or not ends:
        return Moving({}, {}, False)
    if have & {"service", "dst_port", "proto"}:
        have.add("service")
    if have & {"flag", "dst_packets", "dst_bytes"}:
        have.add("answer")
    if len(ends) == 2:
        have.add("peer")
    measures = {
        name: measure
        for end in ends
        for name, measure in _side(end, "dst" if end == "src" else "src").items()
        if _NEEDS.get(measure.kind, "ts") in have
    }
    tables = [*ends, "pair"] if len(ends) == 2 else ends
    crowds = {f"{table}_rarity": (table, 0) for table in tables}
    if "answer" in have:
        crowds |= {f"{table}_failed": (table, 1) for table in tables}
    return Moving(measures, crowds, len(ends) == 2)


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
        "1m": (COUNT, FAILED),
        "10m": (COUNT, PEERS, PORTS, SIZE),
        "last100": (FAILED, SERVICE, PEER_ENTROPY, PORT_ENTROPY),
    }
    if side == "dst":  # one source that tries its ports has the fan-out
        chosen = {
            window: tuple(k for k in kinds if k not in (PORTS, SIZE, PORT_ENTROPY))
            for window, kinds in chosen.items()
        }
    found = {
        f"{side}_{window}_{said[kind]}": Measure(side, window, kind)
        for window, kinds in chosen.items()
        for kind in kinds
    }
    if side == "src":
        found["pair_gap"] = Measure(side, "", GAP)
    return found
