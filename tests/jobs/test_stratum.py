"""outliers.stratum: thresholds of their own for the values of one column."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe import pipeline
from segpipe.pipeline import RunFailed

SIZES = {"calm": 6000, "wild": 3000, "rare": 40}
SPREAD = {"calm": 1.0, "wild": 6.0, "rare": 1.0}


def rows(seed=0):
    rng = np.random.default_rng(seed)
    site = np.repeat(list(SIZES), list(SIZES.values()))
    x = rng.normal(size=(len(site), 3)) * np.array([SPREAD[s] for s in site])[:, None]
    order = rng.permutation(len(site))
    columns = {f"x{j}": x[order, j] for j in range(3)}
    return pa.table({**columns, "site": site[order], "id": np.arange(len(site))})


def config(folder, name, **outliers):
    return {
        "source": {"uri": str(folder / "rows.parquet")},
        "contract": {"keys": ["id"]},
        "features": {"columns": ["x0", "x1", "x2"]},
        "fit": {"model": "kmeans", "k": 2, "n_init": 1},
        "outliers": {"threshold": {"contamination": 0.02}, **outliers},
        "target": {"uri": str(folder / name), "format": "parquet"},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strata")
    pq.write_table(rows(), folder / "rows.parquet")
    return folder


def flags(run, site):
    table = run.labels.to_table().to_pandas()
    return table[table["site"] == site]["is_outlier"].to_numpy()


@pytest.fixture(scope="module")
def done(folder):
    return pipeline.run(config(folder, "strata", stratum="site"))


def test_without_strata_the_wild_site_has_all_the_outliers(folder):
    run = pipeline.run(
        config(folder, "whole", stratum=None)
        | {"target": {"uri": str(folder / "whole"), "format": "parquet", "partition_by": ["site"]}}
    )
    assert flags(run, "calm").sum() == 0 and flags(run, "wild").sum() == 181  # 2 % of 9,040


def test_each_large_site_has_its_share_and_small_ones_go_by_the_whole(done):
    assert flags(done, "calm").sum() == 120 and flags(done, "wild").sum() == 60
    assert flags(done, "rare").sum() == 0
    told = done.summary["outliers"]
    assert told["stratum"] == "site" and told["flagged"] == 180
    assert {k: v["flagged"] for k, v in told["strata"].items()} == {"calm": 120, "wild": 60}
    assert any("40 rows of 1 values of site" in text for text in done.summary["warnings"])
    table = done.labels.to_table().to_pandas()
    calm = table[table["site"] == "calm"]
    assert calm["outlier_quantile"].max() == pytest.approx(1 - 1 / 6000)


def test_score_takes_the_frozen_strata(folder, done):
    again = pipeline.score(config(folder, "again", stratum="site"), model=done.summary["model_uri"])
    for site in SIZES:
        assert flags(again, site).sum() == flags(done, site).sum()
    assert again.summary["outliers"]["flagged"] == 180


def test_a_stratum_that_is_not_there_is_refused(folder):
    with pytest.raises(RunFailed) as caught:
        pipeline.run(config(folder, "none", stratum="region"))
    assert caught.value.code == 78
    assert "region" in caught.value.summary["error"]["message"]


def test_a_column_of_lists_names_no_groups(tmp_path):
    table = rows()
    pq.write_table(table.append_column("tags", [[["a"]] * len(table)]), tmp_path / "rows.parquet")
    held = config(tmp_path, "lists", stratum="tags")
    held["target"]["keep"] = "all"
    with pytest.raises(RunFailed, match="tags is list") as caught:
        pipeline.run(held)
    assert caught.value.code == 78
