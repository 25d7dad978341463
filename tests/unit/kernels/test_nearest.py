"""Nearest centres and exact sums: four points by hand, one answer on both paths, any order."""

import numpy as np
import pytest

from segpipe.kernels import nearest as kernel

X = np.array([[0, 0.5, 0.5, 1], [0, 0, 1, 1]], np.float32)
CENTRES = np.array([[0.25, 0.0], [0.75, 1.0]])
ONE = np.ones(4)


def table(seed, d=7, n=3000):
    rng = np.random.default_rng(seed)
    x = np.round(np.clip(rng.normal(size=(d, n)), -10, 10) * 2**20) / 2**20
    return x.astype(np.float32), rng.uniform(0.1, 3, n), rng.normal(size=(9, d))


@pytest.fixture(params=["numpy", "compiled"])
def path(request, monkeypatch):
    monkeypatch.setattr(kernel, "SMALL", 0 if request.param == "compiled" else 1 << 60)


def test_four_points(path):
    label, best, second = kernel.nearest(X, CENTRES)
    assert label.tolist() == [0, 0, 1, 1]
    assert best.tolist() == [0.0625] * 4
    assert second.tolist() == [1.5625, 1.0625, 1.0625, 1.5625]
    sums = kernel.lloyd_sums(X, ONE, CENTRES)
    assert sums.count.tolist() == [2, 2]
    assert sums.linear.tolist() == [[0.5, 0], [1.5, 2]]
    assert sums.inertia == 0.25 and sums.errors.tolist() == [0.125, 0.125]


def test_equally_near_takes_the_first_and_one_centre_has_no_second(path):
    x = np.zeros((1, 1), np.float32)
    assert kernel.nearest(x, np.array([[1.0], [-1.0]]))[0].tolist() == [0]
    assert np.isinf(kernel.nearest(x, np.array([[1.0]]))[2]).all()


def test_second_is_of_another_group(path):
    x = np.array([[0.0]], np.float32)
    label, best, second = kernel.nearest(
        x, np.array([[1.0], [2.0], [3.0]]), np.array([0, 0, 4], np.int32)
    )
    assert (label[0], best[0], second[0]) == (0, 1, 9)


def test_noise_is_in_no_sum(path):
    label = np.array([0, -1, 1, -1], np.int32)
    sums = kernel.add_up(X, ONE, label, CENTRES)
    assert sums.count.tolist() == [1, 1] and sums.inertia == 0.125
    assert kernel.squared_error(X, label, CENTRES).tolist() == [0.0625, 0, 0.0625, 0]


@pytest.mark.parametrize("d", [1, 3, 4, 5, 16])
def test_both_paths_have_the_same_bits(d, monkeypatch):
    x, w, _ = table(d, d, 1500)
    centres = np.random.default_rng(d).normal(size=(9, d))
    group = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4], np.int32)
    answers = []
    for small in (0, 1 << 60):
        monkeypatch.setattr(kernel, "SMALL", small)
        label, *rest = kernel.nearest(x, centres)
        sums = kernel.add_up(x, w, label, centres)
        grouped = kernel.nearest(x, centres, group)
        parts = (sums.count, sums.linear, sums.squared)
        answers.append([label, *rest, *grouped, kernel.distances(x, centres), *parts])
    for a, b in zip(*answers, strict=True):
        assert np.array_equal(a, b)


def test_sums_do_not_depend_on_order_or_parts(path):
    x, w, centres = table(1)
    whole = kernel.lloyd_sums(x, w, centres)
    order = np.random.default_rng(2).permutation(x.shape[1])
    parts = [
        kernel.lloyd_sums(np.ascontiguousarray(x[:, p]), w[p], centres)
        for p in np.array_split(order, 13)
    ]
    total = parts[5]
    for i in (7, 0, 12, 1, 2, 3, 4, 6, 8, 9, 10, 11):
        total = parts[i] + total
    assert np.array_equal(total.count, whole.count)
    assert np.array_equal(total.linear, whole.linear)
    assert np.array_equal(total.squared, whole.squared)


def test_row_result_does_not_depend_on_its_place(path):
    x, _, centres = table(3, 5, 1100)
    whole = kernel.nearest(x, centres)
    for lo in (1, 511, 513, 1030):
        part = kernel.nearest(np.ascontiguousarray(x[:, lo:]), centres)
        for a, b in zip(whole, part, strict=True):
            assert np.array_equal(a[lo:], b)


def test_inertia_is_that_of_float64():
    x, w, centres = table(4)
    d2 = ((x.T.astype(float)[:, None, :] - centres[None]) ** 2).sum(axis=2)
    expected = (w * d2.min(axis=1)).sum()
    assert kernel.lloyd_sums(x, w, centres).inertia == pytest.approx(expected, rel=1e-6)
    near = d2[np.arange(x.shape[1]), kernel.nearest(x, centres)[0]]
    assert np.allclose(near, d2.min(axis=1), rtol=1e-5)


def test_no_weights_are_weights_of_one(path):
    x, _, centres = table(5)
    label, best, second = kernel.nearest(x, centres)
    step = kernel.assign(x, centres)
    for a, b in zip((label, best, second), (step.label, step.best, step.second), strict=True):
        assert np.array_equal(a, b)
    for sums in (
        kernel.add_up(x, None, label, centres),
        kernel.lloyd_sums(x, None, centres),
        step.sums,
    ):
        ones = kernel.add_up(x, np.ones(x.shape[1]), label, centres)
        assert np.array_equal(sums.count, ones.count) and np.array_equal(sums.linear, ones.linear)
        assert np.array_equal(sums.errors, ones.errors)


def test_a_described_row_by_hand(path):
    x = np.array([[3.0, 1.0, 2.0], [4.0, 0.0, 0.0]], np.float32)
    label, clear, distance = kernel.described(x, np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert label.tolist() == [1, 0, 0]  # the third is equally near both
    assert distance.tolist() == [17**0.5, 1, 2]
    assert clear == pytest.approx([1 - (17 / 25) ** 0.5, 1 - 1 / 3, 0], abs=1e-7)
    assert kernel.described(x, np.zeros((1, 2)))[1].tolist() == [1, 1, 1]
