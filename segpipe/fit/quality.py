"""One definition of every number that clusterings are compared by; weights count rows.

Noise (-1) is left out. All distances are Euclidean in scaled space.
"""

from __future__ import annotations

import numpy as np

from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints

PAIR_BLOCK = 512


def simplified_silhouette(x: Block, w: Floats, centres: Floats) -> tuple[float, float]:
    """Weighted mean of 1 - d1/d2 (nearest and second centre), in 0..1, and its standard error.

    Uniform data reach about .5 with it: it compares K on the same data, it proves nothing alone.
    """
    _, best, second = kernel.nearest(x, centres)
    b, s = best.astype(np.float64), second.astype(np.float64)
    value = 1.0 - np.sqrt(np.divide(b, s, out=np.ones_like(b), where=s > 0))
    total = float(w.sum())
    mean = float((w * value).sum() / total)
    rows = total**2 / float((w * w).sum())
    variance = float((w * (value - mean) ** 2).sum() / total)
    return mean, float(np.sqrt(variance / rows))


def silhouette(x: Block, w: Floats, label: Ints) -> float:
    """Exact mean silhouette (b - a)/max(a, b), in -1..1; NaN with fewer than two clusters.

    A row's own cluster mean leaves the row itself out; a cluster of one row counts 0, as in
    Rousseeuw 1987. O(n^2 d): callers pass a bounded sample.
    """
    keep = np.flatnonzero(label >= 0)
    if len(np.unique(label[keep])) < 2:
        return float("nan")
    points, weight = np.ascontiguousarray(x[:, keep]), w[keep]
    value = silhouettes(points, weight, label[keep])
    return float((weight * value).sum() / weight.sum())


def silhouettes(points: Block, weight: Floats, label: Ints) -> Floats:
    """``silhouette`` of each row (n,); at least two labels, none of them noise."""
    names, own = np.unique(label, return_inverse=True)
    member = own[None, :] == np.arange(len(names))[:, None]
    mass = (member * weight).T  # (n, k)
    total = mass.sum(axis=0)
    value = np.zeros(len(label))
    for lo in range(0, len(label), PAIR_BLOCK):
        rows = slice(lo, lo + PAIR_BLOCK)
        distance = np.sqrt(kernel.distances(points, points[:, rows].T).astype(np.float64))
        sums = distance @ mass  # (rows, k)
        at = np.arange(len(sums)), own[rows]
        rest = total[own[rows]] - weight[rows]
        a = np.divide(sums[at], rest, out=np.zeros(len(sums)), where=rest > 0)
        means = sums / total
        means[at] = np.inf
        b = means.min(axis=1)
        top = np.maximum(a, b)
        alone = ~(rest > 0) | ~(top > 0)
        value[rows] = np.where(alone, 0.0, (b - a) / np.where(alone, 1.0, top))
    return value


def silhouette_sample(
    label: Ints, rows: int, seed: int
) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Numbers of at most ``rows`` rows, some of every segment: for ``silhouette`` of many rows.

    A plain sample of 1,000 shows ten rows of a 1 % segment; here each segment gives at least
    50 rows if it has them. Returned with weights by ``stratum_weight``.
    """
    rng = np.random.default_rng([seed, len(label)])
    names, size = np.unique(label[label >= 0], return_counts=True)
    if size.sum() <= rows:
        return np.flatnonzero(label >= 0)
    floor = min(50, rows // len(names))
    take = np.minimum(size, np.maximum(floor, (rows * size / size.sum()).astype(int)))
    chosen = [
        rng.choice(np.flatnonzero(label == g), t, replace=False)
        for g, t in zip(names, take, strict=True)
    ]
    return np.sort(np.concatenate(chosen))


def stratum_weight(
    label: Ints, w: Floats, chosen: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> Floats:
    """Weights of the chosen rows that give every segment its share of all rows."""
    out = w[chosen].astype(np.float64)
    for g in np.unique(label[chosen]):
        inside = label[chosen] == g
        out[inside] *= w[label == g].sum() / out[inside].sum()
    return out


def calinski_harabasz(sums: kernel.Sums) -> float:
    """[B/(K-1)] / [W/(N-K)] from a Lloyd step's sums at the clusters' own means; higher is better.

    NaN unless 2 <= K < N; inf where the clusters have no spread.
    """
    used = sums.count > 0
    count, k, n = sums.count[used], int(used.sum()), float(sums.count.sum())
    if k < 2 or n <= k:
        return float("nan")
    means = sums.linear[used] / count[:, None]
    grand = sums.linear[used].sum(axis=0) / n
    between = float((count * np.square(means - grand).sum(axis=1)).sum())
    within = sums.inertia
    return between / (k - 1) / (within / (n - k)) if within > 0 else float("inf")


def davies_bouldin(x: Block, w: Floats, label: Ints, centres: Floats) -> float:
    """Mean over clusters of the worst (S_i + S_j) / |c_i - c_j|, S the mean distance.

    Lower is better; NaN with fewer than two clusters. Clusters of identical rows look perfect:
    see their sizes.
    """
    k = len(centres)
    distance = np.sqrt(kernel.squared_error(x, label, centres))
    mass = np.bincount(label + 1, w, k + 1)[1:]
    used = np.flatnonzero(mass > 0)
    if len(used) < 2:
        return float("nan")
    spread = np.bincount(label + 1, w * distance, k + 1)[1:][used] / mass[used]
    c = centres[used]
    apart = np.sqrt(np.square(c[:, None, :] - c[None, :, :]).sum(axis=2))
    np.fill_diagonal(apart, np.inf)
    with np.errstate(divide="ignore"):
        return float(((spread[:, None] + spread[None, :]) / apart).max(axis=1).mean())
