"""Small scaled tables for the tests of fitting, on the grid that scaled features lie on."""

import numpy as np


def block(rows):
    """(n, d) any numbers as a block (d, n) on the 2^-20 grid."""
    clipped = np.clip(np.asarray(rows, float), -10, 10)
    return np.ascontiguousarray((np.round(clipped * 2**20) / 2**20).astype(np.float32).T)


def blobs(centres, sizes, spread=0.3, seed=0):
    """Gaussian blobs, shuffled: block, labels."""
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(centres)), sizes)
    x = np.asarray(centres, float)[y] + rng.normal(size=(len(y), len(centres[0]))) * spread
    order = rng.permutation(len(y))
    return block(x[order]), y[order]


def same_partition(a, b):
    """Equal up to the names of the labels."""
    pairs = set(zip(a.tolist(), b.tolist(), strict=True))
    return len(pairs) == len(set(a.tolist())) == len(set(b.tolist()))
