"""Law 1 for outliers: scores, flags and campaigns are those of one part on any engine and parts."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from segpipe import pipeline
from tests.attacks import flows

CASES = {
    "ensemble": {"method": "ensemble"},
    "mass by service": {"method": "mass", "stratum": "service"},
    "hdbscan": {"method": "hdbscan"},
    "dbscan": {"method": "dbscan"},
}


def published(folder, engine, parts, outliers):
    table = flows(usual=1500)
    source = folder / f"{engine}{parts}"
    if not source.exists():
        source.mkdir()
        edges = np.linspace(0, table.num_rows, parts + 1).astype(int)
        for i, (a, b) in enumerate(pairwise(edges)):
            pq.write_table(table.slice(a, b - a), source / f"{i}.parquet")
    target = folder / f"{engine}{parts}-{outliers['method']}"
    run = pipeline.run(
        {
            "source": {"uri": str(source)},
            "features": {"set": "connections"},
            "fit": {"model": "kmeans", "k": 2, "n_init": 1},
            "outliers": {"threshold": {"contamination": 0.02}, **outliers},
            "target": {"uri": str(target), "format": "parquet"},
            "engine": {"name": engine},
        }
    )
    rows = run.labels.to_table(
        columns=["ts", "src", "dst", "outlier_score", "outlier_quantile", "outlier_p", "is_outlier"]
    )
    told = json.loads(Path(run.summary["campaigns"]).read_text())
    return rows.sort_by([("ts", "ascending"), ("dst", "ascending")]).to_pylist(), told


@pytest.mark.parametrize("case", list(CASES))
def test_any_partitioning_gives_the_same_scores_and_campaigns(case, tmp_path):
    one = published(tmp_path, "local", 1, CASES[case])
    assert published(tmp_path, "local", 7, CASES[case]) == one


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["dask", "spark"])
@pytest.mark.parametrize("case", list(CASES))
def test_any_engine_gives_the_same_scores_and_campaigns(case, engine, tmp_path):
    one = published(tmp_path, "local", 1, CASES[case])
    assert published(tmp_path, engine, 3, CASES[case]) == one
