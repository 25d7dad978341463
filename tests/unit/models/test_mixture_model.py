import numpy as np
import pytest
from sklearn.mixture import GaussianMixture

from segpipe.errors import DataError
from segpipe.models.mixture import COVARIANCES, MixtureModel


def test_one_dimension_by_hand():
    model = MixtureModel(
        np.array([0.5, 0.5]), np.array([[0.0], [2.0]]), np.array([1.0, 1.0]), "spherical"
    )
    x = np.array([[0.0, 1.0, 2.0]], np.float32)
    found = model.label(x)
    assert found.segment.tolist() == [0, 0, 1]  # equal posteriors: the first
    assert found.confidence == pytest.approx([1 / (1 + np.exp(-2)), 0.5, 1 / (1 + np.exp(-2))])
    assert found.distance.tolist() == [0, 1, 0]
    expected = np.log(np.exp(-0.5) / np.sqrt(2 * np.pi))
    assert model.log_density(x)[1] == pytest.approx(expected)


@pytest.mark.parametrize("kind", COVARIANCES)
def test_density_parameters_and_bic_are_scikit_learns(kind):
    x = np.random.default_rng(0).normal(size=(500, 3)).astype(np.float32)
    theirs = GaussianMixture(4, covariance_type=kind, random_state=0).fit(x.astype(float))
    ours = MixtureModel(theirs.weights_, theirs.means_, theirs.covariances_, kind)
    level = ours.log_density(np.ascontiguousarray(x.T))
    assert np.allclose(level, theirs.score_samples(x.astype(float)))
    assert ours.parameters == theirs._n_parameters()
    assert ours.bic(level.sum(), 500) == pytest.approx(theirs.bic(x.astype(float)))
    order = np.array([2, 0, 3, 1])
    again = ours.reordered(order).label(np.ascontiguousarray(x.T)).segment
    assert np.array_equal(order[again], theirs.predict(x.astype(float)))


def test_far_rows_stay_finite():
    model = MixtureModel(np.array([1.0]), np.zeros((1, 2)), np.full(1, 1e-6), "spherical")
    x = np.full((2, 1), 10, np.float32)
    assert np.isfinite(model.log_density(x)).all()
    assert model.label(x).confidence.tolist() == [1.0]


def test_broken_covariance_is_a_data_error():
    model = MixtureModel(np.array([1.0]), np.zeros((1, 2)), np.zeros((1, 2, 2)), "full")
    with pytest.raises(DataError, match="not positive definite"):
        model.factors()
