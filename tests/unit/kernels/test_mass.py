import numpy as np
import pytest

from segpipe.kernels import mass


def block(rng, d, n):
    x = np.clip(rng.normal(size=(d, n)) * 2, -10, 10)
    return (np.round(x * 2**20) / 2**20).astype(np.float32)


def test_mean_square_fills_the_mass_from_the_nearest_on():
    # One row at 0; clusters at 1, 2 and 5 holding .3, .3 and .4, spreads .5, 0, 0; mass .5:
    # (.3 * (1 + .5) + .2 * 4) / .5 = 2.5
    x = np.zeros((1, 1), np.float32)
    centres = np.array([[5.0], [1.0], [2.0]])
    out = mass.mean_square(x, centres, np.array([0.4, 0.3, 0.3]), np.array([0, 0.5, 0.0]), 0.5)
    assert out == pytest.approx([2.5], rel=1e-12)


def test_usual_place_is_the_mean_of_what_was_looked_at():
    x = np.zeros((1, 1), np.float32)
    centres = np.array([[5.0], [1.0], [2.0]])
    out = mass.usual_place(x, centres, np.array([0.4, 0.3, 0.3]), np.zeros(3), 0.5)
    assert out[0] == pytest.approx([(0.3 * 1 + 0.2 * 2) / 0.5])


@pytest.mark.parametrize("d", [1, 2, 5, 13])
@pytest.mark.parametrize("k", [1, 16, 50, 128])
def test_compiled_loops_give_the_same_bits_as_numpy(d, k, monkeypatch):
    rng = np.random.default_rng(d * k)
    x, centres = block(rng, d, 301), rng.normal(size=(k, d)) * 2
    share, spread = rng.dirichlet(np.ones(k)), rng.random(k)
    monkeypatch.setattr(mass, "SMALL", 1 << 40)
    plain = mass.mean_square(x, centres, share, spread, 0.05)
    monkeypatch.setattr(mass, "SMALL", 0)
    assert np.array_equal(mass.mean_square(x, centres, share, spread, 0.05), plain)
    part = mass.mean_square(np.ascontiguousarray(x[:, 7:20]), centres, share, spread, 0.05)
    assert np.array_equal(part, plain[7:20])


def test_whole_mass_is_the_mean_squared_distance_to_all_rows():
    rng = np.random.default_rng(0)
    rows, x = rng.normal(size=(60, 3)), block(rng, 3, 5)
    label = np.arange(60) % 4
    centres = np.stack([rows[label == g].mean(axis=0) for g in range(4)])
    spread = np.array([((rows[label == g] - centres[g]) ** 2).sum(1).mean() for g in range(4)])
    out = mass.mean_square(x, centres, np.full(4, 0.25), spread, 1.0)
    truth = ((x.T[:, None, :] - rows[None]) ** 2).sum(-1).mean(axis=1)
    assert out == pytest.approx(truth, rel=1e-5)


def test_equally_near_clusters_are_taken_in_order_by_both_paths(monkeypatch):
    rng = np.random.default_rng(1)
    centres = np.repeat(np.round(rng.normal(size=(9, 2))), 5, axis=0)[rng.permutation(45)]
    x, share = block(rng, 2, 40), rng.dirichlet(np.ones(45))
    plain = mass.mean_square(x, centres, share, np.zeros(45), 0.4)
    monkeypatch.setattr(mass, "SMALL", 0)
    assert np.array_equal(mass.mean_square(x, centres, share, np.zeros(45), 0.4), plain)
