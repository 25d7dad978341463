"""Programs run as processes of their own: wall time, and peak memory of the tree without JVMs."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROC = Path("/proc")
SAMPLES_PER_SECOND = 10
SLOWS_BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
"""Some machines pin OpenBLAS to an older core; opponents are measured without that handicap."""


@dataclass(frozen=True)
class Ran:
    """What a process did."""

    wall: float
    """Seconds from its start to its end."""
    peak_mb: float | None
    """Largest sum of proportional set sizes seen, MiB; None off Linux."""
    code: int
    out: str
    err: str

    @property
    def told(self) -> dict[str, Any]:
        """The JSON object on the last line of stdout; empty if there is none."""
        lines = self.out.strip().splitlines()
        with contextlib.suppress(ValueError):
            found = json.loads(lines[-1]) if lines else {}
            return found if isinstance(found, dict) else {}
        return {}

    @property
    def complaint(self) -> str:
        """One line on why it failed."""
        error = self.told.get("error") or {}
        lines = self.err.strip().splitlines() or ["nothing on stderr"]
        raised = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
        said = error.get("message") or (raised or lines)[-1]
        return f"failed with {self.code}: {' '.join(str(said).split())[:300]}"


def environ(keep_blas: bool) -> dict[str, str]:
    """This environment, by default without what slows BLAS."""
    left_out = () if keep_blas else SLOWS_BLAS
    return {name: value for name, value in os.environ.items() if name not in left_out}


def tree_pss_mb(root: int) -> float | None:
    """MiB of proportional set size of ``root`` and all below it, JVMs left out.

    The product's own meter (``segpipe.meter``) counts the same way; JVMs are left out because
    their heap is as large as they were allowed, not as large as they need.
    """
    children: dict[int, list[int]] = {}
    names: dict[int, str] = {}
    for stat in PROC.glob("[0-9]*/stat"):
        try:
            head, _, tail = stat.read_text().rpartition(")")
        except OSError:
            continue  # ended while we looked
        pid = int(stat.parent.name)
        names[pid] = head.partition("(")[2]
        children.setdefault(int(tail.split()[1]), []).append(pid)
    total, found, queue = 0, False, [root]
    while queue:
        pid = queue.pop()
        queue += children.get(pid, [])
        if names.get(pid) == "java":
            continue
        with contextlib.suppress(OSError, StopIteration):
            rollup = (PROC / str(pid) / "smaps_rollup").read_text().splitlines()
            total += int(next(line for line in rollup if line.startswith("Pss:")).split()[1])
            found = True
    return total / 1024 if found else None


def run(
    command: Iterable[Any], env: Mapping[str, str] | None = None, timeout: float | None = None
) -> Ran:
    """Run to the end; on timeout or interruption the process and all it started are killed."""
    peak: float | None = None
    over = threading.Event()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        start = time.perf_counter()
        child = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            env=None if env is None else dict(env),
            start_new_session=True,
        )

        def watch() -> None:
            nonlocal peak
            while not over.wait(1 / SAMPLES_PER_SECOND):
                now = tree_pss_mb(child.pid)
                peak = peak if now is None else max(now, peak or 0.0)

        watcher = threading.Thread(target=watch, daemon=True)
        watcher.start()
        late = ""
        try:
            child.wait(timeout)
        except subprocess.TimeoutExpired:
            late = f"\nkilled after {timeout:.0f} s"
        finally:
            wall = time.perf_counter() - start
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # the group is the child's own
            child.wait()
            over.set()
            watcher.join()
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return Ran(wall, peak, child.returncode, texts[0], texts[1] + late)


def warm(files: Iterable[Path]) -> None:
    """Read files once, so that everybody finds them in the page cache."""
    for path in files:
        with path.open("rb") as stream:
            while stream.read(1 << 24):
                pass
