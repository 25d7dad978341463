"""What a crowd of like rows weighs in the outlier reference."""

import numpy as np
import pyarrow as pa
import pytest

from segpipe.scoring.collapse import alike, reference_weights
from segpipe.values import Sample


def sample(weight, count, burst):
    batch = pa.record_batch({"a": np.arange(len(weight)) * 1.0, "burst_size": burst})
    return Sample(batch, np.array(weight), np.array(count))


ALL_DIFFER = np.array([[1, 2, 3]], np.float32)


def test_none_counts_all_and_exact_each_distinct_row_once():
    drawn = sample([40.0, 10.0, 10.0], [4.0, 1.0, 1.0], [1.0, 1.0, 1.0])
    assert reference_weights(drawn, "none", ALL_DIFFER).tolist() == [40, 10, 10]
    assert reference_weights(drawn, "exact", ALL_DIFFER).tolist() == [10, 10, 10]


def test_a_burst_of_different_rows_weighs_less_than_its_rows():
    # All rows are drawn: 256 of one burst weigh as 256^(7/8) = 128.
    drawn = sample([1.0, 1.0, 1.0], [1.0, 1.0, 1.0], [256.0, 1.0, 1.0])
    found = reference_weights(drawn, "bursts", ALL_DIFFER)
    assert np.allclose(found * [256, 1, 1], [128, 1, 1])


def test_of_a_burst_counts_what_the_sample_is_expected_to_hold():
    # One row of ten is drawn: of a burst of 2,551 rows 256, of one row itself.
    drawn = sample([10.0, 10.0, 10.0], [1.0, 1.0, 1.0], [2551.0, 1.0, np.nan])
    assert np.allclose(reference_weights(drawn, "bursts", ALL_DIFFER), [10 / 2, 10, 10])


def test_like_rows_are_a_crowd_whatever_their_bursts():
    x = np.array([[1, 1, 1, -0.0, 0.0], [5, 5, 6, 2, 2]], np.float32)
    assert alike(x, np.array([3.0, 13.0, 1.0, 1.0, 1.0])).tolist() == [16, 16, 1, 2, 2]
    drawn = sample([3.0, 13.0, 1.0], [3.0, 13.0, 1.0], [1.0, 2.0, 1.0])
    found = reference_weights(drawn, "bursts", x[:, :3])
    assert np.allclose(found, [3 / 16, 13 / 16, 1])


def test_other_words_are_refused():
    with pytest.raises(ValueError, match="twice"):
        reference_weights(sample([1.0], [1.0], [1.0]), "twice", ALL_DIFFER[:, :1])
