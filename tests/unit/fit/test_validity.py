import numpy as np
import pytest

from segpipe.fit.validity import dbcv, spanning_tree


def test_agrees_with_hdbscan_s_own_index():
    validity = pytest.importorskip("hdbscan.validity")
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(0, 0.4, (60, 2)), rng.normal(4, 0.7, (80, 2)), [[9.0, 9.0]]])
    labels = np.repeat([0, 1, -1], [60, 80, 1]).astype(np.int32)
    ours = dbcv(x.T.astype(np.float32), labels, np.ones(141))
    theirs = validity.validity_index(x.astype(np.float32).astype(float), labels)
    assert ours == pytest.approx(theirs, abs=0.02)


def test_one_cluster_or_none_is_the_worst():
    x = np.random.default_rng(0).normal(size=(2, 20)).astype(np.float32)
    assert dbcv(x, np.zeros(20, np.int32), np.ones(20)) == -1.0
    assert dbcv(x, np.full(20, -1, np.int32), np.ones(20)) == -1.0


def test_separated_beats_cut_through_and_duplicates_stay_finite():
    x = np.repeat(np.array([[0.0, 0.1, 0.2, 5.0, 5.1, 5.2]], np.float32), 4, axis=1)
    apart = np.repeat([0, 0, 0, 1, 1, 1], 4).astype(np.int32)
    mixed = np.repeat([0, 1, 0, 1, 0, 1], 4).astype(np.int32)
    good, bad = (dbcv(x, labels, np.ones(24)) for labels in (apart, mixed))
    assert good > 0.5 > bad and np.isfinite([good, bad]).all()


def test_many_dimensions_do_not_overflow():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.normal(-3, 0.01, (400, 30)), rng.normal(3, 0.01, (400, 30))], axis=1)
    value = dbcv(x.astype(np.float32), np.repeat([0, 1], 30).astype(np.int32), np.ones(60))
    assert value > 0.5


def test_the_spanning_tree_is_the_least_and_ties_go_to_the_first_row():
    from scipy.sparse.csgraph import minimum_spanning_tree

    points = np.random.default_rng(1).normal(size=(40, 3))
    cost = np.sqrt(np.square(points[:, None] - points).sum(axis=2))
    ends, length = spanning_tree(cost)
    assert length.sum() == pytest.approx(minimum_spanning_tree(cost).sum())
    assert np.array_equal(cost[ends[0], ends[1]], length)
    ends, length = spanning_tree(1.0 - np.eye(5))  # all pairs alike: a star around the first
    assert ends.tolist() == [[0, 0, 0, 0], [1, 2, 3, 4]] and length.tolist() == [1.0] * 4
