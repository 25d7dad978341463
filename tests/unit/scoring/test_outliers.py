from pathlib import Path

import numpy as np
import pytest

from segpipe.fit.density import fit_density
from segpipe.fit.kmeans import fit_kmeans
from segpipe.models.kmeans import KMeansModel
from segpipe.scoring.outliers import fit_detector, fit_mass, resample
from segpipe.scoring.views import fit_ellipsoid, fit_tails

NSL = Path(__file__).parents[3].parent / "shared/data/network/nsl_kdd_train.parquet"
METHODS = ["mass", "isolation_forest", "ensemble", "segment", "hdbscan", "dbscan"]


def micro(x, w, k):
    return fit_kmeans(x, w, k, 1, 0).centres


def density(kind, x, w):
    return fit_density(kind, x, w, rows=1000)


def detector(method, x, w, model=None, seed=0):
    model = model or KMeansModel(x[:, :2].T.astype(float))
    return fit_detector(
        method, x, w, mass=0.05, model=model, micro=micro, density=density, seed=seed
    )


def grid(x):
    return np.ascontiguousarray(np.clip(np.round(x * 2**20) / 2**20, -10, 10).astype(np.float32))


def test_resample_gives_each_row_its_share():
    assert resample(np.ones(5), 5).tolist() == [0, 1, 2, 3, 4]
    assert np.bincount(resample(np.array([1.0, 0.0, 3.0]), 8)).tolist() == [2, 0, 6]


@pytest.mark.parametrize("method", METHODS)
def test_a_planted_row_scores_highest_and_nothing_depends_on_position(method):
    rng = np.random.default_rng(0)
    x = grid(np.concatenate([rng.normal(size=(799, 3)), [[8.0, -8.0, 8.0]]]).T)
    fitted = detector(method, x, np.ones(800))
    score = fitted.score(x)
    assert fitted.method == method and score.argmax() == 799
    parts = [fitted.score(np.ascontiguousarray(x[:, a : a + 77])) for a in range(0, 800, 77)]
    assert np.array_equal(np.concatenate(parts), score)


@pytest.mark.parametrize("method", METHODS)
def test_duplicates_and_single_rows_stay_finite(method):
    flood = grid(np.concatenate([np.zeros((3, 500)), np.full((3, 20), 7.0)], axis=1))
    for x in (flood, flood[:, :1].copy(), flood[:, 495:505].copy()):
        fitted = detector(method, x, np.ones(x.shape[1]), KMeansModel(np.zeros((1, 3))))
        new = grid(np.array([[0.0, 10, 7], [0, -10, 7], [0, 10, 7]]))
        assert np.isfinite(fitted.score(x)).all() and np.isfinite(fitted.score(new)).all()


def test_weights_count_as_copies():
    rng = np.random.default_rng(2)
    x, w = grid(rng.normal(size=(2, 200))), rng.integers(1, 4, 200).astype(float)
    copies = np.repeat(np.arange(200), w.astype(int))
    centres, each = x[:, :9].T.astype(float), x[:, copies].copy()
    for fit in (lambda x, w: fit_mass(x, w, centres, 0.1), fit_tails, fit_ellipsoid):
        a, b = fit(x, w), fit(each, np.ones(len(copies)))
        assert np.allclose(a.score(x), b.score(x), rtol=0, atol=1e-5)


def test_none_is_none():
    assert detector("none", np.zeros((1, 3), np.float32), np.ones(3)) is None


@pytest.mark.skipif(not NSL.exists(), reason="shared NSL-KDD data are absent")
def test_ensemble_finds_nsl_kdd_attacks_among_normals():
    import pyarrow.parquet as pq
    from sklearn.metrics import roc_auc_score

    table = pq.read_table(NSL)
    attack = table["attack"].to_numpy() != "normal"
    rng = np.random.default_rng(0)
    usual, odd = np.flatnonzero(~attack), np.flatnonzero(attack)
    rows = np.sort(np.r_[rng.choice(usual, 19_000, False), rng.choice(odd, 1000, False)])
    features = []
    for name in set(table.column_names) - {"attack", "difficulty"}:
        v = table[name].to_numpy()[rows]
        if v.dtype == object:  # surprisal
            _, at, count = np.unique(v, return_inverse=True, return_counts=True)
            v = -np.log(count / len(v))[at]
        elif v.max() > 100:
            v = np.log1p(v)
        if v.std() > 0:
            features.append((v - v.mean()) / v.std())
    x = grid(np.stack(features))
    score = detector("ensemble", x, np.ones(x.shape[1])).score(x)
    assert roc_auc_score(attack[rows], score) >= 0.97
