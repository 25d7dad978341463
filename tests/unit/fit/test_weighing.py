"""Rows drawn by priority: heavy ones for certain, totals right on average."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from segpipe.errors import DataError
from segpipe.fit.look import look_for, merge
from segpipe.fit.weighing import ranked, weigh_by


def drawn(w, sample_rows, seed, parts=1):
    """Sample and weights of rows 0, 1, ... that weigh ``w``."""
    look = look_for(("a",), (), ("id",), sample_rows, seed, len(w), "w")
    columns = {"id": np.arange(len(w)), "a": np.arange(len(w), dtype=float), "w": w}
    batches = pa.table(columns).to_batches(max_chunksize=max(1, len(w) // parts))
    found = look(iter(batches[:1]))
    for batch in batches[1:]:
        found = merge(look(iter([batch])), found)
    return weigh_by(found.draw.cut(), None, 0, found.rows, sample_rows, found.weights, "w")


def test_ranks_rise_as_weights_fall():
    first = np.full(3, 2**63, np.uint64)
    low, middle, none = ranked(first, np.array([4.0, 2.0, 0.0]))
    assert low < middle < none


def test_a_row_of_most_weight_is_always_there_and_stands_for_itself():
    w = np.ones(5_000)
    w[17] = 50_000.0
    for seed in range(5):
        sample, weights = drawn(w, 200, seed)
        rows = sample.batch.column("a").to_numpy()
        assert 17 in rows and len(rows) == 200
        assert weights.high == 50_000
        # it is 10 of 11 parts of the weight; the others are estimated to a few percent
        share = sample.weight[rows == 17] / sample.weight.sum()
        assert share == pytest.approx(10 / 11, rel=0.03)
        assert sample.weight.sum() == pytest.approx(5_000)


def test_weighted_means_are_right_on_average():
    rng = np.random.default_rng(0)
    w = rng.lognormal(sigma=1.5, size=4_000)
    truth = (w * np.arange(4_000)).sum() / w.sum()
    found = []
    for seed in range(40):
        sample, _ = drawn(w, 300, seed)
        a = sample.batch.column("a").to_numpy()
        found.append((sample.weight * a).sum() / sample.weight.sum())
    # the standard error of one draw is about 70
    assert np.mean(found) == pytest.approx(truth, abs=45)
    assert np.std(found) < 120


def test_the_sample_ignores_the_parts_and_begins_with_a_sample_of_itself():
    w = np.random.default_rng(1).lognormal(size=3_000)
    one, _ = drawn(w, 500, 3)
    many, _ = drawn(w, 500, 3, parts=7)
    assert one.batch.equals(many.batch) and one.weight.tolist() == many.weight.tolist()
    # heavy rows do not come first: the order is that of the hash
    rows = one.batch.column("a").to_numpy().astype(int)
    assert np.corrcoef(np.arange(500), w[rows])[0, 1] == pytest.approx(0, abs=0.15)


def test_all_zero_is_refused():
    with pytest.raises(DataError, match="all 10 weights in 'w' are zero"):
        drawn(np.zeros(10), 100, 0)
