import numpy as np
import pytest

from segpipe.kernels import tails
from segpipe.scoring.views import blend, fit_ellipsoid, fit_tails, grow_forest


def grid(x):
    return np.ascontiguousarray(np.clip(np.round(x * 2**20) / 2**20, -10, 10).astype(np.float32))


def test_a_tail_is_the_share_of_the_weight_at_or_beyond_a_value():
    # Values 0, 1, 2 with weights 1, 6, 3: 2 has 30 % at or above it, 1 has 70 % at or below it.
    fitted = fit_tails(np.array([[0.0, 1.0, 2.0]], np.float32), np.array([1.0, 6.0, 3.0]))
    score = fitted.score(np.array([[0.0, 1.0, 2.0, 5.0, -5.0]], np.float32))
    assert score == pytest.approx(-np.log([0.1, 0.7, 0.3, 1e-4, 1e-4]), rel=1e-6)
    assert fitted.table.shape == (1, tails.WIDTH)


def test_a_burst_of_a_fifth_is_seen_by_its_tail():
    rng = np.random.default_rng(0)
    usual = rng.normal(size=(4, 800))
    burst = np.full((4, 200), 3.0) + rng.normal(size=(4, 200)) * 0.01
    x = grid(np.concatenate([usual, burst], axis=1))
    score = fit_tails(x, np.ones(1000)).score(x)
    assert score[800:].min() > np.median(score[:800])


def test_a_fifth_of_outliers_does_not_bend_the_ellipsoid():
    rng = np.random.default_rng(1)
    usual = rng.normal(size=(2, 800))
    usual[1] = usual[0] + 0.1 * usual[1]
    odd = rng.normal(size=(2, 200)) * 0.1 + np.array([[2.0], [-2.0]])
    x = grid(np.concatenate([usual, odd], axis=1))
    fitted = fit_ellipsoid(x, np.ones(1000))
    assert np.abs(fitted.centre).max() < 0.2
    score = fitted.score(x)
    assert score[800:].min() > score[:800].max()


def test_an_ellipsoid_of_identical_rows_is_finite():
    x = np.zeros((3, 5), np.float32)
    assert np.isfinite(fit_ellipsoid(x, np.ones(5)).score(grid(np.eye(3) * 10))).all()


@pytest.mark.parametrize("rows", [1, 2, 3, 100])
def test_forest_of_few_rows_is_finite_and_seeded(rows):
    x = grid(np.random.default_rng(rows).normal(size=(3, rows)))
    first, again, other = (grow_forest(x, seed, trees=20) for seed in (0, 0, 1))
    assert np.array_equal(first.score(x), again.score(x))
    assert np.isfinite(first.score(x)).all()
    assert rows < 3 or not np.array_equal(first.threshold, other.threshold)


def test_every_row_of_a_tree_ends_in_a_leaf_of_its_own_or_at_the_depth_limit():
    # Three distinct values, two trees of all rows: paths of 1 or 2 steps, and c(1) = 0.
    x = np.array([[0.0, 4.0, 9.0]], np.float32)
    forest = grow_forest(x, 0, trees=2, rows=3)
    for tree in range(2):
        one = forest.value[tree]
        assert sorted(one[one > 0].tolist()) == [1.0, 2.0, 2.0]


def test_our_forest_ranks_as_scikit_learns_does():
    from sklearn.ensemble import IsolationForest

    rng = np.random.default_rng(3)
    x = grid(np.concatenate([rng.normal(size=(4, 950)), rng.normal(size=(4, 50)) * 4], axis=1))
    theirs = -IsolationForest(n_estimators=100, random_state=0).fit(x.T).score_samples(x.T)
    ours = grow_forest(x, 0).score(x)
    assert np.corrcoef(ours, theirs)[0, 1] > 0.97
    assert abs(ours.mean() - theirs.mean()) < 0.01


def test_blend_standardises_on_the_reference():
    x = grid(np.random.default_rng(4).normal(size=(2, 1001)))
    w = np.ones(1001)
    fitted = blend("mass", ((fit_tails(x, w), 1.0), (fit_ellipsoid(x, w), 3.0)), x, w)
    assert fitted.weight == (0.25, 0.75) and fitted.method == "mass"
    for view, middle, spread in zip(fitted.views, fitted.median, fitted.scale, strict=True):
        score = np.sort(view.score(x))
        assert middle == score[500] and spread == score[900] - score[500]
