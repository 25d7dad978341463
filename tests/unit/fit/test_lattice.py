"""Values on a grid are spread over its steps; copies of a measured row are not."""

import numpy as np

from segpipe.fit.lattice import spread


def test_copies_of_a_measured_row_stay_together_while_ratings_are_spread():
    rng = np.random.default_rng(2)
    ratings = rng.integers(1, 6, 300)
    measured = rng.normal(size=300)
    measured[:80], ratings[:80] = 0.25, 3
    moved, w = spread(np.array([measured, ratings], np.float32), np.ones(300), 20_000, 0)
    assert len(w) == 300 and len(np.unique(moved[1, :80])) == 1
    assert len(np.unique(moved[1, 80:])) == 220
    assert np.abs(moved[1] - ratings).max() <= 0.5 and (moved[0] == measured.astype("f4")).all()


def test_equal_ratings_are_no_copies_where_nothing_is_measured():
    rng = np.random.default_rng(3)
    ratings, flag = rng.integers(1, 6, (2, 300)), rng.integers(0, 2, 300)
    moved, _ = spread(np.array([*ratings, flag], np.float32), np.ones(300), 20_000, 0)
    assert all(len(np.unique(line)) == 300 for line in moved[:2])
    assert (moved[2] == flag).all(), "a flag is no rating"
