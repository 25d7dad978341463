"""Evidence about chosen segments, against hand-made cases and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import silhouette_samples

from segpipe.fit.kmeans import fit_kmeans
from segpipe.fit.quality import silhouettes
from segpipe.fit.validate import (
    _kept_pairs,
    elbow,
    gap,
    knives,
    prediction_strength,
    segment_stability,
    validate,
)
from segpipe.models.kmeans import KMeansModel
from segpipe.models.merged import merged
from tests.unit.fit.blobs import blobs, block

X, Y = blobs([[0, 0], [4, 0], [0, 4], [4, 4]], [150, 150, 150, 150], 0.5)
ONE = np.ones(600)


def test_silhouettes_are_those_of_scikit_learn():
    found = silhouettes(X, ONE, Y.astype(np.int32))
    np.testing.assert_allclose(found, silhouette_samples(X.T, Y), atol=1e-5)


def test_knives_name_the_segment_that_holds_strangers():
    x = block([[0, 0], [0.1, 0], [0.2, 0], [5, 0], [5.1, 0], [4.0, 0]])
    model = KMeansModel(np.array([[0.1, 0.0], [5.0, 0.0], [9.0, 0.0]]))
    found = knives(model, x, np.ones(6), 0)
    assert [k.segment for k in found] == [0, 1]
    assert found[0].misplaced == 0 and len(found[1].values) == 3
    assert found[1].values == tuple(sorted(found[1].values, reverse=True))
    split = KMeansModel(np.array([[0.1, 0.0], [4.0, 0.0], [5.05, 0.0]]))
    strangers = block([[0, 0], [0.2, 0], [2.6, 0], [4.0, 0], [5.0, 0], [5.1, 0]])
    assert knives(split, strangers, np.ones(6), 0)[1].misplaced == pytest.approx(0.5)


def test_the_elbow_is_the_point_farthest_below_the_chord():
    # chord from (1, 100) to (5, 0); at K = 3 the curve lies 40 below it, elsewhere less
    assert elbow([1, 2, 3, 4, 5], [100, 60, 10, 5, 0]) == 3
    assert elbow([1, 2, 3], [100, 50, 0]) is None
    assert elbow([1, 2], [10, 5]) is None


def test_the_gap_finds_four_blobs_and_no_cluster_in_a_box():
    assert gap(X, ONE, 8, 0)["k"] == 4
    box = np.random.default_rng(2).uniform(-1, 1, (2, 500)).astype(np.float32)
    assert gap(box, np.ones(500), 6, 0)["k"] == 1


def test_a_segment_that_is_cut_at_will_is_unstable():
    clear = fit_kmeans(X, ONE, 4).centres
    stable = segment_stability(KMeansModel(clear), X, ONE, None, 0)
    assert min(stable) > 0.95
    ring = np.random.default_rng(1).normal(size=(2, 600)).astype(np.float32)
    cut = segment_stability(KMeansModel(fit_kmeans(ring, ONE, 6).centres), ring, ONE, None, 0)
    assert max(cut) < 0.9


def test_one_segment_has_no_evidence_and_k_given_has_no_elbow():
    assert validate(KMeansModel(np.zeros((1, 2))), X, ONE, (), None, 0) == {}
    found = validate(KMeansModel(fit_kmeans(X, ONE, 4).centres), X, ONE, (), None, 0)
    assert set(found) == {"silhouettes", "stability", "prediction_strength"}
    assert len(found["stability"]) == 4


def test_weights_count_rows():
    w = np.where(Y == 0, 3.0, 1.0)
    often = np.repeat(np.arange(600), w.astype(int))
    model = KMeansModel(np.array([[0.0, 0], [4, 0], [0, 4], [4, 4]]))
    # a repeated row has a neighbour at distance 0 that a weighted row has not: 1 of 450
    by_weight = [k.mean for k in knives(model, X, w, 0)]
    by_rows = [
        k.mean for k in knives(model, np.ascontiguousarray(X[:, often]), w[often] * 0 + 1, 0)
    ]
    np.testing.assert_allclose(by_weight, by_rows, atol=0.01)


def test_prediction_strength_tells_clusters_from_cuts():
    rng = np.random.default_rng(3)
    three = np.repeat([[0.0, 9.0, 0.0], [0.0, 0.0, 9.0]], 200, axis=1) + rng.normal(size=(2, 600))
    one = rng.normal(size=(2, 600))
    found = []
    for x in (three.astype(np.float32), one.astype(np.float32)):
        model = fit_kmeans(x, np.ones(600), 3, 5, 0)
        found.append(prediction_strength(model, x, np.ones(600), None, 0))
    assert found[0] > 0.98 and found[1] < 0.8


def test_kept_pairs_are_those_of_the_worst_cluster():
    # Cluster 1 of four rows is told as 2 + 2: 2 of its 6 pairs are kept.
    own, told = np.array([0, 0, 1, 1, 1, 1]), np.array([5, 5, 0, 0, 1, 1])
    assert _kept_pairs(own, told, np.ones(6)) == pytest.approx(2 / 6)
    assert _kept_pairs(own, np.array([-1, 0, 1, 1, 1, 1]), np.ones(6)) == 0.0


def test_stability_and_prediction_strength_share_their_refits():
    tried = []
    model = merged(np.array([[0.0, 0.0], [9.0, 0.0]]), np.ones(2), np.arange(2, dtype=np.int32))

    def refit(x, w, model):
        tried.append(x.shape[1])
        return model

    rows = np.random.default_rng(0).normal(size=(2, 101)).astype(np.float32)
    rows[0, ::2] += 9.0
    found = validate(model, rows, np.ones(101), (), refit, 0)
    assert found["stability"] == [1.0, 1.0] and found["prediction_strength"] == 1.0
    assert sorted(tried) == [50, 50, 51, 51]  # both halves of two splits
