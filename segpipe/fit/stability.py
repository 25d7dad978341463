"""Would the same clusters come out of other rows? Per-cluster Jaccard over subsample refits."""

from __future__ import annotations

import numpy as np

from segpipe.fit.kmeans import greedy_start, in_threads, lloyd
from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints

DRAWS = 10
SHARE = 0.5
ROWS = 4_000
"""Most rows of one draw: the Jaccard of a cluster needs hundreds of its rows, not thousands."""


def jaccard(a: Ints, b: Ints, w: Floats) -> Floats:
    """Per cluster of ``a`` (0..max), the largest weighted Jaccard with any cluster of ``b``.

    Negative labels are no cluster. NaN where a has no such rows.
    """
    k, m = int(a.max(initial=-1)) + 1, int(b.max(initial=-1)) + 1
    both = (a >= 0) & (b >= 0)
    table = np.bincount(a[both] * m + b[both], w[both], k * m).reshape(k, m)
    of_a = np.bincount(a[a >= 0], w[a >= 0], k)
    of_b = np.bincount(b[b >= 0], w[b >= 0], m)
    if m == 0:
        return np.where(of_a > 0, 0.0, np.nan)
    union = of_a[:, None] + of_b[None, :] - table
    ratio = np.divide(table, union, out=np.zeros_like(table), where=union > 0)
    return np.where(of_a > 0, ratio.max(axis=1), np.nan)


def stability(x: Block, w: Floats, centres: Floats, seed: int, draws: int = DRAWS) -> Floats:
    """Mean Jaccard (k,) of each centre's rows with refits on half of the rows; 1 = always found.

    A refit starts from the centres and once afresh and keeps the lower inertia, so that the value
    speaks of the data and not of a bad start (Hennig 2007: > .75 valid, < .6 doubtful).
    """
    n, k = x.shape[1], len(centres)
    size = min(n, max(int(SHARE * n), 2 * k), ROWS)

    def draw(i: int) -> Floats:
        rng = np.random.default_rng([seed, k, i])
        rows = np.sort(rng.choice(n, size, replace=False))
        xs, ws = np.ascontiguousarray(x[:, rows]), w[rows]
        own, _, _ = kernel.nearest(xs, centres)
        runs = [lloyd(xs, ws, centres)]
        if len(np.unique(own)) == k:  # else the half may hold fewer than k distinct rows
            runs.append(lloyd(xs, ws, greedy_start(xs, ws, k, rng)))
        best = min(runs, key=lambda c: kernel.lloyd_sums(xs, ws, c).inertia)
        again, _, _ = kernel.nearest(xs, best)
        found = np.full(k, np.nan)
        found[: int(own.max()) + 1] = jaccard(own, again, ws)
        return found

    table = np.array(in_threads(draw, range(draws), size * x.shape[0] * k * 20))
    seen = np.isfinite(table)
    return np.asarray(np.where(seen, table, 0.0).sum(axis=0) / np.maximum(seen.sum(axis=0), 1))
