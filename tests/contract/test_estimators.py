"""Estimators over the callers' own Dask and Spark frames: one model, lazy answers."""

from __future__ import annotations

import os
import subprocess
import sys

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import segpipe
from segpipe.engines import frames, sparksession
from segpipe.errors import ConfigError, DataError

NAMES = ["a", "b", "c", "kind"]
ESTIMATORS = [
    segpipe.KMeans(k=4, n_init=3, columns=NAMES),
    segpipe.GaussianMixture(k=4, n_init=2, columns=NAMES),
    segpipe.DBSCAN(columns=NAMES),
    segpipe.OutlierScorer(columns=NAMES),
]
CONNECT = "SEGPIPE_TEST_SPARK"
"""The conf key of the session, for the process that ``test_over_connect`` starts."""
by_name = pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    places = np.array([[0.0, 0, 0], [8, 0, 0], [0, 8, 0], [4, 4, 9]])
    x = np.repeat(places, 100, axis=0) + rng.normal(0, 1, (400, 3))
    x[7, 1] = np.nan
    found = pd.DataFrame(x, columns=NAMES[:3])
    found["kind"] = np.where(rng.random(400) < 0.3, "x", "y")
    found["id"] = np.arange(400)
    found["weight"] = rng.integers(0, 4, 400).astype(float)
    return found.sample(frac=1, random_state=0)


@pytest.mark.dask
@by_name
def test_dask_frames(estimator, table):
    first = clone(estimator).fit(table)
    with dask.config.set(scheduler="threads"):
        for parts in (1, 6, 40):  # 40: more states than are merged at once
            lazy = dd.from_pandas(table, npartitions=parts, sort=False)
            found = clone(estimator).fit(lazy)
            assert found.model_.model_id == first.model_.model_id
            assert not hasattr(found, "labels_") and not hasattr(found, "scores_")
            said = found.predict(lazy)
            assert said.npartitions == lazy.npartitions and said.divisions == lazy.divisions
            done = said.compute()
            assert done.dtype == said.dtype and done.index.equals(table.index)
            assert (done.to_numpy() == first.predict(table)).all()
            whole = lazy.assign(said=said).compute()
            assert (whole.said.to_numpy() == done.to_numpy()).all()
        weighed = clone(estimator).fit(lazy, sample_weight="weight")
    here = clone(estimator).fit(table, sample_weight=table.weight)
    assert weighed.model_.model_id == here.model_.model_id != first.model_.model_id


@pytest.mark.dask
def test_dask_answers_in_full(table):
    lazy = dd.from_pandas(table, npartitions=3, sort=False)
    scorer = segpipe.OutlierScorer(columns=NAMES, top_n=5)
    with dask.config.set(scheduler="threads"):
        assert (scorer.fit_predict(lazy).compute() == -1).sum() == 5
        told = scorer.reasons(lazy).compute()
        assert told.notna().sum() == 5
        assert told.dropna().tolist() == [r for r in scorer.reasons(table) if r is not None]
        assert scorer.is_outlier(lazy).compute().dtype == bool
        with pytest.raises(ValueError, match="tables in memory") as caught:
            scorer.decision_function(lazy)
        assert isinstance(caught.value, ConfigError)
        with pytest.raises(ValueError, match="lacks") as lost:
            scorer.predict(lazy[["a", "b"]])
        assert isinstance(lost.value, DataError)
        with pytest.raises(ValueError, match="Dask Array"):
            scorer.fit(lazy[["a", "b"]].to_dask_array())
        with pytest.raises(ValueError, match="name of a column"):
            scorer.fit(lazy, sample_weight=table.weight)
        bad = dd.from_pandas(table.assign(weight=-1.0), npartitions=2)
        with pytest.raises(ValueError, match="negative"):
            scorer.fit(bad, sample_weight="weight")


@pytest.fixture(scope="module")
def spark():
    """The session of these tests: classic, unless ``test_over_connect`` asks for the other."""
    where = os.environ.get(CONNECT, "spark.master")
    opened = sparksession.open_session({where: "local[2]"}, frames.memory_bytes("2g"), "2g")
    with opened as session:
        yield session


@pytest.mark.spark
@pytest.mark.slow
def test_over_connect():
    """The Spark tests again on a Connect session: a process with a classic one cannot have it."""
    pytest.importorskip("grpc")
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "pytest", "-q", "-k", "spark_ or mllib", __file__],
        capture_output=True,
        text=True,
        env={**os.environ, CONNECT: "spark.remote"},
    )
    assert done.returncode == 0, done.stdout[-3000:]


SPARK = [
    ESTIMATORS[0],
    ESTIMATORS[3],
    *(pytest.param(e, marks=pytest.mark.slow) for e in ESTIMATORS[1:3]),
]


@pytest.mark.spark
@pytest.mark.parametrize("estimator", SPARK, ids=lambda e: type(e).__name__)
def test_spark_frames(estimator, table, spark):
    lazy = spark.createDataFrame(table).repartition(5)
    first, found = clone(estimator).fit(table), clone(estimator).fit(lazy)
    assert found.model_.model_id == first.model_.model_id
    scored = found.predict(lazy)
    name = "prediction" if isinstance(estimator, segpipe.OutlierScorer) else "segment_id"
    assert scored.columns == [*table.columns, name]
    rows = scored.toPandas().set_index("id").loc[table.id]
    assert (rows[name].to_numpy() == first.predict(table)).all()
    if isinstance(estimator, segpipe.KMeans):
        weighed = clone(estimator).fit(lazy, sample_weight="weight")
        here = clone(estimator).fit(table, sample_weight="weight")
        assert weighed.model_.model_id == here.model_.model_id


@pytest.mark.spark
def test_spark_reasons_and_missing_columns(table, spark):
    lazy = spark.createDataFrame(table)
    scorer = segpipe.OutlierScorer(columns=NAMES, top_n=3).fit(lazy)
    told = scorer.reasons(lazy).where("outlier_reasons is not null").collect()
    assert len(told) == 3
    mine = dict(zip(table.id, scorer.reasons(table), strict=True))
    for row in told:
        assert [r.asDict() for r in row.outlier_reasons] == mine[row.id]
    with pytest.raises(ValueError, match="lacks"):
        scorer.predict(lazy.select("a"))


MLLIB = [
    segpipe.KMeans(k=4, columns=NAMES[:3]),
    segpipe.GaussianMixture(k=4, n_init=2, columns=NAMES[:3], covariance="full"),
    *(
        pytest.param(estimator, marks=pytest.mark.slow)
        for estimator in (
            segpipe.KMeans(k=3, columns=NAMES[:3], scale="none"),
            segpipe.GaussianMixture(k=4, n_init=2, columns=NAMES[:3], covariance="spherical"),
        )
    ),
]


@pytest.mark.spark
@pytest.mark.parametrize("estimator", MLLIB, ids=str)
def test_to_mllib_predicts_the_same_from_raw_columns(estimator, table, spark, tmp_path):
    odd = table.assign(c=np.exp(table.c))  # enters as a logarithm where the scale is auto
    fitted = clone(estimator).fit(odd)
    if "connect" in type(spark).__module__:
        with pytest.raises(ValueError, match="classic Spark session"):
            fitted.to_mllib(spark)
        return
    from pyspark.ml import PipelineModel

    model = fitted.to_mllib(spark)
    model.save(str(tmp_path / "model"))
    for each in (model, PipelineModel.load(str(tmp_path / "model"))):
        rows = each.transform(spark.createDataFrame(odd)).toPandas().set_index("id")
        assert (rows.loc[odd.id].prediction.to_numpy() == fitted.labels_).all()
        extra = ["probability"] if isinstance(estimator, segpipe.GaussianMixture) else []
        assert list(rows.columns) == [
            *(c for c in odd.columns if c != "id"), *extra, "prediction",
        ]  # fmt: skip


@pytest.mark.spark
def test_to_mllib_refuses_what_mllib_cannot_say(table, spark):
    with pytest.raises(ValueError, match="no model that labels rows as dbscan"):
        segpipe.DBSCAN(columns=NAMES[:3]).fit(table).to_mllib(spark)
    with pytest.raises(ValueError, match="'kind'"):
        segpipe.KMeans(k=2, columns=NAMES).fit(table).to_mllib(spark)
