"""The job files on real clusters of several processes: the labels are those of the local engine."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

import segpipe
from segpipe import pipeline
from segpipe.engines import jdk
from tests.transactions import config, transactions, tree

pytestmark = pytest.mark.slow
ROOT = Path(segpipe.__file__).parent.parent
DAY = "2011-06-30"
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a process with its children in a group of its own, which ends with the test."""
    children: list[subprocess.Popen[bytes]] = []

    def begin(name: str, command: list[Any], **environ: str) -> subprocess.Popen[bytes]:
        with (tmp_path / f"{name}.log").open("wb") as log:
            child = subprocess.Popen(
                list(map(str, command)),
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environ},
                cwd=tmp_path,
                start_new_session=True,
            )
        children.append(child)
        return child

    yield begin
    for child in reversed(children):
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until_said(log: Path, text: str, times: int = 1) -> None:
    end = time.monotonic() + 120
    while log.read_text(errors="replace").count(text) < times:
        assert time.monotonic() < end, log.read_text(errors="replace")[-3000:]
        time.sleep(0.2)


def ran(command: list[Any], environ: dict[str, str] | None = None) -> dict[str, Any]:
    """The run summary, the last line of stdout."""
    done = subprocess.run(
        list(map(str, command)),
        capture_output=True,
        text=True,
        timeout=400,
        env={**os.environ, **(environ or {})},
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]
    summary: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return summary


def customers(folder: Path, uri: Path) -> dict[str, Any]:
    source = folder / "transactions.parquet"
    return tree(source if source.exists() else transactions(source, 60_000, 3_000), uri)


def connections(folder: Path, uri: Path, rows: int = 6_000) -> dict[str, Any]:
    source = folder / "connections.parquet"
    if not source.exists():
        rng = np.random.default_rng(3)
        web = rng.random(rows) < 0.7
        sent = rng.lognormal(np.where(web, 6.0, 9.0), 0.6)
        table = {
            "ts": np.datetime64("2011-06-01", "us")
            + rng.integers(0, 29 * 86_400, rows).astype("timedelta64[s]"),
            "src": [f"10.0.0.{i}" for i in rng.integers(1, 60, rows)],
            "dst": [f"192.0.2.{i}" for i in rng.integers(1, 200, rows)],
            "dst_port": np.where(web, 443, 25),
            "proto": np.where(rng.random(rows) < 0.9, "tcp", "udp"),
            "duration": rng.lognormal(np.where(web, 0.0, 1.5), 0.5),
            "src_bytes": sent.astype(np.int64),
            "dst_bytes": (sent * rng.lognormal(np.where(web, 2.0, -2.0), 0.3)).astype(np.int64),
        }
        pq.write_table(pa.table(table), source, row_group_size=rows // 4)
    held = tree(source, uri, features={"set": "connections"})
    held["fit"] = {"model": "kmeans", "k": 3, "n_init": 2}
    return held


def locally(held: dict[str, Any]) -> pa.Table:
    run = pipeline.execute(mode="run", config=held, engine="local", as_of=DAY)
    return ordered(run.labels.to_table())


def ordered(table: pa.Table) -> pa.Table:
    """All columns but the run's own id, in an order that rows alone decide."""
    names = [n for n in table.column_names if n != "run_id"]
    flat = [n for n in names if not pa.types.is_nested(table.schema.field(n).type)]
    return table.select(names).sort_by([(n, "ascending") for n in flat])


def assert_published(target: Path, expected: pa.Table, summary: dict[str, Any]) -> None:
    """A Delta table by day, the same to deltalake, Polars, DuckDB and pandas."""
    assert summary["status"] == "done"
    delta = DeltaTable(target)
    assert delta.metadata().partition_columns == ["as_of"]
    assert {p.parent.name for p in target.glob("as_of=*/*.parquet")} == {f"as_of={DAY}"}
    found = delta.to_pyarrow_table().select([*expected.column_names, "run_id"])
    assert set(found["run_id"].to_pylist()) == {summary["run_id"]}
    assert ordered(found).to_pylist() == expected.to_pylist()
    segments = sorted(expected["segment_id"].to_pylist())
    assert sorted(pl.read_delta(str(target))["segment_id"].to_list()) == segments
    assert sorted(delta.to_pandas()["segment_id"].tolist()) == segments
    dataset = delta.to_pyarrow_dataset()
    counted = duckdb.from_arrow(dataset).aggregate("as_of::text, count(*)").fetchall()
    assert counted == [(DAY, len(segments))]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """What scripts/package.sh makes of the package, without the wheel."""
    place = tmp_path / "segpipe.zip"
    with zipfile.ZipFile(place, "w") as out:
        for path in sorted((ROOT / "segpipe").rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                out.write(path, path.relative_to(ROOT))
    return place


@pytest.fixture
def elsewhere(tmp_path: Path) -> dict[str, str]:
    """A machine where only segpipe's requirements are installed, and a home of its own."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(
        f"import sys\nsys.path[:] = [p for p in sys.path if p != {str(ROOT)!r}]\n"
    )
    (tmp_path / "home").mkdir()
    return {
        "PYTHONPATH": str(site),
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": "",
        "PYSPARK_PYTHON": sys.executable,
    }


@pytest.mark.spark
def test_spark_submit_to_a_standalone_cluster(tmp_path, start, archive, elsewhere):
    pyspark = pytest.importorskip("pyspark")
    home = Path(pyspark.__file__).parent
    java = {
        "JAVA_HOME": str(jdk.java_home(tmp_path)),
        "SPARK_HOME": str(home),
        "SPARK_LOCAL_IP": "127.0.0.1",
        "SPARK_LOCAL_DIRS": str(tmp_path / "scratch"),
        **elsewhere,
    }
    without = "import importlib.util as u, sys; sys.exit(u.find_spec('segpipe') is not None)"
    subprocess.run(
        [sys.executable, "-c", without], env={**os.environ, **java}, check=True, cwd=tmp_path
    )
    port = free_port()
    deploy = [home / "bin" / "spark-class"]
    master = [*deploy, "org.apache.spark.deploy.master.Master", "--host", "127.0.0.1"]
    start("master", [*master, "--port", port, "--webui-port", 0], **java)
    until_said(tmp_path / "master.log", "I have been elected leader")
    for i in (0, 1):
        worker = [*deploy, "org.apache.spark.deploy.worker.Worker", "--cores", 1, "--memory", "1g"]
        where = [
            "--work-dir",
            tmp_path / f"work{i}",
            "--webui-port",
            0,
            f"spark://127.0.0.1:{port}",
        ]
        start(f"worker{i}", [*worker, *where], **java)
    until_said(tmp_path / "master.log", "Registering worker", 2)

    expected = locally(customers(tmp_path, tmp_path / "local"))
    stored = []
    for name in ("first", "second"):
        submit = [home / "bin" / "spark-submit", "--master", f"spark://127.0.0.1:{port}"]
        submit += ["--conf", "spark.executor.memory=640m", "--py-files", archive]
        held = config(tmp_path, customers(tmp_path, tmp_path / name))
        job = [ROOT / "jobs" / "segment_customers.py", "--config", held, "--as-of", DAY]
        summary = ran([*submit, *job], java)
        assert summary["engine"] == "spark"
        assert_published(tmp_path / name, expected, summary)
        cache = tmp_path / "home" / ".cache"
        stored.append({p: p.stat().st_mtime_ns for p in cache.rglob("*.nbc")})
    # Both workers had an executor, each with the zip; the second run compiled nothing.
    for i in (0, 1):
        assert len(list((tmp_path / f"work{i}").glob("app-*/*/segpipe.zip"))) == 2
    assert stored[0] and stored[0] == stored[1]
    errors = [p.read_text(errors="replace") for p in tmp_path.glob("work*/app-*/*/stderr")]
    assert not any("no locator" in text or "Traceback" in text for text in errors)


@pytest.mark.dask
def test_jobs_on_a_dask_scheduler_with_two_workers(tmp_path, start):
    pytest.importorskip("distributed")
    address = f"tcp://127.0.0.1:{free_port()}"
    dask = [sys.executable, "-m", "dask"]
    listen = ["--host", "127.0.0.1", "--port", address.rpartition(":")[2], "--no-dashboard"]
    start("scheduler", [*dask, "scheduler", *listen])
    until_said(tmp_path / "scheduler.log", "Scheduler at")
    for i in (0, 1):
        where = ["--nthreads", 1, "--no-dashboard", "--local-directory", tmp_path / f"work{i}"]
        start(f"worker{i}", [*dask, "worker", address, *where])
    until_said(tmp_path / "scheduler.log", "Register worker", 2)

    jobs = {"segment_customers": customers, "score_network": connections}
    for name, made in jobs.items():
        expected = locally(made(tmp_path, tmp_path / f"local-{name}"))
        held = config(tmp_path, made(tmp_path, tmp_path / name))
        job = [sys.executable, ROOT / "jobs" / f"{name}.py", "--config", held, "--as-of", DAY]
        where = ["--engine", "dask", "--set", f"engine.dask.address={address}"]
        summary = ran([*job, *where])
        assert summary["engine"] == "dask"
        assert_published(tmp_path / name, expected, summary)
    # Nobody's cluster was stopped: the scheduler and both workers serve the next job.
    assert (tmp_path / "scheduler.log").read_text().count("Remove worker") == 0
