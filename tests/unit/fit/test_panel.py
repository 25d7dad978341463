"""The choice on kinds of data whose right answer is known, over seeds: our own kinds, and the panel
of ``shared/checks`` where it is there."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from segpipe.fit.convex import adjusted_rand
from segpipe.fit.select import select
from tests.unit.fit.blobs import block

SHARED = Path(__file__).parents[4] / "shared/checks/panel.py"
SHAPES = {"hdbscan", "dbscan", "merged", "agglomerative"}


def ring(rng, n, radius, noise):
    angle = rng.uniform(0, 2 * np.pi, n)
    around = np.c_[np.cos(angle), np.sin(angle)] * radius
    return around + rng.normal(size=(n, 2)) * noise


def blob_in_a_ring(rng):
    y = rng.choice(2, 1500, p=[0.4, 0.6])
    inner = rng.normal(size=(1500, 2)) * 0.25
    return np.where(y[:, None] == 0, inner, ring(rng, 1500, 1.6, 0.12)), y, SHAPES


def bands(rng):
    y = rng.choice(4, 1500)
    return np.c_[rng.normal(size=1500) * 4, y * 3 + rng.normal(size=1500) * 0.5], y, {"gmm"}


def sizes(rng):
    y = rng.choice(3, 1500, p=[0.7, 0.2, 0.1])
    return np.array([[0, 0], [9, 0], [0, 9]])[y] + rng.normal(size=(1500, 2)), y, {"kmeans", "gmm"}


def integers(rng):
    y = rng.choice(4, 1500)
    x = np.array([[0, 0], [30, 0], [0, 30], [30, 30]])[y] + rng.normal(size=(1500, 2)) * 4
    return np.round(x), y, {"kmeans", "gmm"}


NONE = {
    "uniform": lambda r: r.uniform(size=(1200, 2)),
    "gaussian": lambda r: r.normal(size=(1200, 4)) @ r.normal(size=(4, 4)),
    "heavy tails": lambda r: r.standard_t(3, size=(1200, 2)),
    "exponential": lambda r: r.exponential(size=(1200, 3)),
    "one skewed column": lambda r: np.c_[r.normal(size=(1200, 2)), r.gamma(1.5, size=1200)],
    "ratings": lambda r: r.integers(1, 6, (1200, 4)),
    "counts": lambda r: np.c_[r.poisson(3, 1200), r.geometric(0.3, 1200), r.normal(size=1200)],
    "two that overlap": lambda r: r.normal(size=(1200, 2)) + [1.5, 0] * r.integers(0, 2, (1200, 1)),
}


def chosen(rows, k_max=12):
    x = block((rows - rows.mean(axis=0)) / rows.std(axis=0))
    found = select(x, np.ones(len(rows)), k_max=k_max)
    return found, found.model.label(x).segment


@pytest.mark.slow
@pytest.mark.parametrize("make", [blob_in_a_ring, bands, sizes, integers])
def test_groups_of_many_shapes(make):
    for seed in range(2):
        rows, y, right = make(np.random.default_rng(seed))
        found, label = chosen(rows)
        assert found.kind in right and found.natural
        assert found.k == len(np.unique(y)) and adjusted_rand(label, y) > 0.97


@pytest.mark.parametrize("kind", NONE)
def test_one_group_is_never_a_story(kind):
    found, _ = chosen(np.asarray(NONE[kind](np.random.default_rng(0)), float))
    assert not found.natural and found.why.startswith("no natural segments")


@pytest.mark.slow
def test_fifty_blobs_are_counted():
    rng = np.random.default_rng(0)
    grid = np.array([[i, j] for i in range(10) for j in range(5)], float) * 7
    y = rng.integers(0, 50, 4000)
    found, label = chosen(grid[y] + rng.normal(size=(4000, 2)), k_max=64)
    assert found.kind in ("kmeans", "gmm") and found.k == 50
    assert adjusted_rand(label, y) > 0.98


@pytest.mark.slow
@pytest.mark.parametrize("rows", [1000, 3000, 20_000])
def test_the_shared_panel(rows):
    if not SHARED.exists():
        pytest.skip("shared/checks is not here")
    spec = importlib.util.spec_from_file_location("panel", SHARED)
    panel = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(panel)
    wrong = []
    for kind in panel.KINDS:
        for seed in range(200, 205):
            points, y, right = panel.make(kind, seed, rows)
            found, label = chosen(points)
            least = {"moons": 0.97, "circles": 0.97, "noisy_blobs": 0.9}.get(kind, -1.0)
            good = (found.kind if found.natural else "none") in right
            if not good or adjusted_rand(label[y >= 0], y[y >= 0]) < least:
                wrong.append((kind, seed, found.kind, found.k))
    assert len(wrong) <= 2, wrong  # 55 in all
