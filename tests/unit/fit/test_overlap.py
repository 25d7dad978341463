"""The likelihood that overlapping components lose."""

import numpy as np
import pytest

from segpipe.fit.mixture import total_log_likelihood
from segpipe.fit.overlap import classification
from segpipe.models.mixture import MixtureModel
from tests.unit.fit.blobs import block

X = block(np.random.default_rng(0).normal(size=(500, 2)))
W = np.random.default_rng(1).uniform(1, 3, 500)


def pair(apart):
    """Two equal unit Gaussians, so far apart along the first feature."""
    means = np.array([[0.0, 0.0], [apart, 0.0]])
    return MixtureModel(np.full(2, 0.5), means, np.stack([np.eye(2)] * 2))


def test_two_components_in_one_place_cost_a_bit_per_row():
    same = pair(0.0)
    level = total_log_likelihood(same, X, W) / W.sum()
    assert classification(same, X, W) == pytest.approx(level - np.log(2), abs=1e-6)


def test_components_far_apart_cost_nothing():
    far = pair(60.0)
    level = total_log_likelihood(far, X, W) / W.sum()
    assert classification(far, X, W) == pytest.approx(level, abs=1e-6)


def test_it_is_the_likelihood_less_the_entropy_of_the_posteriors(monkeypatch):
    model = pair(1.5)
    first = 1.0 / (1.0 + np.exp(1.5 * (X[0].astype(float) - 0.75)))
    entropy = -(first * np.log(first) + (1 - first) * np.log(1 - first))
    level = total_log_likelihood(model, X, W) / W.sum()
    expected = level - (W * entropy).sum() / W.sum()
    assert classification(model, X, W) == pytest.approx(expected, abs=1e-6)
    monkeypatch.setattr("segpipe.fit.overlap.CELLS", 74)
    assert classification(model, X, W) == pytest.approx(expected, abs=1e-6)
