"""SIGKILL at any moment of writing and committing: readers see whole states, the next run works."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import pytest

from segpipe.lake import lease
from segpipe.lake.publish import open_target, read_labels

PUBLISHER = """
import sys
from datetime import date
import pyarrow as pa
from segpipe.lake import lease
from segpipe.lake.publish import open_target
from segpipe.lake.staging import Writer

uri, format, first, runs = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
schema = pa.schema([("n", pa.int64()), ("half", pa.string()), ("day", pa.date32())])
target = open_target(uri, format)
print("ready", flush=True)
for n in range(first, first + runs):
    run = f"run{n}"
    with lease.lease(uri, run):
        data = {"n": [n] * 400, "half": ["a"] * 400, "day": [date(2024, 1, 1)] * 400}
        other = {**data, "half": ["b"] * 400, "day": [date(2024, 1, 2)] * 400}
        batches = [pa.RecordBatch.from_pydict(d, schema) for d in (data, other)]
        files = Writer(target.stage_uri(run), run, ("day",), schema)(iter(batches))
        target.commit(files, schema, ["day"], {"run_id": run, "run_key": run})
"""


def start(uri: Path, format: str, first: int, runs: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", PUBLISHER, str(uri), format, str(first), str(runs)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None and child.stdout.readline() == "ready\n"
    return child


def state(uri: Path) -> int:
    """The number of the run whose rows are published, all 800 of them."""
    table = read_labels(str(uri)).to_table()
    assert table.num_rows == 800 and set(table["half"].to_pylist()) == {"a", "b"}
    numbers = set(table["n"].to_pylist())
    assert len(numbers) == 1
    return int(numbers.pop())


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_killed_publisher_leaves_the_last_state_whole(tmp_path: Path, format: str) -> None:
    uri = tmp_path / "labels"
    assert start(uri, format, 0, 1).wait() == 0
    moments = random.Random(7)
    before, seen = 0, 0
    for attempt in range(8):
        child = start(uri, format, before + 1, 10_000)
        time.sleep(moments.uniform(0.0, 0.25))
        child.send_signal(signal.SIGKILL)
        child.wait()
        after = state(uri)
        assert after >= before
        seen += after > before
        before = after
        del attempt
    assert seen >= 2, "no publication between the kills: the moments are too early"
    # The next run publishes, and takes away what the dead ones left.
    assert start(uri, format, before + 1, 1).wait() == 0
    assert state(uri) == before + 1
    target = open_target(str(uri), format)
    with lease.lease(str(uri), "janitor"):
        target.clean("janitor", time.time() + 1)
    named = {p.run_id for p in target.history()}
    left = {p.name.split("-")[1] for p in uri.rglob("part-*.parquet") if p.is_file()}
    assert left <= named


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_two_publishers_at_once_keep_every_state_whole(tmp_path: Path, format: str) -> None:
    uri = tmp_path / "labels"
    children = [start(uri, format, first, 6) for first in (0, 100)]
    looked = 0
    while any(child.poll() is None for child in children):
        if open_target(str(uri), format).labels()["version"] is not None:
            state(uri)
            looked += 1
    codes = [child.wait() for child in children]
    published = {p.run_id for p in open_target(str(uri), format).history()}
    # A child that lost too often ends with an error, after which its later runs are not tried.
    expected = {f"run{n}" for n in (*range(6), *range(100, 106))}
    assert published <= expected and (any(codes) or published == expected)
    assert looked and state(uri) in {int(run.removeprefix("run")) for run in published}
    assert date(2024, 1, 1) in read_labels(str(uri)).to_table()["day"].to_pylist()
