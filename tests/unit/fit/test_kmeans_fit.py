import numpy as np
import pytest
from sklearn.cluster import KMeans

from segpipe.errors import DataError
from segpipe.fit import kmeans
from segpipe.fit.bisecting import fit_bisecting
from segpipe.fit.kmeans import fit_kmeans, kmeans_starts
from tests.unit.fit.blobs import blobs, block, same_partition

ONE = np.ones(4)
FOUR = block([[0, 0], [0.5, 0], [0.5, 1], [1, 1]])
SQUARE = [[0, 0], [4, 0], [0, 4], [4, 4]]


def test_four_points():
    model = fit_kmeans(FOUR, ONE, 2)
    assert sorted(model.centres.tolist()) == [[0.25, 0], [0.75, 1]]
    assert model.inertia(FOUR, ONE) == 0.25


def test_weights_are_repeated_rows():
    x, _ = blobs(SQUARE, [20] * 4, 1.0)
    w = np.random.default_rng(0).integers(1, 4, 80).astype(float)
    repeated = np.ascontiguousarray(np.repeat(x, w.astype(int), axis=1))
    a, b = fit_kmeans(x, w, 3), fit_kmeans(repeated, np.ones(repeated.shape[1]), 3)
    assert a.inertia(x, w) == pytest.approx(b.inertia(x, w), rel=1e-9)


@pytest.mark.parametrize("k", [3, 8])
def test_inertia_is_scikit_learns_best_of_ten(k):
    rng = np.random.default_rng(k)
    x = block(rng.normal(size=(2000, 5)) + rng.normal(size=(12, 5))[rng.integers(0, 12, 2000)])
    theirs = KMeans(k, n_init=10, random_state=0).fit(x.T.astype(float)).inertia_
    assert fit_kmeans(x, np.ones(2000), k).inertia(x, np.ones(2000)) <= 1.001 * theirs


def test_starts_on_a_subset_end_as_well_as_on_all_rows(monkeypatch):
    x, y = blobs(SQUARE, [1500] * 4, 0.5)
    w = np.ones(6000)
    whole = fit_kmeans(x, w, 4).inertia(x, w)
    monkeypatch.setattr(kmeans, "START_ROWS", 500)
    model = fit_kmeans(x, w, 4)
    assert model.inertia(x, w) == pytest.approx(whole, rel=1e-6)
    assert same_partition(model.label(x).segment, y)


def test_seed_decides_and_starts_are_independent():
    x, _ = blobs(SQUARE, [30] * 4, 1.0)
    w = np.ones(120)
    a, b = kmeans_starts(x, w, 5, 3, 7), kmeans_starts(x, w, 5, 2, 7)
    assert np.array_equal(a[1], b[1]) and not np.array_equal(a[0], a[1])
    assert np.array_equal(fit_kmeans(x, w, 5, seed=1).centres, fit_kmeans(x, w, 5, seed=1).centres)


def test_threads_change_nothing(monkeypatch):
    x, _ = blobs(SQUARE, [100] * 4, 1.5)
    w = np.ones(400)
    alone = fit_kmeans(x, w, 6).centres
    monkeypatch.setattr(kmeans, "THREADED", 0)
    assert np.array_equal(fit_kmeans(x, w, 6).centres, alone)


def test_fewer_distinct_rows_than_k():
    x = block([[0, 0]] * 5 + [[1, 1]] * 5)
    assert fit_kmeans(x, np.ones(10), 2).inertia(x, np.ones(10)) == 0
    for fit in (fit_kmeans, fit_bisecting):
        with pytest.raises(DataError, match="only 2 distinct rows"):
            fit(x, np.ones(10), 3)


def test_a_warm_start_is_where_it_starts_and_empty_centres_move():
    x, y = blobs(SQUARE, [25] * 4)
    far = np.array([[0.1, 0], [0, 4], [9, 9], [-9, -9]])  # two centres have no rows
    model = fit_kmeans(x, np.ones(100), 4, init=far)
    assert same_partition(model.label(x).segment, y)
    assert model.label(block([[0, 0], [0, 4]])).segment.tolist() == [0, 1]


def test_a_cluster_below_the_minimum_share_is_seeded_elsewhere():
    x, _ = blobs([[0, 0], [-6, 0], [9, 9]], [600, 600, 1])
    w = np.ones(1201)
    sizes = np.bincount(fit_kmeans(x, w, 3).label(x).segment)
    assert sizes.min() == 1
    sizes = np.bincount(fit_kmeans(x, w, 3, min_share=0.05).label(x).segment)
    assert sizes.min() >= 0.05 * 1201


def test_rows_without_weight_count_for_nothing():
    x = block([[0, 0], [1, 0], [9, 9]])
    model = fit_kmeans(x, np.array([1.0, 1, 0]), 2)
    assert sorted(model.centres.tolist()) == [[0, 0], [1, 0]]


def test_bisecting_splits_the_largest_error_first():
    x, y = blobs([[0, 0], [1, 0], [8, 0]], [50] * 3, 0.1)
    model = fit_bisecting(x, np.ones(150), 3)
    assert model.kind == "bisecting" and same_partition(model.label(x).segment, y)


def test_a_single_row_changes_clusters_where_both_means_move():
    x = block([[0], [0], [2.1], [4.3]])
    w = np.ones(4)
    # {0, 0, 2.1}, {4.3}: 2.1 is 1.4 from .7 and 2.2 from 4.3, so that Lloyd stays (2.94);
    # {0, 0}, {2.1, 4.3}: 2.42
    stuck = np.array([[0.7], [4.3]])
    assert kmeans.lloyd(x, w, stuck).ravel().tolist() == pytest.approx([0.7, 4.3])
    assert kmeans.exchanged(x, w, stuck).ravel().tolist() == pytest.approx([0, 3.2])


def test_exchanges_never_cost_inertia_and_end_where_lloyd_stays():
    x, _ = blobs(SQUARE, [15] * 4, 2.0)
    w = np.random.default_rng(3).integers(0, 4, 60).astype(float)
    for seed in range(10):
        (start,) = kmeans_starts(x, w, 5, 1, seed)
        plain = kmeans.lloyd(x, w, start, 0.0)
        better = kmeans.exchanged(x, w, plain)
        inertia = [kmeans.KMeansModel(c).inertia(x, w) for c in (plain, better)]
        assert inertia[1] <= inertia[0] * (1 + 1e-9)
        assert kmeans.lloyd(x, w, better, 0.0) == pytest.approx(better, abs=1e-9)


def test_the_first_k_of_longer_starts_are_starts():
    x = np.array([[0.0, 1.0, 10.0, 11.0, 20.0, 21.0]], np.float32)
    chain = np.array([[0.0], [20.0], [10.0]])
    two = fit_kmeans(x, np.ones(6), 2, starts=[chain]).centres
    assert sorted(two.ravel().tolist()) in ([5.5, 20.5], [0.5, 15.5])
    three = fit_kmeans(x, np.ones(6), 3, starts=[chain]).centres
    assert sorted(three.ravel().tolist()) == [0.5, 10.5, 20.5]
