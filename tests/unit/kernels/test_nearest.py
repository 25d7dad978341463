"""Nearest centres and exact sums: four points by hand, one answer on both paths, any order."""

import numpy as np
import pytest

from segpipe.kernels import nearest as kernel
from segpipe.kernels import nearest_loops, nearest_small

X = np.array([[0, 0.5, 0.5, 1], [0, 0, 1, 1]], np.float32)
CENTRES = np.array([[0.25, 0.0], [0.75, 1.0]])
ONE = np.ones(4)


def table(seed, d=7, n=3000):
    rng = np.random.default_rng(seed)
    x = np.round(np.clip(rng.normal(size=(d, n)), -10, 10) * 2**20) / 2**20
    return x.astype(np.float32), rng.uniform(0.1, 3, n), rng.normal(size=(9, d))


@pytest.fixture(params=["numpy", "compiled"])
def path(request, monkeypatch):
    for limit in ("SMALL", "WARM"):
        monkeypatch.setattr(nearest_loops, limit, 0 if request.param == "compiled" else 1 << 60)


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


@pytest.mark.parametrize("m", [3, 8, 37, 70])
def test_groups_are_those_of_float64(path, m):
    rng = np.random.default_rng(m)
    x, centres = rng.normal(size=(5, 700)).astype(np.float32), rng.normal(size=(m, 5))
    group = np.sort(rng.integers(0, 4, m)).astype(np.int32)
    apart = np.square(x.T.astype(float)[:, None] - centres[None]).sum(axis=2)
    least = np.stack([apart[:, group == g].min(axis=1) for g in np.unique(group)], axis=1)
    label, best, second = kernel.nearest(x, centres, group)
    assert np.array_equal(label, np.unique(group)[least.argmin(axis=1)])
    least.sort(axis=1)
    assert np.allclose(best, least[:, 0], atol=1e-5)
    assert np.allclose(second, least[:, 1], atol=1e-5)
    told, clear, distance = kernel.described(x, centres, group)
    assert np.array_equal(told, label)
    assert np.allclose(distance, np.sqrt(least[:, 0]), rtol=1e-6)
    assert np.allclose(clear, 1 - np.sqrt(least[:, 0] / least[:, 1]), atol=1e-5)


def test_what_rounding_makes_equally_far_is_still_compared(path):
    # 1e6 and 1e6 - .02 are one float32; the second centre is nearer all the same.
    x = np.full((1, 40), 1000.0, np.float32)
    label, best, second = kernel.nearest(x, np.array([[0.0], [1e-5]]))
    assert label.tolist() == [1] * 40
    assert best.tolist() == second.tolist() == [1e6] * 40


def test_noise_is_in_no_sum(path):
    label = np.array([0, -1, 1, -1], np.int32)
    sums = kernel.add_up(X, ONE, label, CENTRES)
    assert sums.count.tolist() == [1, 1] and sums.inertia == 0.125
    assert kernel.squared_error(X, label, CENTRES).tolist() == [0.0625, 0, 0.0625, 0]
    many, labels = np.tile(X, 9), np.tile(label, 9)  # a vectorised part and a rest
    assert kernel.squared_error(many, labels, CENTRES).tolist() == [0.0625, 0, 0.0625, 0] * 9


@pytest.mark.parametrize("d", [1, 3, 4, 5, 16])
def test_both_paths_have_the_same_bits(d, monkeypatch):
    x, w, _ = table(d, d, 1500)
    centres = np.random.default_rng(d).normal(size=(9, d))
    group = np.array([0, 0, 1, 2, 2, 2, 3, 4, 4], np.int32)
    answers = []
    for small in (0, 1 << 60):
        monkeypatch.setattr(nearest_loops, "SMALL", small)
        monkeypatch.setattr(nearest_loops, "WARM", small)
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
        again, weighted = kernel.step(x, centres, np.ones(x.shape[1]))
        assert np.array_equal(again, label) and np.array_equal(weighted.errors, ones.errors)
        assert np.array_equal(sums.count, ones.count) and np.array_equal(sums.linear, ones.linear)
        assert np.array_equal(sums.errors, ones.errors)


def test_a_described_row_by_hand(path):
    x = np.array([[3.0, 1.0, 2.0], [4.0, 0.0, 0.0]], np.float32)
    label, clear, distance = kernel.described(x, np.array([[0.0, 0.0], [4.0, 0.0]]))
    assert label.tolist() == [1, 0, 0]  # the third is equally near both
    assert distance.tolist() == [17**0.5, 1, 2]
    assert clear == pytest.approx([1 - (17 / 25) ** 0.5, 1 - 1 / 3, 0], abs=1e-7)
    assert kernel.described(x, np.zeros((1, 2)))[1].tolist() == [1, 1, 1]


SHAPES = [(2, 1), (2, 2), (3, 5), (17, 12), (16, 40), (40, 3), (5, 70), (64, 20), (130, 6)]
"""Every way to fill up a lot of centres; sums by mask and by row; tiles asked for early or late."""


def gridded(rng, shape):
    """What a block holds: multiples of 2^-20 within +-10."""
    return (np.round(np.clip(rng.normal(0, 3, shape), -10, 10) * 2**20) / 2**20).astype(np.float32)


@pytest.mark.parametrize(("d", "k"), SHAPES)
def test_a_step_without_weights_is_the_same_on_both_paths_and_exact(d, k, monkeypatch):
    rng = np.random.default_rng([d, k])
    x, centres = gridded(rng, (d, 1500)), rng.normal(0, 3, (k, d))
    answers = []
    for small in (0, 1 << 60):
        monkeypatch.setattr(nearest_loops, "SMALL", small)
        monkeypatch.setattr(nearest_loops, "WARM", small)
        step = kernel.assign(x, centres)
        noisy = np.where(np.arange(1500) % 7 == 0, -1, step.label).astype(np.int32)
        part = kernel.add_up(x, None, noisy, centres)
        label, sums = kernel.step(x, centres)
        assert np.array_equal(label, step.label)
        assert np.array_equal(sums.linear, step.sums.linear)
        assert np.array_equal(sums.squared, step.sums.squared)
        answers.append(
            [step.label, step.best, step.second, *kernel.described(x, centres)]
            + [s for sums in (step.sums, part) for s in (sums.count, sums.linear, sums.squared)]
        )
        # Against integers of any length: units of 2^-20, about the centres' grid points.
        whole = (x.astype(np.float64) * 2**20).astype(np.int64).astype(object)
        point = np.rint(centres * 2**20).astype(np.int64).astype(object)
        for sums, label in ((step.sums, step.label), (part, noisy)):
            for g in range(k):
                own = whole[:, label == g]
                assert sums.count[g] == own.shape[1]
                assert [int(v * 2**20) for v in sums.linear[g]] == own.sum(axis=1).tolist()
                exact = int(((own - point[g][:, None]) ** 2).sum())
                assert int(sums.squared[0, g] * 2**40) + int(sums.squared[1, g] * 2**40) == exact
    for a, b in zip(*answers, strict=True):
        assert np.array_equal(a, b)


def test_labels_are_those_of_float64_but_for_near_ties():
    rng = np.random.default_rng(8)
    x, centres = gridded(rng, (16, 4000)), rng.normal(0, 3, (50, 16))
    step = kernel.assign(x, centres)
    d2 = np.square(x.T.astype(float)[:, None] - centres[None]).sum(axis=2)
    near = d2[np.arange(4000), step.label]
    assert np.allclose(near, d2.min(axis=1), rtol=1e-5)
    assert np.allclose(step.best, near, atol=1e-6 * np.square(x).sum(axis=0).max())


def test_a_rows_bits_do_not_depend_on_its_place_in_the_tile():
    rng = np.random.default_rng(9)
    x, centres = gridded(rng, (16, 900)), rng.normal(0, 3, (70, 16))
    whole = kernel.assign(x, centres)
    for lo in (1, 15, 100, 127, 511, 895):
        part = kernel.assign(np.ascontiguousarray(x[:, lo:]), centres)
        assert np.array_equal(part.label, whole.label[lo:])
        assert np.array_equal(part.best, whole.best[lo:])
        assert np.array_equal(part.second, whole.second[lo:])


def test_errors_are_about_the_centres_themselves(path):
    """Centres between grid points and rows that all lie near one of them."""
    x = gridded(np.random.default_rng(1), (3, 1)) + np.zeros((1, 900), np.float32)
    centres = x[:, :1].T.astype(np.float64) + 2.0**-21 / 3
    one = float(np.square(x[:, 0].astype(np.float64) - centres[0]).sum())
    for w in (None, np.ones(900)):
        assert kernel.add_up(x, w, np.zeros(900, np.int32), centres).inertia == pytest.approx(
            900 * one, rel=1e-9
        )


def test_values_that_no_block_holds_are_added_up_all_the_same(path):
    x = np.array([[0.0, 1.0, 4000.0, 4001.0]], np.float32).repeat(200, axis=1)
    sums = kernel.assign(x, np.array([[0.5], [4000.5]])).sums
    assert sums.count.tolist() == [400, 400]
    assert sums.linear.tolist() == [[200], [200 * 8001.0]]
    assert sums.errors.tolist() == [100, 100]


@pytest.mark.parametrize("sign", [1, -1])
def test_emulated_fused_multiply_add(sign):
    """2^-24 more than half a step decides the rounding, which float64 alone would lose."""
    one = np.float32(1)
    tiny = np.float32(2.0**-35)
    a = np.array([one + np.float32(2.0**-12)], np.float32)  # a a = 1 + 2^-11 + 2^-24: half a step
    c = np.array([2.0**-60], np.float32)
    assert nearest_small.fused(a, sign * a, sign * c) == sign * np.float32(1 + 2.0**-11 + 2.0**-23)
    assert nearest_small.fused(a, sign * a, -sign * c) == sign * np.float32(1 + 2.0**-11)
    assert nearest_small.fused(a, sign * a, 0 * c) == sign * np.float32(1 + 2.0**-11)
    assert nearest_small.fused(np.array([tiny]), np.array([tiny]), -one * a) == -a
