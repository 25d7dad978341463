import numpy as np

from segpipe.kernels import forest

# One tree of depth 2: x0 <= 0 ? (x1 <= 1 ? a : b) : c
FEATURE = np.array([[0, 1, 0]], np.int32)
THRESHOLD = np.array([[0.0, 1.0, np.inf]], np.float32)
VALUE = np.array([[1.0, 2.0, 4.0, -99.0]])
X = np.array([[0.0, -3.0, 0.5], [1.0, 1.5, 7.0]], np.float32)


def test_rows_fall_to_the_left_on_equality_and_early_leaves_are_carried_down():
    assert forest.path_lengths(X, FEATURE, THRESHOLD, VALUE).tolist() == [1.0, 2.0, 4.0]


def test_compiled_loops_give_the_same_bits(monkeypatch):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4, 777)).astype(np.float32)
    feature = rng.integers(0, 4, (9, 15)).astype(np.int32)
    cut, value = rng.normal(size=(9, 15)).astype(np.float32), rng.random((9, 16))
    plain = forest.path_lengths(x, feature, cut, value)
    monkeypatch.setattr(forest, "SMALL_STEPS", 0)
    assert np.array_equal(forest.path_lengths(x, feature, cut, value), plain)
    assert forest.path_lengths(X, FEATURE, THRESHOLD, VALUE).tolist() == [1.0, 2.0, 4.0]
