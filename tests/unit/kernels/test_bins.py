import numpy as np
import pytest

from segpipe.kernels import bins as kernel
from segpipe.kernels.bins import Bins


def edges_and_scores(seed=0, n=50_000):
    rng = np.random.default_rng(seed)
    edges = np.unique(np.quantile(rng.gamma(0.5, 3.0, 20_000), np.linspace(0, 0.999, 900)))
    score = rng.gamma(0.5, 4.0, n) - 0.01
    score[:2000] = rng.choice(edges, 2000)  # ties with an edge belong to the bin above it
    return edges, score


def test_a_score_lies_in_the_bin_that_starts_at_or_below_it():
    bins, histogram = Bins.of(np.array([0.0, 1.0, 4.0])), np.zeros(4, np.int64)
    bins.add(np.array([-1.0, 0.0, 0.5, 1.0, 3.9, 4.0, 9.0]), histogram)
    assert histogram.tolist() == [1, 2, 2, 2]


@pytest.mark.parametrize("rows", [100, 50_000])
def test_counts_are_those_of_a_search_by_hand(rows):
    edges, score = edges_and_scores(n=max(rows, 2000))
    score = score[:rows]
    histogram = np.zeros(len(edges) + 1, np.int64)
    Bins.of(edges).add(score, histogram)
    below = np.cumsum(histogram)[:-1]
    assert below.tolist() == [(score < e).sum() for e in edges]


def test_no_edges_and_equal_edges():
    histogram = np.zeros(1, np.int64)
    Bins.of(np.empty(0)).add(np.arange(20_000.0), histogram)
    assert histogram.tolist() == [20_000]
    histogram = np.zeros(2, np.int64)
    Bins.of(np.array([3.0])).add(np.arange(20_000.0), histogram)
    assert histogram.tolist() == [3, 19_997]


def test_lines_between_the_edges():
    bins = Bins.of(np.array([0.0, 1.0, 4.0]))
    heights = np.array([0.1, 0.4, 0.7])
    found = bins.interpolate(np.array([-1.0, 0.0, 0.5, 1.0, 2.5, 4.0, 99.0]), heights)
    assert found == pytest.approx([0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.7], abs=1e-15)


def test_both_paths_give_the_same_bits(monkeypatch):
    edges, score = edges_and_scores()
    heights = np.linspace(0.0, 1.0, len(edges)) ** 2
    compiled = Bins.of(edges).interpolate(score, heights)
    monkeypatch.setattr(kernel, "SMALL", len(score))
    assert np.array_equal(compiled, Bins.of(edges).interpolate(score, heights))
