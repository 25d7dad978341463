"""Trailing windows: numbers by hand, and the definition written out as loops over all pairs."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.kernels import windows as kernel
from segpipe.kernels import windows_loops as loops
from segpipe.kernels.windows import GAP, LOOKBACK, SECOND, WIDTHS, Flows, Measure

KINDS = {
    "count": loops.COUNT,
    "failed": loops.FAILED,
    "service": loops.SERVICE,
    "peer": loops.PEER,
    "peers": loops.PEERS,
    "ports": loops.PORTS,
    "size": loops.SIZE,
    "peer_entropy": loops.PEER_ENTROPY,
    "port_entropy": loops.PORT_ENTROPY,
}
ENTROPIES = (loops.PEER_ENTROPY, loops.PORT_ENTROPY)
ALL = [
    Measure(side, window, kind)
    for side in ("src", "dst")
    for window in WIDTHS
    for kind in KINDS.values()
    if kind not in ENTROPIES or window == "last100"
] + [Measure("src", "", GAP), Measure("dst", "", GAP)]


def flows(seconds, src, dst, port=0, service=0, failed=0, size=0, known=3) -> Flows:
    n = len(seconds)

    def cells(values, kind):
        return np.broadcast_to(np.asarray(values), n).astype(kind)

    return Flows(
        np.rint(np.asarray(seconds, float) * SECOND).astype(np.int64),
        *(kernel.splitmix64(cells(v, np.uint64)) for v in (src, dst, port, service)),
        cells(failed, np.uint8),
        cells(size, np.int64),
        cells(known, np.uint8),
        cells(6, np.uint64),
    )


def windows(given: Flows, first: int, at: np.ndarray, measures: list[Measure]) -> np.ndarray:
    out = np.full((int((given.ts >= first).sum()), len(measures)), np.nan, np.float32)
    kernel.windows(given, first, at, measures, out)
    return out


def told(given: Flows, *asked: tuple[str, str, str]) -> np.ndarray:
    measures = [Measure(side, window, KINDS.get(kind, GAP)) for side, window, kind in asked]
    return windows(given, int(given.ts.min()), np.arange(len(given.ts)), measures)


def test_a_window_is_open_on_the_left_and_closed_on_the_right():
    # 0 lies exactly ten seconds before 10: no longer seen; 10 itself is.
    given = flows([0, 4, 10, 10, 19.5], src=1, dst=[1, 2, 1, 3, 1])
    found = told(given, ("src", "10s", "count"), ("src", "10s", "peers"), ("dst", "10s", "count"))
    assert found.tolist() == [[1, 1, 1], [2, 2, 1], [3, 3, 1], [3, 3, 1], [3, 2, 2]]


def test_a_scan_of_ports_by_hand():
    given = flows([0, 1, 2, 3], src=7, dst=9, port=[22, 23, 22, 80], failed=[1, 1, 0, 1], size=5)
    found = told(
        given,
        ("src", "1m", "ports"),
        ("src", "1m", "failed"),
        ("src", "10m", "size"),
        ("src", "last100", "port_entropy"),
    )
    # Entropy of 22, 23, 22, 80: 1/2 * 1 bit + 2 * 1/4 * 2 bits.
    assert found[3].tolist() == [3, 0.75, 20, 1.5]
    assert found[1].tolist() == [2, 1, 10, 1]


def test_the_last_hundred_forget_the_hundred_and_first_and_what_is_an_hour_old():
    given = flows(np.arange(150.0), src=1, dst=2, service=[0] * 50 + [1] * 100)
    share = told(given, ("src", "last100", "service"), ("src", "last100", "count"))
    assert share[149].tolist() == [1, 100] and share[99].tolist() == [0.5, 100]
    late = told(flows([0, 3599, 3600], src=1, dst=2), ("src", "last100", "count"))
    assert late.ravel().tolist() == [1, 2, 2]


def test_the_gap_is_that_of_the_pair():
    given = flows([0, 30, 45, 45, 4000], src=1, dst=[1, 2, 1, 1, 1])
    assert told(given, ("src", "", "gap")).ravel().tolist() == [3600, 3600, 45, 45, 3600]


def test_rows_without_a_source_have_no_windows_of_one():
    given = flows([0, 1, 2], src=1, dst=1, known=[3, 2, 3])
    found = told(given, ("src", "10s", "count"), ("dst", "10s", "count"))
    assert np.isnan(found[1, 0])
    assert found[:, 1].tolist() == [1, 2, 3] and found[[0, 2], 0].tolist() == [1, 2]


def by_definition(given: Flows, measure: Measure) -> list[float]:
    """O(n^2), without any state."""
    key, other, bit = (
        (given.src, given.dst, 1) if measure.side == "src" else (given.dst, given.src, 2)
    )
    place = {row: i for i, row in enumerate(given.in_order())}
    result = []
    for i in range(len(given.ts)):
        now = given.ts[i]
        if not given.known[i] & bit:
            result.append(math.nan)
            continue
        width = WIDTHS.get(measure.window, LOOKBACK) or LOOKBACK
        seen = [
            j
            for j in range(len(given.ts))
            if key[j] == key[i] and given.known[j] & bit and now - width < given.ts[j] <= now
        ]
        if measure.kind == GAP:
            before = [given.ts[j] for j in seen if other[j] == other[i] and given.ts[j] < now]
            result.append((now - max(before, default=now - LOOKBACK)) / 1e6)
            continue
        if WIDTHS[measure.window] == 0:
            seen = sorted(seen, key=place.__getitem__)[-100:]
        n = len(seen)
        shares = {
            loops.FAILED: given.failed,
            loops.SERVICE: given.service == given.service[i],
            loops.PEER: other == other[i],
        }
        kinds = {loops.PEERS: other, loops.PEER_ENTROPY: other}
        values = [kinds.get(measure.kind, given.port)[j] for j in seen]
        if measure.kind == loops.COUNT:
            result.append(n)
        elif measure.kind == loops.SIZE:
            result.append(sum(given.size[j] for j in seen))
        elif measure.kind in shares:
            result.append(sum(int(shares[measure.kind][j]) for j in seen) / n)
        elif measure.kind in ENTROPIES:
            counts = [values.count(v) for v in set(values)]
            result.append(-sum(c / n * math.log2(c / n) for c in counts))
        else:
            result.append(len(set(values)))
    return result


@st.composite
def tables(draw):
    n = draw(st.integers(1, 40))
    # A few moments, so that many rows share one; a span beyond every window.
    pick = lambda top: draw(st.lists(st.integers(0, top), min_size=n, max_size=n))  # noqa: E731
    step = draw(st.sampled_from([0.5, 7, 130, 1100]))
    seconds = np.array(pick(12)) * step
    known = np.maximum(pick(3), 1)
    return flows(seconds, pick(2), pick(3), pick(3), pick(2), pick(1), pick(9), known)


@settings(max_examples=40, deadline=None)
@given(tables(), st.data())
def test_loops_and_definition_agree(given_flows, data):
    expected = np.array([by_definition(given_flows, m) for m in ALL]).T
    n = len(given_flows.ts)
    first = int(given_flows.ts.min())
    found = windows(given_flows, first, np.arange(n), ALL)
    assert np.allclose(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    # The order of the rows means nothing.
    order = np.array(data.draw(st.permutations(range(n))))
    turned = Flows(*(getattr(given_flows, name)[order] for name in Flows.__slots__))
    again = windows(turned, first, np.arange(n), ALL)
    assert again.tobytes() == found[order].tobytes()


@pytest.mark.parametrize("moments", [40, 100_000])
def test_compiled_and_plain_loops_give_the_same_bits(monkeypatch, moments):
    rng = np.random.default_rng(3)
    n = 2_000
    given = flows(
        rng.integers(0, moments, n) / 10,
        *(rng.integers(0, top, n) for top in (9, 30, 20, 4)),
        failed=rng.integers(0, 2, n), size=rng.integers(0, 2**40, n), known=rng.integers(1, 4, n),
    )  # fmt: skip
    first = int(np.median(given.ts))
    wanted = given.ts >= first
    at = np.where(wanted, np.cumsum(wanted) - 1, -1)
    plain = windows(given, first, at, ALL)
    monkeypatch.setattr(kernel, "SMALL", 0)
    assert windows(given, first, at, ALL).tobytes() == plain.tobytes()


def test_a_slice_needs_an_hour_of_history_and_no_more():
    rng = np.random.default_rng(4)
    n = 1_500
    given = flows(
        np.sort(rng.integers(0, 20_000, n)), *(rng.integers(0, top, n) for top in (3, 20, 9, 4)),
        failed=rng.integers(0, 2, n), size=rng.integers(0, 2**30, n),
    )  # fmt: skip
    whole = windows(given, 0, np.arange(n), ALL)
    cut = 12_000 * SECOND
    part = kernel.recent(given, cut)
    assert 0 < len(part.ts) < n
    late = part.ts >= cut
    found = windows(part, cut, np.where(late, np.cumsum(late) - 1, -1), ALL)
    assert found.tobytes() == whole[given.ts >= cut].tobytes()
