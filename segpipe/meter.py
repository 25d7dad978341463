"""What a run costs and how far it is: wall-clock stages, peak memory, progress lines.

Stages are disjoint and start with the process, so their sum is the wall time that a user waits.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TextIO

PROC = Path("/proc")
INTERVAL = 0.2
"""Seconds between two looks at the memory, unless they take more than ``SHARE`` of a core."""
SHARE = 0.02
STEP = 1.01
"""How much more must be resident before the pages are walked anew."""


def process_start() -> float:
    """Epoch seconds at which this process began (Linux), else now."""
    try:
        ticks = int((PROC / "self/stat").read_text().rpartition(")")[2].split()[19])
        boot = next(
            int(line.split()[1])
            for line in (PROC / "stat").read_text().splitlines()
            if line.startswith("btime")
        )
    except (OSError, StopIteration, ValueError):
        return time.time()
    return boot + ticks / os.sysconf("SC_CLK_TCK")


def tree() -> list[int]:
    """Process ids of this process and all below it, JVMs left out; none off Linux."""
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text().rpartition(")")
        except OSError:
            continue  # the process ended while we looked
        pid = int(stat.parent.name)
        names[pid] = head.partition("(")[2]
        children.setdefault(int(tail.split()[1]), []).append(pid)
    queue = [os.getpid()]
    for pid in queue:
        queue += children.get(pid, [])
    return [pid for pid in queue if pid in names and names[pid] != "java"]


def resident_mb(pids: list[int]) -> float:
    """MiB that the processes hold in memory, shared pages counted by each of them."""
    pages = 0
    for pid in pids:
        with contextlib.suppress(OSError, IndexError):
            pages += int((PROC / str(pid) / "statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def proportional_mb(pids: list[int]) -> float | None:
    """MiB of proportional set size: shared pages are counted once; None where nobody tells.

    The kernel walks all pages for it: tens of milliseconds for some GB.
    """
    total, found = 0, False
    for pid in pids:
        with contextlib.suppress(OSError, StopIteration):
            rollup = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            total += int(next(line for line in rollup if line.startswith("Pss:")).split()[1])
            found = True
    return total / 1024 if found else None


class Meter:
    """Times stages, samples memory in the background, tells the user what goes on."""

    def __init__(self, stream: TextIO | None = None, quiet: bool = False) -> None:
        self.seconds: dict[str, float] = {}
        self.peak_mb: float | None = None
        self.context: dict[str, Any] = {}
        self._stream = stream or sys.stderr
        self._quiet = quiet
        self._last = min(process_start(), time.time())
        self._walked = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="segpipe-memory")
        self._thread.start()
        self._rich = None if quiet or not self._stream.isatty() else self._console()

    def _console(self) -> Any:
        from rich.console import Console

        return Console(file=self._stream)

    def _watch(self) -> None:
        pause = INTERVAL
        while not self._stop.wait(pause):
            began = time.thread_time()
            self._sample()
            pause = max(INTERVAL, (time.thread_time() - began) / SHARE)

    def _sample(self) -> None:
        pids = tree()
        resident = resident_mb(pids)
        # Walking at every look cost a run of 20 M rows a third of its processor time.
        if resident <= self._walked * STEP:
            return
        now = proportional_mb(pids)
        if now is not None:
            self._walked = resident
            self.peak_mb = max(now, self.peak_mb or 0.0)

    def _lap(self, stage: str) -> float:
        now = time.time()
        lap, self._last = max(0.0, now - self._last), now
        self.seconds[stage] = round(self.seconds.get(stage, 0.0) + lap, 4)
        return lap

    @contextlib.contextmanager
    def stage(self, name: str, note: str = "") -> Iterator[None]:
        """Everything since the last stage's end that is not inside one counts as ``setup``."""
        self._lap("setup")
        status = self._rich.status(f"{name} {note}".strip()) if self._rich else None
        if status:
            status.start()
        try:
            yield
        finally:
            if status:
                status.stop()
            self.say("info", f"{name} done", stage=name, seconds=round(self._lap(name), 3))

    def say(self, level: str, message: str, **context: Any) -> None:
        """One line for people on a terminal, one JSON object otherwise."""
        if self._quiet:
            return
        if self._rich:
            took = f" [dim]{context['seconds']:.2f} s[/dim]" if "seconds" in context else ""
            self._rich.print(f"{'' if level == 'info' else level + ': '}{message}{took}")
            return
        line = {
            "ts": datetime.now(UTC).isoformat(),
            "level": level.upper(),
            "logger": "segpipe",
            "msg": message,
            "context": {**self.context, **context},
        }
        print(json.dumps(line, default=str), file=self._stream, flush=True)

    def close(self) -> None:
        """Stop watching; the summary is about to be written."""
        self._lap("finish")
        self._stop.set()
        self._sample()
