"""The dip against its definition, solved as a linear programme; the p-values' calibration."""

import numpy as np
import pytest
from scipy.optimize import linprog

from segpipe.kernels import dip as kernel
from segpipe.kernels.dip import dip, dip_p


def dip_by_definition(x):
    """Least sup distance of a unimodal distribution function from the sample's, mode by mode."""
    u, count = np.unique(x, return_counts=True)
    upto = np.cumsum(count) / count.sum()
    below = np.r_[0.0, upto[:-1]]
    m = len(u)
    return min(_with_mode(u, below, upto, s, m) for s in range(m))


def _with_mode(u, below, upto, s, m):
    """Convex before value s, a jump allowed at it, concave after; variables: values, then d."""
    left, size = s + 1, m + 2
    rows, bounds = [], []

    def at_most(coefficients, bound):
        row = np.zeros(size)
        for i, c in coefficients:
            row[i] += c
        rows.append(row)
        bounds.append(bound)

    d = size - 1
    for i in range(m):
        before = i if i <= s else left + i - s
        after = i if i < s else left + i - s
        at_most([(after, -1), (d, -1)], -upto[i])
        at_most([(after, 1), (d, -1)], upto[i])
        at_most([(before, 1), (d, -1)], below[i])
        at_most([(before, -1), (d, -1)], -below[i])
    for i in range(1, m - 1):
        h1, h2 = u[i] - u[i - 1], u[i + 1] - u[i]
        if i < s:
            at_most([(i, 1 / h1 + 1 / h2), (i - 1, -1 / h1), (i + 1, -1 / h2)], 0)
        if i > s:
            j = left + i - s
            at_most([(j, -1 / h1 - 1 / h2), (j - 1, 1 / h1), (j + 1, 1 / h2)], 0)
    for i in range(m):
        at_most([(i, 1), (i + 1, -1)], 0)
    goal = np.zeros(size)
    goal[d] = 1
    limits = [(0, 1)] * size
    return linprog(goal, A_ub=np.array(rows), b_ub=bounds, bounds=limits).fun


def test_known_values():
    assert dip(np.array([0.0, 0, 1, 1])) == 0.25  # two atoms: the largest dip there is
    assert dip(np.array([0.0, 1, 2, 3])) == 0.125  # evenly spaced: 1/(2n), the smallest
    assert dip(np.array([5.0, 5, 5])) == 0.0


@pytest.mark.parametrize("seed", range(24))
def test_equals_its_definition(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 13))
    x = [
        rng.normal(size=n),
        rng.random(n),
        np.r_[rng.normal(size=n // 2), rng.normal(size=n - n // 2) + 4],
        rng.integers(0, 5, n).astype(float),
    ][seed % 4]
    assert dip(x) == pytest.approx(dip_by_definition(x), abs=1e-7)


def test_weights_are_repeated_rows():
    x, w = np.array([0.0, 1, 2, 7, 8]), np.array([3.0, 1, 2, 2, 4])
    assert dip(x, w) == pytest.approx(dip(np.repeat(x, w.astype(int))))


def test_p_values_are_uniform_for_uniform_data():
    rng = np.random.default_rng(3)
    p = np.array([dip_p(rng.random(77)) for _ in range(600)])
    for level in (0.05, 0.2, 0.5):
        assert abs((p <= level).mean() - level) < 4 * np.sqrt(level * (1 - level) / 600)


def test_p_tells_two_modes_from_one():
    rng = np.random.default_rng(0)
    one = rng.normal(size=300)
    assert dip_p(one) > 0.5
    assert dip_p(np.r_[one, one + 5]) <= 0.001
    assert dip_p(np.array([1.0, 2, 9])) == 1.0


@pytest.mark.parametrize("n", [2, 7, 100, 1500])
def test_compiled_and_plain_loops_give_the_same_bits(n, monkeypatch):
    rng = np.random.default_rng(n)
    samples = [rng.random(n), np.round(rng.normal(size=n), 1), np.r_[rng.normal(size=n), 9.0]]
    plain = [dip(x, np.ones(len(x)) + (x > 0)) for x in samples]
    monkeypatch.setattr(kernel, "SMALL", 0)
    assert [dip(x, np.ones(len(x)) + (x > 0)) for x in samples] == plain
