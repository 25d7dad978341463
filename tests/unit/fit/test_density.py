import sys

import numpy as np
import pytest

from segpipe.errors import ConfigError
from segpipe.fit import density
from segpipe.models.detectors import DensityDetector


def grid(x):
    return np.ascontiguousarray(np.clip(np.round(x * 2**20) / 2**20, -10, 10).astype(np.float32))


def moons(n, noise_share=0.02, seed=0):
    from sklearn.datasets import make_moons

    rng = np.random.default_rng(seed)
    m = int(n * noise_share)
    x, y = make_moons(n - m, noise=0.08, random_state=seed)
    far = rng.uniform(x.min(0) - 0.3, x.max(0) + 0.3, (m, 2))
    x, y = np.concatenate([x, far]), np.concatenate([y, np.full(m, -1)])
    order = rng.permutation(n)
    return grid(((x - x.mean(0)) / x.std(0))[order].T), y[order]


@pytest.mark.parametrize("kind", ["hdbscan", "dbscan"])
def test_two_moons_with_noise(kind):
    from sklearn.metrics import adjusted_rand_score

    x, y = moons(60_000)
    model = density.fit_density(kind, x[:, :20_000], np.full(20_000, 3.0), rows=4000)
    said, true = model.label(x), y >= 0
    assert adjusted_rand_score(y[true], said.segment[true]) >= 0.97
    assert (said.segment[~true] == -1).mean() > 0.4
    evidence = dict(model.evidence)
    assert evidence["clusters"] == model.k == 2 and evidence["sample_rows"] <= 4000
    assert evidence["smallest_group"] == pytest.approx(77 * 60_000 / evidence["sample_rows"], abs=1)


@pytest.mark.parametrize("kind", ["hdbscan", "dbscan"])
def test_floods_of_identical_rows_never_give_nan(kind):
    rng = np.random.default_rng(1)
    x = grid(np.concatenate([rng.normal(size=(300, 3)), np.full((700, 3), 4.0)]).T)
    model = density.fit_density(kind, x, np.ones(1000))
    score = DensityDetector(model).score(x)
    said = model.label(x)
    assert np.isfinite(score).all() and np.isfinite(said.distance).all()
    assert ((said.confidence >= 0) & (said.confidence <= 1)).all()


@pytest.mark.parametrize("kind", ["hdbscan", "dbscan"])
@pytest.mark.parametrize("n", [1, 2, 7, 8, 12])
def test_tiny_tables_work(kind, n):
    x = grid(np.random.default_rng(n).normal(size=(2, n)))
    said = density.fit_density(kind, x, np.ones(n)).label(x)
    assert len(said.segment) == n and np.isfinite(said.distance).all()


def test_one_place_is_one_segment():
    x = np.ones((2, 50), np.float32)
    model = density.fit_density("dbscan", x, np.ones(50))
    assert model.k == 1 and (model.label(x).segment == 0).all()


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "hdbscan", None)
    with pytest.raises(ConfigError, match="segpipe\\[density\\]"):
        density.fit_density(
            "hdbscan", grid(np.random.default_rng(0).normal(size=(2, 40))), np.ones(40)
        )
