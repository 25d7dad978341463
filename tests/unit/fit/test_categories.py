"""Combinations of random categories are no segments."""

import numpy as np

from segpipe.fit.categories import cells_only
from segpipe.fit.select import select


def table(together: float, seed: int = 0, n: int = 1500):
    """One-hot columns of two text columns, and a quantity: in place of ``together`` sd by one."""
    rng = np.random.default_rng(seed)
    first, second = rng.integers(0, 5, n), rng.integers(0, 6, n)
    value = rng.normal(size=n) + together * (first == 0)
    rows = [*(first == i for i in range(5)), *(second == i for i in range(6)), value]
    return np.array(rows, np.float32)


def test_random_text_columns_beside_a_quantity_are_no_segments():
    x = table(0.0)
    found = select(x, np.ones(1500), seed=0)
    assert not found.natural and found.evidence["cells_only"]
    assert "only categories part the rows" in found.why


def test_categories_that_quantities_go_along_with_are_not_passed_over():
    assert cells_only(table(0.0), np.ones(1500), 0.005, 12, 0)
    assert not cells_only(table(6.0), np.ones(1500), 0.005, 12, 0)


def test_tables_without_flags_or_of_flags_only_are_left_alone():
    x = table(0.0)
    assert not cells_only(x[-1:], np.ones(1500), 0.005, 12, 0)
    assert not cells_only(x[:-1], np.ones(1500), 0.005, 12, 0)
