import numpy as np
import pytest

from segpipe.kernels import forest

# One tree of depth 2: x0 <= 0 ? (x1 <= 1 ? a : b) : c
FEATURE = np.array([[0, 1, 0]], np.int32)
THRESHOLD = np.array([[0.0, 1.0, np.inf]], np.float32)
VALUE = np.array([[1.0, 2.0, 4.0, -99.0]])
X = np.array([[0.0, -3.0, 0.5], [1.0, 1.5, 7.0]], np.float32)


def test_rows_fall_to_the_left_on_equality_and_early_leaves_are_carried_down():
    assert forest.path_lengths(X, FEATURE, THRESHOLD, VALUE).tolist() == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("depth", [1, 4, 6, 9])
def test_compiled_loops_give_the_same_bits(depth, monkeypatch):
    rng = np.random.default_rng(0)
    x = np.round(rng.normal(size=(4, 777)), 1).astype(np.float32)
    inner = 2**depth - 1
    feature = rng.integers(0, 4, (9, inner)).astype(np.int32)
    cut = np.round(rng.normal(size=(9, inner)), 1).astype(np.float32)  # many rows on a threshold
    cut[:, -1] = np.inf
    value = rng.random((9, inner + 1))
    plain = forest.path_lengths(x, feature, cut, value)
    monkeypatch.setattr(forest, "SMALL_STEPS", 0)
    assert np.array_equal(forest.path_lengths(x, feature, cut, value), plain)
    part = forest.path_lengths(np.ascontiguousarray(x[:, 3:260]), feature, cut, value)
    assert np.array_equal(part, plain[3:260])
    assert forest.path_lengths(X, FEATURE, THRESHOLD, VALUE).tolist() == [1.0, 2.0, 4.0]
