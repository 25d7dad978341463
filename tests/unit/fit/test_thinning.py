import numpy as np
import pytest

from segpipe.fit import thinning


def grid(x):
    return np.ascontiguousarray(np.clip(np.round(x * 2**20) / 2**20, -10, 10).astype(np.float32))


def test_distinct_rows_carry_the_weight_of_their_copies():
    x = np.array([[2.0, 0.0, 2.0, -0.0], [1.0, 0.0, 1.0, 0.0]], np.float32)
    places, weight = thinning.distinct(x, np.array([1.0, 2.0, 3.0, 4.0]))
    assert places.T.tolist() == [[2.0, 1.0], [0.0, 0.0]] and weight.tolist() == [4.0, 6.0]


def test_sample_sees_rare_far_groups_and_keeps_the_total_weight():
    rng = np.random.default_rng(0)
    x = grid(np.concatenate([rng.normal(0, 1, (9970, 2)), rng.normal(9, 0.05, (30, 2))]).T)
    rows, weight = thinning.density_sample(x, np.full(10_000, 2.0), 1000, 0)
    assert len(rows) <= 1000 and weight.sum() == pytest.approx(20_000)
    rare = rows >= 9970
    assert rare.sum() >= 6 and weight[rare].sum() == pytest.approx(60, rel=0.01)
