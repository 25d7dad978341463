"""The number of centres that leaves little variance."""

import numpy as np

from segpipe.fit.quantiser import LEFT, enough, left_over


def test_plain_places_need_one_centre_each():
    x = np.repeat(np.array([[0.0, 4.0, 0.0, 4.0], [0.0, 0.0, 4.0, 4.0]], np.float32), 50, axis=1)
    left = left_over(x, np.ones(200), 12, 0)
    # Corners of a square: two centres leave half of the variance, three a quarter, four nothing.
    assert np.allclose([left[k] for k in (1, 2, 3, 4)], [1.0, 0.5, 0.25, 0.0])
    assert enough(left) == 4


def test_one_place_and_the_limit():
    assert enough(left_over(np.ones((3, 5), np.float32), np.ones(5), 12, 0)) == 1
    x = np.random.default_rng(0).normal(size=(5, 3000)).astype(np.float32)
    left = left_over(x, np.ones(3000), 4, 0)
    assert enough(left) == 4 and left[4] > LEFT
