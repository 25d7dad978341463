"""A mark of life ends with its process, whoever removes it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.errors import TemporaryError
from segpipe.lake import lease

HOLD = """
import sys, time
from segpipe.lake import lease
with lease.lease(sys.argv[1], "dead"):
    print("held", flush=True)
    time.sleep(60)
"""


def marks(uri: Path) -> list[str]:
    return sorted(p.name for p in (uri / "_segpipe" / "live").iterdir())


def test_sweep_removes_the_mark_of_a_killed_run_and_no_other(tmp_path):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    with lease.lease(str(tmp_path), "alive"):
        lease.sweep(str(tmp_path))
        assert marks(tmp_path) == ["alive.lock", "dead.lock"]
        child.kill()
        child.wait()
        lease.sweep(str(tmp_path))
        assert marks(tmp_path) == ["alive.lock"]
    assert marks(tmp_path) == []


def test_a_mark_of_another_host_stays(tmp_path):
    live = tmp_path / "_segpipe" / "live"
    live.mkdir(parents=True)
    (live / "far.lock").write_text('{"host": "elsewhere.example", "pid": 1}')
    lease.sweep(str(tmp_path))
    assert marks(tmp_path) == ["far.lock"]


def test_a_lease_is_held_at_its_own_path(tmp_path):
    # A file that was opened before its owner took the name away proves nothing.
    with lease.lease(str(tmp_path), "r"):
        held = (tmp_path / "_segpipe" / "live" / "r.lock").stat().st_ino
        with pytest.raises(TemporaryError), lease.lease(str(tmp_path), "r"):
            pass
        assert (tmp_path / "_segpipe" / "live" / "r.lock").stat().st_ino == held
        assert lease.may_live(str(tmp_path), "r", 0.0, 1e12)
    assert not os.listdir(tmp_path / "_segpipe" / "live")  # noqa: PTH208


@pytest.mark.parametrize("recorded", [False, True])
def test_what_a_killed_run_had_begun_goes_unless_it_is_on_record(tmp_path, recorded):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline() == "held\n"
    home = tmp_path / "_segpipe"
    for name in ("spool", "runs", "rejects"):
        for run in ("dead", "other"):
            (home / name / run).mkdir(parents=True)
            (home / name / run / "begun").write_text("")
    if recorded:
        (home / "runs" / "dead" / "record.json").write_text("{}")
    lease.sweep(str(tmp_path))
    assert (home / "rejects" / "dead").exists(), "the run is alive"
    child.kill()
    child.wait()
    lease.sweep(str(tmp_path))
    assert not (home / "spool" / "dead").exists()
    assert (home / "runs" / "dead").exists() is recorded
    assert (home / "rejects" / "dead").exists() is recorded
    assert all((home / name / "other" / "begun").exists() for name in ("spool", "runs", "rejects"))
