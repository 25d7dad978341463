import numpy as np
import pytest

from segpipe.fit.order import CLEAR, _leading, order_of, ordered, principal_axis
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


def test_an_axis_that_is_none_does_not_turn_with_the_rows():
    # four corners of a square: both variances are equal, the correlation is chance
    x, _ = blobs([[-2, -2], [-2, 2], [2, -2], [2, 2]], [60, 60, 60, 60], 0.4)
    model = KMeansModel(np.array([[2.0, 2], [-2, 2], [2, -2], [-2, -2]]))
    rng = np.random.default_rng(0)
    for _ in range(50):
        # as many of each corner: otherwise the draw itself would correlate the features
        rows = np.concatenate([c + rng.choice(60, 57, replace=False) for c in (0, 60, 120, 180)])
        part = np.ascontiguousarray(x[:, rows])
        found = ordered(model, part, np.ones(228)).centres
        # the first feature decides, then the second
        assert found.tolist() == [[-2, -2], [-2, 2], [2, -2], [2, 2]]


def test_projections_within_the_sampling_error_are_ties():
    rng = np.random.default_rng(1)
    x = block(np.c_[3 * rng.normal(size=400), rng.normal(size=400)])
    one = np.ones(400)
    axis = principal_axis(x, one)
    across = np.array([-axis[1], axis[0]])
    low, high = -4 * axis, 4 * axis
    for gap in (-0.02, 0.02):  # the error is 3 / sqrt(400) = .15
        left, right = 3 * across, -3 * across + gap * axis
        found = ordered(KMeansModel(np.array([high, right, left, low])), x, one).centres
        assert (found[[0, 3]] == [low, high]).all()
        assert found[1, 1] < found[2, 1]  # by the feature that they differ most in


def test_order_does_not_depend_on_the_order_of_the_rows():
    x, _ = blobs([[0, 0], [4, 0], [0, 4]], [100, 100, 100], 0.7)
    model = KMeansModel(np.array([[4.0, 0], [0, 4], [0, 0]]))
    expected = ordered(model, x, np.ones(300)).centres.tolist()
    for seed in range(5):
        rows = np.random.default_rng(seed).permutation(300)
        again = ordered(model, np.ascontiguousarray(x[:, rows]), np.ones(300))
        assert again.centres.tolist() == expected


def test_an_axis_of_two_like_variances_turns_little():
    # the first eigenvectors of [[1, c], [c, .9]], c = .02 and -.02, are 21.8 degrees apart
    one, other = (_leading(np.array([[1, c], [c, 0.9]])) for c in (0.02, -0.02))
    assert np.degrees(np.arccos(one @ other)) < 7


def groups_without_an_axis(seed):
    """Rows (1200, 12) of six far groups, their numbers, and six segments at the groups' means."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(6), 200)
    return rng.uniform(-20, 20, (6, 12))[y] + rng.normal(size=(1200, 12)), y


def seen(rows, y, w):
    """The order of the groups, the rows standardised by their weights; and whether no axis leads"""
    z = (rows - np.average(rows, axis=0, weights=w)) / np.sqrt(
        np.average((rows - np.average(rows, axis=0, weights=w)) ** 2, axis=0, weights=w)
    )
    model = KMeansModel(np.array([z[y == c].mean(axis=0) for c in range(6)]))
    values = np.linalg.eigvalsh((z * w[:, None]).T @ z / w.sum())
    return order_of(model, block(z), w).tolist(), values[-2] > CLEAR * values[-1]


def test_shares_of_segments_do_not_turn_their_order():
    # other shares are other units and another axis
    told = 0
    for seed in range(10):
        rows, y = groups_without_an_axis(seed)
        even, unclear = seen(rows, y, np.ones(1200))
        some, still = seen(rows, y, np.where(y == seed % 6, 1.3, 1.0))
        if unclear and still:
            assert some == even
            told += 1
    assert told >= 7


def test_a_clear_axis_is_that_of_the_rows_as_they_are():
    # 90 of 100 rows lie along (1, 1): two far segments of five rows each do not turn it
    line = np.linspace(-8, 8, 90)
    rows = np.r_[np.c_[line, line], np.tile([[3.0, -4.0]], (5, 1)), np.tile([[-4.0, 5.0]], (5, 1))]
    centres = np.array([[4.0, 4.0], [-4.0, -4.0], [3.0, -4.0], [-4.0, 5.0]])
    found = order_of(KMeansModel(centres), block(rows), np.ones(100))
    axis = np.linalg.eigh(np.cov(rows.T, ddof=0))[1][:, -1]
    assert found.tolist() == np.argsort(centres @ axis * np.sign(axis[0])).tolist() == [1, 2, 3, 0]
