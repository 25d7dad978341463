from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.features import grouped


def test_groups_of_sorted_keys_are_numbered():
    text = pa.array([None, "a", "a", "b"])
    number = pa.array([1, 1, 2, 2])
    assert grouped.numbered([text]).tolist() == [0, 1, 1, 2]
    assert grouped.numbered([number]).tolist() == [0, 0, 1, 1]
    assert grouped.numbered([text, number]).tolist() == [0, 1, 2, 3]
    assert grouped.heads(np.array([0, 0, 1, 3])).tolist() == [0, 2, 3]


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=60))
def test_rows_of_one_code_and_hash_come_together_whatever_their_bits(rows):
    code = np.sort(np.array([c for c, _ in rows]))
    for scale in (1, 2**32, 2**40 + 1):  # the second has equal lower halves
        hashed = np.array([h * scale for _, h in rows])
        by = grouped.together(code, hashed)
        pairs = list(zip(code[by].tolist(), hashed[by].tolist(), strict=True))
        runs = 1 + sum(a != b for a, b in pairwise(pairs))
        assert runs == len(set(pairs)) and [c for c, _ in pairs] == code.tolist()


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**62), 2**62)), max_size=60))
def test_values_are_sorted_within_their_group(rows):
    code = np.sort(np.array([c for c, _ in rows], np.int64))
    for shift in (0, 50):  # wide values take two sorts, narrow ones a single one
        values = np.array([v for _, v in rows], np.int64) >> shift
        found = grouped.sorted_within(code, values)
        expected = [v for c in range(4) for v in sorted(values[code == c].tolist())]
        assert found.tolist() == expected


def test_sums_neither_overflow_nor_round_twice():
    starts = np.array([0, 2, 4])
    values = np.array([2**62, 2**62, 10**15, -(10**15) + 1, -5, 3])
    assert grouped.exact_sum(values, starts).tolist() == [2.0**63, 1.0, -2.0]


@pytest.mark.parametrize(("sizes", "expected"), [([3], [2.0]), ([2, 0, 1], [1.5, 0.0, 9.0])])
def test_the_middle_of_even_odd_and_no_values(sizes, expected):
    values = np.array([1.0, 2.0, 9.0])
    assert grouped.middle(values, np.array(sizes)).tolist() == expected
