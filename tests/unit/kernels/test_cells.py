"""Arrow cells as numbers and names, whatever their type."""

from decimal import Decimal

import numpy as np
import pyarrow as pa
import pytest

from segpipe.errors import DataError
from segpipe.kernels.cells import group_codes, numbers, texts
from segpipe.kernels.quantise import quantise


def test_numbers_of_every_type():
    assert numbers(pa.array([1, None, 3], pa.int16())).tolist()[::2] == [1.0, 3.0]
    assert np.isnan(numbers(pa.array([1, None]))[1])
    assert numbers(pa.array([True, False])).tolist() == [1.0, 0.0]
    assert numbers(pa.array([Decimal("1.5")])).tolist() == [1.5]
    assert numbers(pa.array([5, 6, 7]).slice(1)).tolist() == [6.0, 7.0]
    with pytest.raises(DataError, match="string"):
        numbers(pa.array(["1"]))


def test_a_category_is_spelt_alike_in_every_type():
    assert texts(pa.array([80, None])).to_pylist() == ["80", "(missing)"]
    assert texts(pa.array([80.0, 0.5, None])).to_pylist() == ["80", "0.5", "(missing)"]
    assert texts(pa.array([80.0, 1e7])).to_pylist() == ["80", "10000000"]
    assert texts(pa.array(["a", None]).dictionary_encode()).to_pylist() == ["a", "(missing)"]
    assert texts(pa.array([True])).to_pylist() == ["true"]


def test_groups_are_numbered_by_first_appearance():
    assert group_codes(pa.array(["b", "b", None, "a", "b"])).tolist() == [0, 0, 1, 2, 0]


def test_both_paths_quantise_to_the_same_bits():
    rng = np.random.default_rng(0)
    values = rng.standard_cauchy(5000) * 3
    values[:4] = np.nan, np.inf, -np.inf, 1e300
    large, small = np.empty(5000, np.float32), np.empty(5000, np.float32)
    quantise(values, 0.7, 0.123, 1.7, large)
    for start in range(0, 5000, 100):
        quantise(values[start : start + 100], 0.7, 0.123, 1.7, small[start : start + 100])
    assert large.tobytes() == small.tobytes() and np.abs(large).max() == 10
