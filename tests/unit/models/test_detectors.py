import numpy as np
import pytest

from segpipe.kernels import tails
from segpipe.models.blend import BlendDetector, TailDetector
from segpipe.models.detectors import (
    ForestDetector,
    MassDetector,
    SegmentDetector,
    search_length,
)
from segpipe.models.kmeans import KMeansModel


def rows(n, d=3, seed=0):
    x = np.clip(np.random.default_rng(seed).normal(size=(d, n)), -10, 10)
    return (np.round(x * 2**20) / 2**20).astype(np.float32)


@pytest.mark.parametrize("psi", [1, 2, 7, 256])
def test_flattened_forest_scores_as_scikit_learn_does(psi):
    from sklearn.ensemble import IsolationForest

    x = rows(600)
    x[:, 100:200] = x[:, :1]  # leaves of many equal rows
    fitted = IsolationForest(n_estimators=20, max_samples=psi, random_state=3).fit(x.T)
    ours = ForestDetector.of(fitted).score(x)
    assert np.abs(ours + fitted.score_samples(x.T)).max() < 1e-12


def test_search_length_of_two_and_three_rows():
    # c(3) = 2 (ln 2 + gamma) - 4/3
    expected = [0.0, 0.0, 1.0, 2 * (np.log(2) + np.euler_gamma) - 4 / 3]
    assert search_length(np.array([0, 1, 2, 3])) == pytest.approx(expected)


def test_mass_score_is_finite_on_the_very_place_of_identical_rows():
    one = MassDetector(np.zeros((1, 2)), np.ones(1), np.zeros(1), 0.05)
    near, far = one.score(np.array([[0.0, 10.0], [0.0, 10.0]], np.float32))
    assert near == pytest.approx(0.5 * np.log(1e-4)) and far > near


def test_blend_is_the_weighted_mean_of_standardised_scores():
    x = rows(300)
    near = MassDetector(x[:, :5].T.astype(float), np.full(5, 0.2), np.ones(5), 0.2)
    tail = TailDetector(np.ones((3, tails.WIDTH), np.float32))
    both = BlendDetector((tail, near), (1.0, 0.5), (2.0, 0.25), (0.75, 0.25), "mass")
    # Three features of one nat each: (3 - 1) / 2 = 1, a weight of .75.
    expected = 0.75 + 0.25 * (near.score(x) - 0.5) / 0.25
    assert np.allclose(both.score(x), expected, rtol=0, atol=1e-12)
    assert np.array_equal(both.usual(x), near.usual(x))


def test_segment_score_is_zero_at_the_usual_distance_and_grows():
    model = KMeansModel(np.array([[0.0], [8.0]]))
    detector = SegmentDetector(model, np.array([1.0, 0.5, 1.0]))
    scores = detector.score(np.array([[1.0, 3.0, 7.5]], np.float32))
    assert scores == pytest.approx([0.0, np.log(3.0), 0.0], abs=1e-4)
