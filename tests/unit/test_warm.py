"""Set-up compiles what large runs need, so that none of them waits for numba's compiler."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from segpipe import warm
from segpipe.kernels.jit import folder


def cached():
    return {path.name for path in folder().glob("*.nbc")}


def test_a_large_run_after_it_compiles_nothing(tmp_path):
    warm.main()
    before = cached()
    rng = np.random.default_rng(5)
    x = rng.normal(size=(5, 60_000)) + 9 * rng.integers(0, 3, 60_000)
    rows = {f"a{j}": x[j].astype(np.float32 if j < 2 else np.float64) for j in range(5)}
    pq.write_table(
        pa.table({**rows, "who": [f"c{i}" for i in range(60_000)]}), tmp_path / "t.parquet"
    )
    config = tmp_path / "c.yaml"
    config.write_text(
        f"source: {{uri: {tmp_path}/t.parquet}}\n"
        "contract: {keys: [who]}\n"
        "fit: {model: kmeans, k: 3}\n"
        "outliers: {method: ensemble}\n"
        f"target: {{uri: {tmp_path}/labels, format: parquet}}\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "segpipe", "run", str(config)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert json.loads(done.stdout.splitlines()[-1])["status"] == "done", done.stderr
    assert cached() == before


def test_an_installation_without_the_density_extra_compiles_the_rest(monkeypatch):
    assert {run["fit"]["model"] for run in warm.runs()} == {"kmeans", "gmm", "hdbscan"}
    monkeypatch.setattr(warm.importlib.util, "find_spec", lambda _: None)
    left = warm.runs()
    assert {run["fit"]["model"] for run in left} == {"kmeans", "gmm"}
    assert all(run["outliers"]["method"] != "hdbscan" for run in left)
