import numpy as np
import pytest

from segpipe.models.merged import merged

MICRO = np.array([[5.0], [0.0], [1.0], [9.0]])
MODEL = merged(MICRO, np.array([1.0, 3, 1, 2]), np.array([1, 0, 0, 1], np.int32))


def test_sorted_by_group_with_weighted_means():
    assert MODEL.micro.ravel().tolist() == [0, 1, 5, 9] and MODEL.k == 2
    assert MODEL.centres.ravel() == pytest.approx([0.25, (5 + 18) / 3])


def test_label_takes_the_nearest_micro_centre_and_the_other_segment_for_confidence():
    found = MODEL.label(np.array([[2.0, 8.0]], np.float32))
    assert found.segment.tolist() == [0, 1]
    assert found.distance.tolist() == [1.0, 1.0]
    assert found.confidence == pytest.approx([1 - 1 / 3, 1 - 1 / 7])


def test_reordered_renames():
    swapped = MODEL.reordered(np.array([1, 0]))
    assert swapped.label(np.array([[2.0, 8.0]], np.float32)).segment.tolist() == [1, 0]
    assert swapped.centres.ravel() == pytest.approx([(5 + 18) / 3, 0.25])


def test_linkage_leaves_follow_the_new_order():
    tree = np.array([[1.0, 2, 1, 4], [0, 3, 4, 3], [4, 5, 9, 7]])  # {0,1} then {5,9} then all
    model = merged(MICRO, np.ones(4), np.array([1, 0, 0, 1], np.int32), "agglomerative", 1.0, tree)
    assert model.height[:, :2].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert tree[0, 0] == 1  # the caller's array is left alone
