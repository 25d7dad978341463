"""A Lloyd step against scikit-learn's, one thread each: ``pytest tests/bench`` compares them."""

import numpy as np
import pytest
from sklearn.cluster._k_means_lloyd import lloyd_iter_chunked_dense
from threadpoolctl import threadpool_limits

from segpipe.kernels import nearest

ROWS, BLOCK = 1 << 19, 1 << 16
pytestmark = pytest.mark.bench
SHAPES = [(16, 8), (16, 64), (8, 5), (64, 64), (4, 12), (2, 2), (64, 4), (256, 100)]


def table(d, k):
    """Rows around k centres on the blocks' grid, and centres a step away."""
    rng = np.random.default_rng([d, k])
    centres, rows = rng.normal(0, 2, (k, d)), ROWS if d < 256 else BLOCK
    x = centres[rng.integers(0, k, rows)] + rng.normal(size=(rows, d))
    x = (np.round(np.clip(x, -10, 10) * 2**20) / 2**20).astype(np.float32)
    return x, centres + rng.normal(0, 0.3, (k, d))


@pytest.mark.parametrize(("d", "k"), SHAPES)
@pytest.mark.parametrize("whose", ["ours", "scikit-learn"])
def test_lloyd_step(benchmark, whose, d, k):
    x, centres = table(d, k)
    benchmark.group = f"d{d} k{k}"
    benchmark.extra_info["rows"] = len(x)
    if whose == "ours":
        blocks = [np.ascontiguousarray(x[at : at + BLOCK].T) for at in range(0, len(x), BLOCK)]
        found = benchmark(lambda: [nearest.assign(block, centres).sums for block in blocks])
        assert sum(sums.count.sum() for sums in found) == len(x)
        return
    start, weight = centres.astype(np.float32), np.ones(len(x), np.float32)
    new, mass, moved = np.zeros_like(start), np.zeros(k, np.float32), np.zeros(k, np.float32)
    label = np.zeros(len(x), np.int32)
    with threadpool_limits(1):
        benchmark(lloyd_iter_chunked_dense, x, weight, start, new, mass, label, moved, 1)
    assert mass.sum() == len(x)
