import numpy as np
import pytest

from segpipe.fit.order import ordered, principal_axis
from segpipe.fit.stability import jaccard, stability
from segpipe.models.kmeans import KMeansModel
from tests.unit.fit.blobs import blobs, block

LINE = block([[-3, -1], [0, 0], [3, 1]])


def test_axis_has_its_largest_loading_positive():
    axis = principal_axis(LINE, np.ones(3))
    assert axis == pytest.approx(np.array([3, 1]) / np.sqrt(10))
    assert principal_axis(-LINE, np.ones(3)) == pytest.approx(axis)
    assert principal_axis(block([[1, 2]]), np.ones(1)).tolist() == [1, 0]
    assert principal_axis(block([[1], [2]]), np.ones(2)).tolist() == [1]


def test_ids_follow_the_axis_whatever_they_were():
    centres = np.array([[2.0, 0], [-2, 0], [0, 5]])
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        model = ordered(KMeansModel(centres[order]), LINE, np.ones(3))
        assert model.centres.tolist() == [[-2, 0], [0, 5], [2, 0]]


def test_jaccard_by_hand():
    a = np.array([0, 0, 0, 1, 1, -1], np.int32)
    b = np.array([0, 0, 1, 1, 1, 1], np.int32)
    assert jaccard(a, b, np.ones(6)) == pytest.approx([2 / 3, 2 / 4])
    w = np.array([1.0, 1, 2, 1, 1, 0])
    assert jaccard(a, b, w) == pytest.approx([2 / 4, 2 / 4])


def test_clear_clusters_are_stable_and_cuts_of_a_ring_less():
    x, _ = blobs([[0, 0], [4, 0], [0, 4]], [300, 30, 300])
    found = stability(x, np.ones(630), np.array([[0.0, 0], [4, 0], [0, 4]]), 0)
    assert found == pytest.approx([1, 1, 1])
    rng = np.random.default_rng(0)
    turn = rng.random(600) * 2 * np.pi
    ring = block(np.c_[np.cos(turn), np.sin(turn)] + rng.normal(size=(600, 2)) * 0.3)
    three = np.array([[1.0, 0], [-0.5, 0.8], [-0.5, -0.8]])
    assert stability(ring, np.ones(600), three, 0).mean() < 0.9
