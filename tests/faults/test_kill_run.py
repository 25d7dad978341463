"""SIGKILL of ``segpipe run`` while it writes and commits: the published state stays whole.

Moments are uniform over the measured write and commit stages. After each kill the readers see
either the state from before or the whole new one, and the same command, repeated, succeeds.
"""

from __future__ import annotations

import hashlib
import random
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import duckdb
import polars as pl
import pytest
from deltalake import DeltaTable

from segpipe import pipeline
from segpipe.lake.publish import open_target, read_labels
from tests.transactions import config, ended, started, transactions, tree, until

CUSTOMERS = 40_000
KEPT, DAY = "2011-03-31", "2011-06-30"


def case(name: str, format: str, moments: int, slow: bool = False) -> Any:
    marks = [pytest.mark.slow, pytest.mark.timeout(1800)] if slow else []
    if name != "local":
        marks.append(getattr(pytest.mark, name))
    return pytest.param(name, format, moments, marks=marks, id=f"{name}-{format}-{moments}")


CASES = [
    case("local", "delta", 4),
    case("local", "parquet", 3),
    case("dask", "delta", 2),
    *(case("local", format, 20, slow=True) for format in ("delta", "parquet")),
    *(case(name, "delta", 20, slow=True) for name in ("dask", "spark")),
    *(case(name, "parquet", 4, slow=True) for name in ("dask", "spark")),
]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "transactions.parquet"
    return transactions(path, 2 * CUSTOMERS, CUSTOMERS)


def state(target: Path, format: str) -> tuple[str, str, str]:
    """Hash of the kept day, hash of the other day and the run that made it; both whole."""
    table = read_labels(str(target), format).to_table()
    days = {}
    for day in (KEPT, DAY):
        part = pl.DataFrame(table).filter(pl.col("as_of").cast(pl.String) == day)
        assert part["customer_id"].n_unique() == part.height == CUSTOMERS
        assert part["run_id"].n_unique() == 1
        rows = part.drop("run_id").sort("customer_id").hash_rows(seed=1).to_numpy()
        days[day] = hashlib.sha256(rows.tobytes()).hexdigest(), part["run_id"][0]
    assert table.num_rows == 2 * CUSTOMERS
    return days[KEPT][0], *days[DAY]


def readable_by_others(target: Path, format: str) -> None:
    """Delta through Polars and DuckDB, Parquet through both by a plain glob."""
    if format == "delta":
        seen = pl.read_delta(str(target)).height
        names = DeltaTable(target).file_uris()
    else:
        names = sorted(map(str, (target / "labels").rglob("*.parquet")))
        seen = pl.read_parquet(str(target / "labels")).height
    count = duckdb.sql(f"select count(distinct customer_id) from read_parquet({names})").fetchall()
    assert (seen, count) == (2 * CUSTOMERS, [(CUSTOMERS,)])


def left_over(target: Path, format: str) -> list[str]:
    """Label files on disk that no kept version names."""
    if format == "parquet":
        return [str(p) for p in (target / "_segpipe" / "staging").rglob("*.parquet")]
    table = DeltaTable(target)
    named: set[str] = set()
    for version in range(table.version() + 1):
        named |= {uri.split("/")[-1] for uri in DeltaTable(target, version=version).file_uris()}
    return [p.name for p in target.glob("as_of=*/*.parquet") if p.name not in named]


def kill(child: subprocess.Popen[str]) -> bool:
    """Whether it was still at work."""
    child.send_signal(signal.SIGKILL)
    child.communicate(timeout=60)
    return child.returncode == -signal.SIGKILL


@pytest.mark.parametrize(("name", "format", "moments"), CASES)
def test_killed_runs_leave_a_whole_state_and_the_next_succeeds(
    source, tmp_path, name, format, moments
):
    target = tmp_path / "out"
    held = tree(source, target, target={"format": format}, engine={"name": name})
    held["fit"]["n_init"] = 1
    path = config(tmp_path, held)
    # A fitted model spares each run the fit and the report: write and commit are the same.
    fitted = pipeline.execute(mode="run", config=held, engine="local", as_of=KEPT).summary
    model = ["--as-of", DAY, "--model", fitted["model_uri"]]
    code, summary = ended(started(path, *model))
    assert code == 0, summary
    window = summary["seconds"]["write"] + summary["seconds"]["commit"]
    assert summary["as_of"] == DAY and summary["rows_labelled"] == CUSTOMERS

    jitter = random.Random(2011)
    kept, before, owner = state(target, format)
    killed = landed = 0
    for i in range(moments):
        # Another seed is another run key; the labels may be the same, the run is not.
        options = [*model, "--set", f"seed={i + 1}", "--run-id", f"attempt-{i}"]
        child = started(path, *options)
        until(child, "rejects")
        time.sleep(window * (i + jitter.random()) / moments)
        killed += kill(child)
        now_kept, now, now_owner = state(target, format)
        assert now_kept == kept
        assert (now, now_owner) == (before, owner) or now_owner == f"attempt-{i}"
        landed += now_owner != owner
        code, summary = ended(started(path, *options))  # as a scheduler repeats it
        assert code == 0 and summary["status"] in ("done", "already_done"), summary
        assert summary["status"] == ("already_done" if now_owner != owner else "done")
        kept_after, before, owner = state(target, format)
        assert kept_after == kept and owner == f"attempt-{i}"
    print(f"{name} {format}: {killed} of {moments} killed at work, {landed} after their commit")
    assert killed >= moments // 2

    # Helpers of a killed run may have written for a moment longer: the next run cleans up.
    pipeline.execute(mode="run", config={**held, "seed": 99}, engine="local", as_of=DAY)
    assert left_over(target, format) == []
    assert not list((target / "_segpipe" / "live").iterdir())
    assert len({p.run_id for p in open_target(str(target), format).history()}) == moments + 3
    readable_by_others(target, format)
