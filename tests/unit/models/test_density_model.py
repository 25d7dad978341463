import numpy as np
import pytest

from segpipe.models.density import density_model
from segpipe.models.detectors import DensityDetector

CORES = np.array([[0.0], [1.0], [5.0]], np.float32)


def model(**changes):
    given = {
        "kind": "hdbscan",
        "cores": CORES,
        "own": np.array([0.5, 0.5, 0.25]),
        "segment": np.array([0, 0, 1], np.int32),
        "weight": np.array([1.0, 3.0, 1.0]),
        "cut": np.array([1.0, 0.5]),
        "scale": np.array([0.5, 0.25, 0.5]),
    }
    return density_model(**{**given, **changes})


def test_labels_by_hand():
    said = model().label(np.array([[0.25, 2.0, 2.5, 5.5, 6.0]], np.float32))
    assert said.segment.tolist() == [0, 0, -1, 1, -1]
    assert said.distance.tolist() == [0.25, 1.0, 1.5, 0.5, 1.0]
    assert said.confidence.tolist() == [1.0, 0.5, 0.0, 0.5, 0.0]


def test_a_core_is_inside_its_own_cut_in_spite_of_rounding():
    said = model(own=np.full(3, 0.1), cut=np.full(2, 0.1)).label(CORES.T.copy())
    assert said.segment.tolist() == [0, 0, 1]


def test_centres_are_weighted_and_renaming_moves_everything():
    first = model()
    assert first.centres.tolist() == [[0.75], [5.0]]
    turned = first.reordered(np.array([1, 0]))
    x = np.array([[0.25, 5.5, 9.0]], np.float32)
    assert turned.label(x).segment.tolist() == [1, 0, -1]
    assert np.array_equal(turned.label(x).confidence, first.label(x).confidence)
    assert turned.centres.tolist() == [[5.0], [0.75]]


def test_without_any_segment_all_is_noise_and_everything_finite():
    none = model(segment=np.full(3, -1, np.int32), cut=np.empty(0), scale=np.array([0.5]))
    x = np.array([[0.0, 9.0]], np.float32)
    assert none.k == 0 and none.label(x).segment.tolist() == [-1, -1]
    assert np.isfinite(DensityDetector(none).score(x)).all()


def test_detector_is_zero_at_the_usual_reach_and_grows():
    scores = DensityDetector(model()).score(np.array([[0.25, 2.0, 5.25]], np.float32))
    assert scores == pytest.approx([0.0, np.log(2.0), 0.0], abs=1e-4)
    assert DensityDetector(model()).method == "hdbscan"
