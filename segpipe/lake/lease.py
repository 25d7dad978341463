"""A mark that a run is alive, so that nobody removes its unpublished files."""

from __future__ import annotations

import fcntl
import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from segpipe.errors import TemporaryError
from segpipe.lake.spool import drop, spool_folder
from segpipe.lake.uris import is_local, storing

PATIENCE_SECONDS = 86_400.0
"""Where no lock can tell (another host, an object store), files this young are left alone."""


def _path(uri: str, run_id: str) -> Path:
    return Path(uri) / "_segpipe" / "live" / f"{run_id}.lock"


@contextmanager
def lease(uri: str, run_id: str) -> Iterator[None]:
    """Hold ``run_id`` of the target while in the block; the system releases it even on SIGKILL.

    TemporaryError 75 if another process runs under the same id. On object stores nothing is held.
    """
    if not is_local(uri):
        yield
        return
    path = _path(uri, run_id)
    with storing(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        handle = _locked(path)
    except BlockingIOError:
        raise TemporaryError(
            f"run {run_id} is already running on {uri}.", "wait for it, then retry."
        ) from None
    with handle:
        handle.truncate(0)
        handle.write(json.dumps({"host": socket.gethostname(), "pid": os.getpid()}))
        handle.flush()
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _locked(path: Path) -> IO[str]:
    """Open, locked and still at ``path``; BlockingIOError if another process holds it."""
    while True:
        with storing(str(path)):
            handle = path.open("a+")
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever ended between our opening and our locking took the file's name away.
            with suppress(FileNotFoundError):
                if path.stat().st_ino == os.fstat(handle.fileno()).st_ino:
                    return handle
        except BaseException:
            handle.close()
            raise
        handle.close()


def sweep(uri: str) -> None:
    """Remove the marks of this host's dead runs: the system has released their locks.

    The scores that they had spooled go too, and where no record says how they ended, their rejected
    rows and whatever else they had begun.
    """
    home = Path(uri) / "_segpipe"
    for path in (home / "live").glob("*.lock") if is_local(uri) else ():
        with suppress(BlockingIOError, FileNotFoundError), path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = handle.read()
            if text and json.loads(text)["host"] == socket.gethostname():
                drop(spool_folder(uri, path.stem))
                if not (home / "runs" / path.stem / "record.json").exists():
                    drop(str(home / "runs" / path.stem))
                    drop(str(home / "rejects" / path.stem))
                path.unlink(missing_ok=True)


def may_live(uri: str, run_id: str, youngest: float, now: float) -> bool:
    """Whether run ``run_id`` may still publish its files; ``youngest``: their latest mtime."""
    young = now - youngest < PATIENCE_SECONDS
    if not is_local(uri):
        return young
    path = _path(uri, run_id)
    try:
        with path.open("r+") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            text = handle.read()
            host = json.loads(text)["host"] if text else socket.gethostname()
            # A lock of another host may not be visible through a network file system.
            return young and host != socket.gethostname()
    except FileNotFoundError:
        return False
    except BlockingIOError:
        return True


@contextmanager
def exclusive(uri: str, seconds: float) -> Iterator[None]:
    """One publisher at a time on a local target; TemporaryError 75 after ``seconds``."""
    import time

    path = Path(uri) / "_segpipe" / "publish.lock"
    with storing(uri):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle = path.open("a")
    with handle:
        stop = time.monotonic() + seconds
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > stop:
                    raise TemporaryError(
                        f"another run has been publishing to {uri} for {seconds:.0f} s.", "retry."
                    ) from None
                time.sleep(0.05)
        yield
