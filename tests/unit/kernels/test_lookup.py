import numpy as np
import pytest

from segpipe.kernels import lookup


def test_mutual_reachability_by_hand():
    # cores at 0 (own .5), 3 (own 0); a row at 1: max(1, .5) = 1 wins; at .25: own .5 > .25
    found = lookup.cells(np.array([[0.0], [3.0]], np.float32), np.array([0.5, 0.0], np.float32))
    at, reach, plain = lookup.nearest_core(np.array([[1.0, 0.25, 2.75]], np.float32), found)
    assert at.tolist() == [0, 0, 1]
    assert np.sqrt(reach).tolist() == [1.0, 0.5, 0.25]
    assert np.sqrt(plain).tolist() == [1.0, 0.25, 0.25]


def test_equally_reachable_cores_the_nearer_then_the_lower_number():
    cores = np.array([[2.0], [1.0], [-1.0]], np.float32)
    found = lookup.cells(cores, np.full(3, 5.0, np.float32))
    assert lookup.nearest_core(np.zeros((1, 1), np.float32), found)[0].tolist() == [1]


@pytest.mark.parametrize(("d", "m"), [(1, 3), (2, 1000), (7, 500)])
def test_search_over_cells_is_exact_and_compiled_gives_the_same_bits(d, m, monkeypatch):
    rng = np.random.default_rng(m)
    cores = np.round(rng.normal(size=(m, d)) * 8).astype(np.float32) / 8  # many ties
    x = np.round(rng.normal(size=(d, 400)) * 8).astype(np.float32) / 8
    found = lookup.cells(cores, (rng.random(m) < 0.5).astype(np.float32) * 0.25)
    monkeypatch.setattr(lookup, "SMALL", 1 << 60)
    plain = lookup.nearest_core(x, found)
    monkeypatch.setattr(lookup, "SMALL", 0)
    fast = lookup.nearest_core(x, found)
    for a, b in zip(plain, fast, strict=True):
        assert np.array_equal(a, b)
    part = lookup.nearest_core(np.ascontiguousarray(x[:, 5:9]), found)
    assert np.array_equal(part[0], plain[0][5:9])


@pytest.mark.parametrize("d", [3, 11, 40])
@pytest.mark.parametrize("spread", [1.0, 1e-3, 2.0**-19])
def test_rough_distances_never_sift_out_the_nearest(d, spread, monkeypatch):
    """Far from 0 and close together, a squared distance is the rest of a cancellation."""
    rng = np.random.default_rng(d)
    where = rng.uniform(-9, 9, (6, d))
    cores = where[rng.integers(0, 6, 1500)] + spread * rng.normal(size=(1500, d))
    rows = where[rng.integers(0, 6, 333)] + spread * rng.normal(size=(333, d))
    rows[:40] = rng.uniform(-10, 10, (40, d))
    rows[40:60] = cores[:20]
    grid = [np.ascontiguousarray(np.round(a * 2**20) / 2**20, np.float32) for a in (cores, rows)]
    found = lookup.cells(grid[0], np.where(rng.random(1500) < 0.3, spread, 0).astype(np.float32))
    x = np.ascontiguousarray(grid[1].T)
    monkeypatch.setattr(lookup, "SMALL", 1 << 60)
    plain = lookup.nearest_core(x, found)
    monkeypatch.setattr(lookup, "SMALL", 0)
    for a, b in zip(plain, lookup.nearest_core(x, found), strict=True):
        assert np.array_equal(a, b)
    part = lookup.nearest_core(np.ascontiguousarray(x[:, 30:47]), found)
    for a, b in zip(plain, part, strict=True):
        assert np.array_equal(a[30:47], b)
