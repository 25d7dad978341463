"""The memory watch: it sees what a run holds, and walks the pages only when that has grown."""

from __future__ import annotations

import io
import os
import sys

import pytest

from segpipe import meter

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
HELD = 64 * 2**20


def _quiet() -> meter.Meter:
    made = meter.Meter(io.StringIO(), quiet=True)
    made._stop.set()
    made._thread.join()
    return made


def test_what_is_held_is_in_the_peak() -> None:
    watch = _quiet()
    watch._sample()
    before = watch.peak_mb
    held = bytearray(os.urandom(1024)) * (HELD // 1024)
    watch._sample()
    assert before is not None
    assert watch.peak_mb is not None
    assert watch.peak_mb - before == pytest.approx(len(held) / 2**20, rel=0.1)


def test_pages_are_walked_only_at_a_new_high(monkeypatch: pytest.MonkeyPatch) -> None:
    resident, walks = [100.0], list[int]()

    def walked(_pids: list[int]) -> float:
        walks.append(1)
        return resident[0] / 2

    monkeypatch.setattr(meter, "resident_mb", lambda _pids: resident[0])
    monkeypatch.setattr(meter, "proportional_mb", walked)
    watch = _quiet()
    watch._walked, watch.peak_mb = 0.0, None
    walks.clear()
    watch._sample()
    for resident[0] in (90.0, 100.5, 100.9):
        watch._sample()
    assert len(walks) == 1
    resident[0] = 110.0
    watch._sample()
    assert len(walks) == 2
    assert watch.peak_mb == 55.0


def test_tree_holds_this_process() -> None:
    assert os.getpid() in meter.tree()
