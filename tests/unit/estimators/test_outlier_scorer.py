"""The outlier score as an estimator: signs, thresholds, meanings, reasons."""

import numpy as np
import pandas as pd
import pytest

import segpipe


@pytest.fixture(scope="module")
def x():
    """300 usual rows and three far ones, the last the farthest."""
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(0, 1, (300, 2)), [[9.0, 0], [0, 12.0], [30.0, 30.0]]])


@pytest.fixture(scope="module")
def fitted(x):
    return segpipe.OutlierScorer(top_n=3, scale="none").fit(x)


def test_scikit_learns_signs_and_ours(x, fitted):
    assert np.flatnonzero(fitted.predict(x) == -1).tolist() == [300, 301, 302]
    assert fitted.is_outlier(x).tolist() == (fitted.predict(x) == -1).tolist()
    score = fitted.outlier_score(x)
    assert (score == fitted.scores_).all() and score.argmax() == 302
    assert (fitted.score_samples(x) == -score).all()
    # a row exactly at the threshold is an outlier on both sides
    assert score[300:].min() == fitted.threshold_
    assert ((fitted.decision_function(x) < 0) == (score >= fitted.threshold_)).all()


def test_quantile_and_p_say_what_a_score_means(x, fitted):
    quantile, p = fitted.outlier_quantile(x), fitted.outlier_p(x)
    rank = np.argsort(np.argsort(fitted.scores_))
    assert quantile == pytest.approx(rank / 303, abs=1e-9)
    assert ((p > 0) & (p <= 1)).all() and p[302] == p.min()


def test_reasons_name_the_column_and_the_usual_value(x):
    table = pd.DataFrame(x, columns=["a", "b"])
    fitted = segpipe.OutlierScorer(top_n=3, scale="none").fit(table)
    told = fitted.reasons(table)
    assert [i for i, row in enumerate(told) if row] == [300, 301, 302]
    assert told[0] is None and told[300][0]["feature"] == "a" and told[301][0]["feature"] == "b"
    assert told[301][0]["value"] == "12" and abs(float(told[301][0]["usual"])) < 4
    assert sum(r["share"] for r in told[302]) == pytest.approx(1)
    every = fitted.reasons(table, flagged_only=False)
    assert all(every) and every[300] == told[300]


def test_thresholds(x):
    share = segpipe.OutlierScorer(contamination=0.1).fit(x)
    assert (share.predict(x) == -1).sum() == 30
    assert (segpipe.OutlierScorer().fit(x).predict(x) == -1).sum() == 3  # .01 of 303
    far = np.random.default_rng(1).normal(0, 1, (30, 2)) + 40
    many = np.concatenate([np.random.default_rng(2).normal(0, 1, (3000, 2)), far])
    few = segpipe.OutlierScorer(fdr=0.05).fit(many).predict(many)
    assert (few[3000:] == -1).all() and (few[:3000] == -1).sum() <= 3


@pytest.mark.parametrize(
    "method", ["mass", "ensemble", "isolation_forest", "segment", "dbscan", "hdbscan"]
)
def test_every_method_finds_the_far_rows(method, x):
    found = segpipe.OutlierScorer(method, top_n=5).fit(x)
    assert np.isfinite(found.scores_).all()
    assert (found.predict(x)[301:] == -1).all(), found.scores_[300:]
    assert found.model_.detector.method == method


def test_weights_make_rows_usual():
    rng = np.random.default_rng(1)
    x = np.concatenate([rng.normal(0, 1, (200, 2)), rng.normal(12, 0.1, (4, 2))])
    weight = np.r_[np.ones(200), np.full(4, 60.0)]
    plain = segpipe.OutlierScorer(top_n=4, scale="none").fit(x)
    heavy = segpipe.OutlierScorer(top_n=4, scale="none").fit(x, sample_weight=weight)
    assert (plain.predict(x)[200:] == -1).all()
    assert (heavy.predict(x)[200:] == 1).all()


def test_saved_with_its_calibration(x, fitted, tmp_path):
    back = segpipe.OutlierScorer.load(fitted.save(str(tmp_path / "m")))
    assert (back.predict(x) == fitted.predict(x)).all()
    assert back.threshold_ == fitted.threshold_ and back.top_n == 3
