from fractions import Fraction

import numpy as np
import pytest

from segpipe.kernels import totals as kernel
from segpipe.kernels.totals import add_column


def added(values, at, magnitude, groups):
    sums, present = np.zeros((2, groups)), np.zeros(groups, np.int64)
    add_column(values, at.astype(np.int32), magnitude, sums, present)
    return sums, present


def test_sums_and_counts_of_each_group():
    values = np.array([1.5, np.nan, 2.25, np.inf, -4.0, 0.1])
    sums, present = added(values, np.array([0, 0, 1, 1, 1, 0]), 4.0, 3)
    assert (sums[0] + sums[1]).tolist() == pytest.approx([1.6, -1.75, 0.0], abs=4 * 2.0**-36)
    assert present.tolist() == [2, 2, 0]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_both_paths_give_the_same_bits_and_order_does_not_matter(monkeypatch, kind):
    rng = np.random.default_rng(1)
    values = rng.normal(0, 1e3, 40_000).astype(kind)
    values[rng.random(len(values)) < 0.01] = np.nan
    at = rng.integers(0, 5, len(values))
    magnitude = float(np.nanmax(np.abs(values)))
    compiled = added(values, at, magnitude, 5)
    order = rng.permutation(len(values))
    shuffled = added(values[order], at[order], magnitude, 5)
    monkeypatch.setattr(kernel, "SMALL", len(values))
    plain = added(values, at, magnitude, 5)
    for other in (shuffled, plain):
        assert np.array_equal(compiled[0], other[0]) and np.array_equal(compiled[1], other[1])
    exact = sum((Fraction(float(v)) for v in values[at == 2] if np.isfinite(v)), Fraction(0))
    error = float(compiled[0][:, 2].sum()) - float(exact)
    assert abs(error) < 8_000 * magnitude * 2.0**-36  # half a grid step a value, at most


def test_values_too_large_to_be_summed_count_as_missing():
    values = np.array([1.5, -np.finfo(float).max, 2.25, 4.0])
    sums, present = added(values, np.array([0, 0, 1, 1]), np.finfo(float).max, 2)
    assert present.tolist() == [1, 2]
    assert np.isfinite(sums).all()
