"""Decisions on data whose right answer is known."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import make_circles, make_moons

from segpipe.errors import ConfigError, DataError
from segpipe.fit.select import select
from tests.unit.fit.blobs import blobs, block, same_partition

MALL = Path(__file__).parents[4] / "shared/data/customers/mall_customers.csv"
SQUARE = [[0, 0], [5, 0], [0, 5], [5, 5]]


def ones(x):
    return np.ones(x.shape[1])


def standard(rows):
    return block((rows - rows.mean(axis=0)) / rows.std(axis=0))


def test_round_blobs_are_k_means():
    x, y = blobs(SQUARE, [200] * 4, 0.4)
    found = select(x, ones(x))
    assert (found.kind, found.k, found.natural) == ("kmeans", 4, True)
    assert same_partition(found.model.label(x).segment, y)
    assert found.evidence["chosen"] == {"kind": "kmeans", "k": 4, "natural": True}
    assert json.loads(json.dumps(found.evidence, allow_nan=False)) == found.evidence


def test_a_one_per_cent_segment_is_found():
    x, y = blobs([[0, 0], [8, 0], [0, 8]], [2820, 150, 30], 0.7)
    found = select(x, ones(x))
    assert found.kind in ("kmeans", "gmm") and found.k == 3
    assert same_partition(found.model.label(x).segment, y)


def test_bands_are_a_mixture():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(1500, 2)) * [3, 0.3]
    rows[:, 1] += 3 * rng.integers(0, 3, 1500)
    found = select(standard(rows), np.ones(1500))
    assert (found.kind, found.k) == ("gmm", 3)


@pytest.mark.parametrize("make", [make_moons, make_circles])
def test_curved_shapes_take_the_fallback(make):
    more = {"factor": 0.45} if make is make_circles else {}
    rows, y = make(2000, noise=0.05, random_state=0, **more)
    x = standard(rows)
    found = select(x, ones(x))
    assert found.kind in ("merged", "hdbscan") and found.k == 2
    label = found.model.label(x).segment
    assert max((label == y).mean(), (label != y).mean()) > 0.98


@pytest.mark.parametrize("kind", ["uniform", "gaussian"])
@pytest.mark.parametrize("rows", [200, 2000])
def test_no_structure_is_one_segment(kind, rows):
    rng = np.random.default_rng(1)
    x = standard(rng.uniform(size=(rows, 2)) if kind == "uniform" else rng.normal(size=(rows, 3)))
    found = select(x, ones(x))
    assert (found.k, found.natural) == (1, False)
    assert "no natural segments" in found.why
    assert found.model.label(x).segment.tolist() == [0] * rows
    asked = select(x, ones(x), k=4)
    assert (asked.k, asked.natural) == (4, False) and "no natural segments" in asked.why


@pytest.mark.parametrize("columns", [(3, 4), (2, 3, 4)])
def test_mall_customers_are_five(columns):
    if not MALL.exists():
        pytest.skip("shared data are not here")
    with MALL.open() as file:
        lines = list(csv.reader(file))[1:]
    x = standard(np.array([[float(line[c]) for c in columns] for line in lines]))
    found = select(x, ones(x))
    assert (found.kind, found.k) == ("kmeans", 5)


@pytest.mark.parametrize("model", ["kmeans", "gmm", "bisecting", "agglomerative"])
def test_what_was_asked_is_fitted(model):
    x, y = blobs(SQUARE, [100] * 4, 0.5)
    given = select(x, ones(x), model=model, k=4, unit=2.5)
    assert (given.kind, given.k) == (model, 4) and given.model.unit == 2.5
    assert same_partition(given.model.label(x).segment, y)
    swept = select(x, ones(x), model=model)
    assert (swept.kind, swept.k) == (model, 4)
    assert "kmeans" not in given.evidence and "kmeans" in swept.evidence  # no sweep if k is given


@pytest.mark.parametrize("model", ["hdbscan", "dbscan"])
def test_density_models_find_their_own_k(model):
    x, _ = blobs(SQUARE, [150] * 4, 0.3)
    found = select(x, ones(x), model=model)
    assert (found.kind, found.k) == (model, 4)
    with pytest.raises(ConfigError, match="finds the number"):
        select(x, ones(x), model=model, k=4)


def test_ids_do_not_depend_on_the_order_of_rows():
    x, _ = blobs(SQUARE, [150] * 4, 0.7)
    order = np.random.default_rng(3).permutation(600)
    a = select(x, ones(x)).model.label(x).segment
    mixed = np.ascontiguousarray(x[:, order])
    b = select(mixed, ones(x)).model.label(mixed).segment
    assert np.array_equal(a[order], b)


def test_a_warm_start_is_used_where_k_agrees():
    rng = np.random.default_rng(0)
    x = block(rng.normal(size=(500, 2)))
    warm = np.array([[-1.0, 0], [1, 0]])
    turned = np.array([[0.0, -1], [0, 1]])
    a = select(x, ones(x), model="kmeans", k=2, warm_start=warm).model.centres
    b = select(x, ones(x), model="kmeans", k=2, warm_start=turned).model.centres
    assert np.abs(a[:, 0]).min() > 0.5 and np.abs(b[:, 1]).min() > 0.5
    fresh = select(x, ones(x), model="kmeans", k=3).model.centres
    assert np.array_equal(
        select(x, ones(x), model="kmeans", k=3, warm_start=warm).model.centres, fresh
    )


def test_refusals():
    x = block([[0, 0], [1, 1], [2, 2]])
    with pytest.raises(DataError, match="there are 3 rows"):
        select(x, ones(x), k=4)
    for bad in ({"k": 0}, {"model": "spectral"}):
        with pytest.raises(ConfigError):
            select(x, ones(x), **bad)
    same = block([[1, 1]] * 10)
    assert select(same, ones(same)).k == 1


def test_the_k_means_path_imports_neither_scikit_learn_nor_pandas():
    code = (
        "import sys, numpy as np; from segpipe.fit.select import select;"
        "rng = np.random.default_rng(0);"
        "x = (rng.integers(0, 2, (2, 300)) * 5 + rng.normal(size=(2, 300))).astype(np.float32);"
        "found = select(x, np.ones(300));"
        "assert found.kind == 'kmeans' and len(found.evidence['candidates']) > 8;"
        "print(sorted({'sklearn', 'pandas', 'hdbscan', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("n", "d", "seed"), [(400, 200, 3), (1_000, 200, 0), (3_000, 40, 0)])
def test_one_gaussian_of_many_features_has_no_segments(n, d, seed):
    """Rows that pull their own centre keep clear of its border; seen without them none dips."""
    x = np.random.default_rng([seed, n, d]).normal(size=(d, n)).astype(np.float32)
    chosen = select(x, np.ones(n))
    assert (chosen.k, chosen.natural) == (1, False)


def test_more_groups_than_k_max_are_said():
    rng = np.random.default_rng(2)
    middle = np.repeat(10.0 * np.arange(5), 100)
    x = np.stack([middle, np.zeros(500)]) + rng.normal(size=(2, 500))
    x = np.ascontiguousarray(x[:, rng.permutation(500)], np.float32)
    few, all_ = (select(x, np.ones(500), k_max=k_max, seed=0) for k_max in (3, 12))
    assert "fit.k_max = 3 was reached" in few.why
    assert all_.k == 5 and all_.evidence["notes"] == []
    assert all_.evidence["smallest_group"] == 77


def test_a_mixture_keeps_to_the_smallest_share():
    # Twenty rows of 1,000 are a component of their own unless that is too small.
    rng = np.random.default_rng(5)
    middle = np.repeat([0.0, 8.0, 18.0], [500, 480, 20])
    x = np.stack([middle, np.zeros(1000)]) + rng.normal(size=(2, 1000))
    x = np.ascontiguousarray(x[:, rng.permutation(1000)], np.float32)
    free = select(x, np.ones(1000), model="gmm", min_share=0.005, seed=0)
    bound = select(x, np.ones(1000), model="gmm", min_share=0.1, seed=0)
    assert free.k == 3 and free.evidence["smallest_share"] == 0.02
    assert bound.k == 2 and bound.evidence["smallest_share"] >= 0.1
    told = select(x, np.ones(1000), model="agglomerative", k=3, min_share=0.1, seed=0)
    assert "2.00% of the rows, less than fit.min_share = 10.00%" in told.why
