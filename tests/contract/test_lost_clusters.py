"""Clusters that do not answer, lose workers or die: error 75, and what is left works on."""

from __future__ import annotations

import json
import operator
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dask
import pyarrow as pa
import pytest

from segpipe.engines.open import open_engine
from segpipe.errors import ConfigError, TemporaryError
from tests.conftest import OPTIONS

BATCH = pa.record_batch({"value": list(range(260))})


def sizes(batches: Iterator[pa.RecordBatch]) -> list[int]:
    return [sum(batch.num_rows for batch in batches)]


@pytest.mark.dask
def test_a_dask_scheduler_that_does_not_answer_is_temporary() -> None:
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:9"):
        open_engine("dask", dask={"address": "tcp://127.0.0.1:9"})
    with pytest.raises(ConfigError, match="nonsense"):
        open_engine("dask", dask={"cluster": "nonsense.Cluster"})


@pytest.mark.spark
@pytest.mark.parametrize(
    "conf", ["spark.master=spark://127.0.0.1:9", "spark.remote=sc://127.0.0.1:9"]
)
def test_a_spark_master_that_does_not_answer_is_temporary(conf: str) -> None:
    key, _, value = conf.partition("=")
    with pytest.raises(TemporaryError, match=r"127\.0\.0\.1:9"):
        open_engine("spark", spark={key: value})


def die(_: Iterator[pa.RecordBatch]) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.dask
def test_dask_workers_that_die_are_temporary() -> None:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        open_engine("dask", **OPTIONS["dask"]) as engine,
    ):
        frame = engine.from_batches([BATCH], BATCH.schema)
        with pytest.raises(TemporaryError, match="workers died"):
            engine.fold(frame, die, operator.add)
        assert engine.fold(frame, sizes, operator.add) == [BATCH.num_rows], "the cluster works on"


def slow(_: Iterator[pa.RecordBatch]) -> None:
    time.sleep(600)


@pytest.mark.dask
def test_a_lost_dask_scheduler_is_temporary(tmp_path: Path) -> None:
    # Tasks are unpickled on the scheduler too: both find this module through PYTHONPATH.
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    note = tmp_path / "scheduler.json"
    place = ["--scheduler-file", str(note)]
    dask_cli = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "env": env}
    scheduler = subprocess.Popen([*dask_cli, "scheduler", "--port", "0", *place], **quiet)
    worker = subprocess.Popen([*dask_cli, "worker", "--no-nanny", *place], **quiet)
    try:
        deadline = time.monotonic() + 60
        while not note.exists():
            assert time.monotonic() < deadline
            time.sleep(0.2)
        address = json.loads(note.read_text())["address"]
        with open_engine("dask", dask={"address": address}) as engine:
            frame = engine.from_batches([BATCH], BATCH.schema)
            assert engine.fold(frame, sizes, operator.add) == [BATCH.num_rows]
            threading.Timer(2, scheduler.kill).start()
            started = time.monotonic()
            with pytest.raises(TemporaryError, match="lost"):
                engine.fold(frame, slow, operator.add)
            assert time.monotonic() - started < 60
    finally:
        for process in (worker, scheduler):
            process.kill()
            process.wait()
