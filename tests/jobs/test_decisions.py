"""``model: auto`` decides and labels alike on every engine, however the rows are cut and mixed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest
from sklearn.datasets import make_moons

import segpipe
from segpipe import pipeline
from segpipe.engines.local import LocalEngine
from segpipe.engines.protocol import Engine

pytestmark = pytest.mark.slow
MALL = Path(segpipe.__file__).parents[2] / "shared" / "data" / "customers" / "mall_customers.csv"
Said = tuple[str, str]


def blobs() -> pa.Table:
    rng = np.random.default_rng(4)
    x = rng.normal(size=(1_500, 3)) + rng.uniform(-9, 9, (5, 3))[rng.integers(0, 5, 1_500)]
    return pa.table(dict(zip("abc", x.T, strict=True)))


def moons() -> pa.Table:
    x, _ = make_moons(1_500, noise=0.06, random_state=6)
    return pa.table(dict(zip("ab", x.T, strict=True)))


def mall() -> pa.Table:
    if not MALL.exists():
        pytest.skip(f"no development data at {MALL}")
    table = pcsv.read_csv(MALL)
    return pa.table({"a": table["Annual Income (k$)"], "b": table["Spending Score (1-100)"]})


TABLES: dict[str, Callable[[], pa.Table]] = {"blobs": blobs, "moons": moons, "mall": mall}


def written(table: pa.Table, folder: Path, pieces: int, seed: int) -> Path:
    """The rows, numbered, in another order and in files of unequal length."""
    table = table.append_column("id", pa.array(np.arange(table.num_rows)))
    rng = np.random.default_rng(seed)
    order = rng.permutation(table.num_rows) if seed else np.arange(table.num_rows)
    cuts = np.sort(rng.choice(np.arange(1, table.num_rows), pieces - 1, replace=False))
    folder.mkdir()
    for i, rows in enumerate(np.split(order, cuts)):
        pq.write_table(table.take(pa.array(rows)), folder / f"{i}.parquet")
    return folder


def decided(engine: Engine, source: Path, out: Path) -> Said:
    """The decision as JSON text, and the digest of the label column in the order of the keys."""
    config: dict[str, Any] = {
        "source": {"uri": str(source)},
        "contract": {"keys": ["id"]},
        "outliers": {"method": "none"},
        "target": {"uri": str(out), "format": "parquet"},
    }
    summary = pipeline.execute(mode="run", config=config, engine=engine).summary
    table = pads.dataset(out, format="parquet").to_table().sort_by("id")
    labels = table["segment_id"].to_numpy()
    assert summary["status"] == "done" and len(np.unique(labels[labels >= 0])) > 1
    decision = json.loads(Path(summary["decision"]).read_text())
    return json.dumps(decision, sort_keys=True), hashlib.sha256(labels.tobytes()).hexdigest()


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Said]:
    held: dict[str, Said] = {}

    def said(name: str) -> Said:
        if name not in held:
            folder = tmp_path_factory.mktemp(name)
            source = written(TABLES[name](), folder / "in", 1, 0)
            with LocalEngine() as local:
                held[name] = decided(local, source, folder / "out")
        return held[name]

    return said


@pytest.mark.parametrize("name", list(TABLES))
def test_engines_and_partitionings_decide_alike(
    engine: Engine, reference: Callable[[str], Said], tmp_path: Path, name: str
) -> None:
    for pieces in (2, 7):
        source = written(TABLES[name](), tmp_path / f"in{pieces}", pieces, pieces)
        assert decided(engine, source, tmp_path / f"out{pieces}") == reference(name)
