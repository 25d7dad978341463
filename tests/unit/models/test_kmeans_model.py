import numpy as np
import pytest

from segpipe.models.kmeans import KMeansModel

X = np.array([[0, 0.5, 0.5, 1], [0, 0, 1, 1]], np.float32)
MODEL = KMeansModel(np.array([[0.25, 0.0], [0.75, 1.0]]))


def test_four_points():
    found = MODEL.label(X)
    assert found.segment.tolist() == [0, 0, 1, 1]
    assert found.distance.tolist() == [0.25] * 4
    clear, less = 1 - np.sqrt(0.0625 / 1.5625), 1 - np.sqrt(0.0625 / 1.0625)
    assert found.confidence == pytest.approx([clear, less, less, clear])
    assert MODEL.inertia(X, np.ones(4)) == 0.25
    assert MODEL.inertia(X, np.array([1.0, 2, 0, 4])) == 7 * 0.0625


def test_distance_is_in_the_models_unit():
    found = KMeansModel(MODEL.centres, unit=4.0).label(X)
    assert found.distance.tolist() == [1.0] * 4


def test_confidence_at_its_ends():
    assert KMeansModel(np.zeros((1, 2))).label(X).confidence.tolist() == [1.0] * 4
    twins = KMeansModel(np.zeros((2, 2))).label(X)
    assert twins.confidence.tolist() == [0.0] * 4 and twins.segment.tolist() == [0] * 4


def test_reordered_renames():
    swapped = MODEL.reordered(np.array([1, 0]))
    assert swapped.label(X).segment.tolist() == [1, 1, 0, 0]
    assert swapped.k == 2 and swapped.kind == "kmeans"


def test_no_rows():
    found = MODEL.label(np.empty((2, 0), np.float32))
    assert len(found.segment) == len(found.confidence) == len(found.distance) == 0
