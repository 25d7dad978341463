"""Every index by hand on four points, and against scikit-learn's where it has it."""

import numpy as np
import pytest
from sklearn import metrics

from segpipe.fit import quality
from segpipe.kernels import nearest as kernel
from tests.unit.fit.blobs import blobs, block

FOUR = block([[0], [1], [4], [6]])
LABEL = np.array([0, 0, 1, 1], np.int32)
CENTRES = np.array([[0.5], [5.0]])
ONE = np.ones(4)


def test_four_points():
    # a: 1 1 2 2; b: 5 4 3.5 5.5
    expected = np.mean([4 / 5, 3 / 4, 1.5 / 3.5, 3.5 / 5.5])
    assert quality.silhouette(FOUR, ONE, LABEL) == pytest.approx(expected)
    simple, error = quality.simplified_silhouette(FOUR, ONE, CENTRES)
    values = [1 - 0.5 / 5, 1 - 0.5 / 4, 1 - 1 / 3.5, 1 - 1 / 5.5]
    assert simple == pytest.approx(np.mean(values), rel=1e-6)
    assert error == pytest.approx(np.std(values) / 2, rel=1e-5)
    sums = kernel.add_up(FOUR, ONE, LABEL, CENTRES)
    # between: 4 * 2.25^2, within: 2.5
    assert quality.calinski_harabasz(sums) == pytest.approx(4 * 2.25**2 / (2.5 / 2))
    assert quality.davies_bouldin(FOUR, ONE, LABEL, CENTRES) == pytest.approx(1.5 / 4.5)


def test_scikit_learns_values():
    x, y = blobs([[0, 0, 0], [2, 0, 0], [0, 3, 1]], [50, 80, 30], 0.8)
    rows, label, w = x.T.astype(float), y.astype(np.int32), np.ones(160)
    centres = np.array([rows[y == c].mean(axis=0) for c in range(3)])
    assert quality.silhouette(x, w, label) == pytest.approx(
        metrics.silhouette_score(rows, y), rel=1e-6
    )
    assert quality.calinski_harabasz(kernel.add_up(x, w, label, centres)) == pytest.approx(
        metrics.calinski_harabasz_score(rows, y), rel=1e-6
    )
    assert quality.davies_bouldin(x, w, label, centres) == pytest.approx(
        metrics.davies_bouldin_score(rows, y), rel=1e-6
    )


def test_weights_are_repeated_rows():
    x, y = blobs([[0, 0], [2, 0]], [20, 30], 0.8)
    count = np.random.default_rng(0).integers(1, 4, 50)
    again, label = np.ascontiguousarray(np.repeat(x, count, axis=1)), y.astype(np.int32)
    centres = np.array([[0.0, 0], [2, 0]])
    w, ones = count.astype(float), np.ones(count.sum())
    repeated = np.repeat(label, count)
    assert quality.simplified_silhouette(x, w, centres)[0] == pytest.approx(
        quality.simplified_silhouette(again, ones, centres)[0]
    )
    assert quality.davies_bouldin(x, w, label, centres) == pytest.approx(
        quality.davies_bouldin(again, ones, repeated, centres)
    )


def test_noise_is_left_out_and_one_cluster_has_no_silhouette():
    noisy = block([[0], [1], [4], [6], [9]])
    label = np.append(LABEL, np.int32(-1))
    assert quality.silhouette(noisy, np.ones(5), label) == quality.silhouette(FOUR, ONE, LABEL)
    assert np.isnan(quality.silhouette(FOUR, ONE, np.zeros(4, np.int32)))
    alone = quality.silhouette(FOUR, ONE, np.array([0, 1, 1, 1], np.int32))
    assert np.isfinite(alone)


def test_sample_shows_every_segment_and_weighs_it_back():
    label = np.repeat(np.array([0, 1, -1], np.int32), [9900, 100, 50])
    w = np.ones(10050)
    rows = quality.silhouette_sample(label, 1000, 0)
    assert np.bincount(label[rows]).tolist() == [990, 50]
    weight = quality.stratum_weight(label, w, rows)
    assert weight[label[rows] == 0].sum() == pytest.approx(9900)
    assert weight[label[rows] == 1].sum() == pytest.approx(100)
