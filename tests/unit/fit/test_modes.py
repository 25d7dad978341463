"""Modes: how many stand out, and what chance does not make."""

import numpy as np
import pytest

from segpipe.fit.convex import adjusted_rand, from_modes, judged
from segpipe.fit.graph import neighbours
from segpipe.fit.lattice import spread, steps
from segpipe.fit.modes import confirmed_modes, find_modes
from tests.unit.fit.blobs import blobs, block, same_partition


def test_neighbours_leave_the_row_itself_out():
    line = block([[0.0], [1.0], [3.0], [3.0], [7.0]])
    near, far = neighbours(line, 2)
    assert near[0].tolist() == [1, 2] or near[0].tolist() == [1, 3]
    assert far.tolist() == [[1, 3], [1, 2], [0, 2], [0, 2], [4, 4]]


def test_many_features_give_the_same_neighbours_as_a_search_tree():
    rows = np.zeros((300, 9), np.float32)
    rows[:, :3] = np.random.default_rng(0).normal(size=(300, 3))
    by_tree, by_pairs = neighbours(block(rows[:, :3]), 5), neighbours(block(rows), 5)
    assert np.array_equal(by_tree[0], by_pairs[0])
    assert by_pairs[1] == pytest.approx(by_tree[1], abs=1e-3)


def test_blobs_are_modes_and_the_order_of_rows_is_none_of_their_business():
    x, y = blobs([[0, 0], [6, 0], [0, 6]], [150, 300, 60], 0.8)
    seen = find_modes(x, np.ones(510))
    assert seen.sure.k == seen.likely.k == 3
    assert same_partition(seen.sure.label, y)
    order = np.random.default_rng(1).permutation(510)
    again = find_modes(np.ascontiguousarray(x[:, order]), np.ones(510))
    assert np.array_equal(again.sure.label, seen.sure.label[order])


def test_k_max_keeps_the_most_prominent():
    x, y = blobs([[0, 0], [6, 0], [0, 6], [3.2, 6]], [200] * 4, 0.6)
    assert find_modes(x, np.ones(800)).sure.k == 4
    three = find_modes(x, np.ones(800), k_max=3).sure
    assert three.k == 3
    joined = np.where(y == 3, 2, y)  # the two that lie nearest
    assert adjusted_rand(three.label, joined) > 0.95


@pytest.mark.parametrize("kind", ["uniform", "gaussian", "exponential", "heavy tails"])
def test_one_group_has_one_mode(kind):
    for seed in range(6):
        rng = np.random.default_rng(seed)
        rows = {
            "uniform": lambda r: r.uniform(size=(600, 2)),
            "gaussian": lambda r: r.normal(size=(600, 5)),
            "exponential": lambda r: r.exponential(size=(600, 2)),
            "heavy tails": lambda r: r.standard_t(3, size=(600, 2)),
        }[kind](rng)
        seen = find_modes(block(rows), np.ones(600), 0.005)
        assert (seen.sure.k, seen.likely.k) == (1, 1)


def test_fresh_rows_do_not_confirm_the_dents_of_a_ring():
    for seed in range(6):
        rng = np.random.default_rng(seed)
        angle = rng.uniform(0, 2 * np.pi, 1000)
        ring = np.c_[np.cos(angle), np.sin(angle)] + rng.normal(size=(1000, 2)) * 0.05
        assert confirmed_modes(block(ring), np.ones(1000)).sure.k == 1


def test_two_rings_are_confirmed():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 1200)
    angle, radius = rng.uniform(0, 2 * np.pi, 1200), np.where(y, 1.0, 0.45)
    rows = np.c_[radius * np.cos(angle), radius * np.sin(angle)] + rng.normal(size=(1200, 2)) * 0.04
    seen = confirmed_modes(block(rows), np.ones(1200))
    assert seen.sure.k == 2
    assert same_partition(seen.sure.label, y[0::2]) or same_partition(seen.sure.label, y[1::2])


def test_too_few_rows_say_nothing():
    assert find_modes(block([[float(i)] for i in range(20)]), np.ones(20)) is None


def test_adjusted_rand_by_hand():
    a, b = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    # pairs together: a 2, b 1, both 1; expected 2 * 1 / 6; (1 - 1/3) / (1.5 - 1/3) = 4/7
    assert adjusted_rand(a, b) == pytest.approx(4 / 7)
    assert adjusted_rand(a, 1 - a) == 1.0
    assert adjusted_rand(np.array([0, 1, 0, 1]), a) == pytest.approx(-0.5)


def test_halves_of_rings_are_hollow_and_blobs_are_not():
    rng = np.random.default_rng(3)
    angle = rng.uniform(0, 2 * np.pi, 800)
    ring = block(np.c_[np.cos(angle), np.sin(angle)] + rng.normal(size=(800, 2)) * 0.04)
    ones = np.ones(800)
    seen = find_modes(ring, ones)
    halves = judged(ring, ones, np.array([[-0.6, 0.0], [0.6, 0.0]]), seen.sure, seen.x)
    assert halves.hollow == 2 and not halves.sound
    x, _ = blobs([[0, 0], [6, 0]], [400, 400], 0.8)
    seen = find_modes(x, ones)
    found = judged(x, ones, from_modes(x, ones, seen.sure, seen.x, seen.w), seen.sure, seen.x)
    assert found.k == 2 and found.agreement == 1.0 and found.sound


def test_grids_are_spread_and_flags_are_not():
    rng = np.random.default_rng(0)
    rows = np.c_[rng.integers(1, 6, 400), rng.integers(0, 2, 400), rng.normal(size=400)]
    x = block(rows)
    assert steps(x, np.ones(400)).tolist() == [1.0, 0.0, 0.0]
    moved, w = spread(x, np.ones(400), 20_000, 0)
    assert np.array_equal(moved[1:], x[1:]) and w.sum() == 400
    assert np.abs(moved[0] - x[0]).max() <= 0.5 and len(np.unique(moved[0])) > 390


def test_rows_that_count_more_often_are_spread_as_often():
    x = block([[float(i)] for i in range(5)])
    w = np.array([1.0, 40.0, 20.0, 20.0, 19.0])
    moved, weight = spread(x, w, 20_000, 0)
    assert np.bincount(np.rint(moved[0]).astype(int)).tolist() == [1, 40, 20, 20, 19]
    assert weight.tolist() == [1.0] * 100


@pytest.mark.parametrize("seed", range(4))
def test_one_feature_of_one_kind_has_one_mode(seed):
    # No way leads around a dent of a line: the difference of two densities is twice as uncertain.
    value = np.random.default_rng([seed, 2000, 5]).normal(size=(1, 2000)).astype(np.float32)
    assert find_modes(value, np.ones(2000)).likely.k == 1
