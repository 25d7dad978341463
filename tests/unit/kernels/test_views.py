import numpy as np
import pytest

from segpipe.kernels import ellipsoid, tails


def block(rng, d, n):
    x = np.clip(rng.normal(size=(d, n)) * 4, -10, 10)
    return (np.round(x * 2**20) / 2**20).astype(np.float32)


def test_cells_are_a_128th_wide_and_hold_both_bounds():
    x = np.array([-10.0, -10 + 2**-20, -(2**-20), 0.0, 1 / 128, 10.0], np.float32)
    assert tails.cells(x).tolist() == [0, 0, 1279, 1280, 1281, 2560] and tails.WIDTH == 2561


def test_distance_along_the_axes_of_an_ellipse():
    # x - centre = (3, 2); rows of the factor give 3 and .5 * 3 + 2 * 2 = 5.5: 9 + 30.25.
    x, centre = np.array([[4.0], [2.0]], np.float32), np.array([1.0, 0.0], np.float32)
    factor = np.array([[1.0, 0.0], [0.5, 2.0]], np.float32)
    assert ellipsoid.squared(x, centre, factor).tolist() == [39.25]


@pytest.mark.parametrize("d", [1, 2, 5, 16, 37])
def test_compiled_loops_give_the_same_bits_as_numpy(d, monkeypatch):
    rng = np.random.default_rng(d)
    x = block(rng, d, 301)
    table = rng.random((d, tails.WIDTH)).astype(np.float32)
    centre = rng.normal(size=d).astype(np.float32)
    factor = np.tril(rng.normal(size=(d, d))).astype(np.float32)
    for module, call in (
        (tails, lambda x: tails.looked_up(x, table)),
        (ellipsoid, lambda x: ellipsoid.squared(x, centre, factor)),
    ):
        monkeypatch.setattr(module, "SMALL", 1 << 40)
        plain = call(x)
        monkeypatch.setattr(module, "SMALL", 0)
        assert np.array_equal(call(x), plain)
        assert np.array_equal(call(np.ascontiguousarray(x[:, 7:20])), plain[7:20])
