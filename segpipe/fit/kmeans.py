"""K-Means on the sample: greedy weighted k-means++, Lloyd to convergence, the best of several."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import numpy as np

from segpipe.errors import DataError
from segpipe.kernels import nearest as kernel
from segpipe.models.kmeans import KMeansModel
from segpipe.values import Block, Floats, Ints

START_ROWS = 32_768
"""Rows on which starts compete; the best few are then brought to convergence on all rows."""
FINALISTS = 2
HEATS, FIRST = 4, 12
"""Starts that are brought to convergence on those rows: the best after so many steps."""
CLOSE = 1.003
"""Starts whose inertia is beyond this times the best are not worth the full rows."""
START_TOL, TOL = 3e-5, 1e-5
"""Movement of the centres, in total variances, that ends a start and a fit on many rows."""
GAIN = 0.1
"""A step that gains less than this times the tolerance, of the inertia, ends a fit too."""
MAX_STEPS = 300
EVEN = 0.25
"""Of k segments none is asked to hold more than this part of 1 / k of the rows."""
SWAP_ROWS = 4_096
"""Rows up to which single rows change clusters where that gains, after Lloyd's steps."""
SWAPS = 100
THREADED = 1 << 22
"""Multiply-adds of one Lloyd step above which starts run in threads (the kernels free the GIL)."""

T = TypeVar("T")
R = TypeVar("R")


def fit_kmeans(
    x: Block,
    w: Floats,
    k: int,
    n_init: int = 10,
    seed: int = 0,
    init: Floats | None = None,
    min_share: float = 0.0,
    starts: Sequence[Floats] | None = None,
) -> KMeansModel:
    """The best of ``n_init`` runs by weighted inertia, ours; with ``init`` that start alone.

    Parameters
    ----------
    x : (d, n) scaled rows
    w : (n,) weights
    init : (k, d) centres to start from (a warm start)
    min_share : clusters lighter than this share are re-seeded where the error is largest; kept
        if that cannot help.
    starts : centres whose first k are the starts, instead of ``n_init`` drawn ones

    Raises
    ------
    DataError
        Fewer distinct rows than k.
    """
    if init is not None:
        best = lloyd(x, w, np.asarray(init, np.float64))
    else:
        few = subset(x.shape[1], max(START_ROWS, 64 * k), seed)
        xs, ws = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
        starts = (
            kmeans_starts(xs, ws, k, n_init, seed) if starts is None else [c[:k] for c in starts]
        )
        if n_init > HEATS:  # a start that lags after a few steps does not win
            runs = in_threads(lambda c: lloyd(xs, ws, c, START_TOL, FIRST), starts, xs.size * k)
            starts = _ranked(xs, ws, runs, np.inf)[:HEATS]
        runs = in_threads(lambda c: lloyd(xs, ws, c, START_TOL), starts, xs.size * k)
        finalists = _ranked(xs, ws, runs)[:FINALISTS]
        tol = 0.0 if few is None else TOL
        runs = in_threads(lambda c: lloyd(x, w, c, tol), finalists, x.size * k)
        best = _ranked(x, w, runs)[0]
        if x.shape[1] <= SWAP_ROWS and n_init > 1:
            best = exchanged(x, w, best)
    if min_share > 0:
        best = _reseed_small(x, w, best, min_share)
    return KMeansModel(best)


def kmeans_starts(x: Block, w: Floats, k: int, n: int, seed: int) -> list[Floats]:
    """``n`` greedy k-means++ starts, each (k, d), reproducible one by one."""

    def start(i: int) -> Floats:
        return greedy_start(x, w, k, np.random.default_rng([seed, k, i]))

    return in_threads(start, range(n), x.size * k)


def greedy_start(x: Block, w: Floats, k: int, rng: np.random.Generator) -> Floats:
    """Centres (k, d): rows drawn by weighted squared distance, the best of 2 + log k at a time.

    Arthur & Vassilvitskii 2007, the greedy variant that scikit-learn uses.
    """
    n, trials = x.shape[1], 2 + int(np.log(k))
    chosen = [_draw(np.cumsum(w), rng.random(1), n)[0]]
    near = kernel.distances(x, x[:, chosen].T)[0]
    while len(chosen) < k:
        mass = np.cumsum(w * near)
        if not mass[-1] > 0:
            raise DataError(
                f"{k} clusters were asked for; the sample has only {len(chosen)} distinct rows.",
                "ask for fewer (fit.k) or give more features",
            )
        candidates = _draw(mass, rng.random(trials), n)
        after = np.minimum(kernel.distances(x, x[:, candidates].T), near)
        best = int(np.argmin([(w * line).sum() for line in after]))
        chosen.append(candidates[best])
        near = after[best]
    return np.ascontiguousarray(x[:, chosen].T, np.float64)


def lloyd(x: Block, w: Floats, centres: Floats, tol: float = TOL, steps: int = MAX_STEPS) -> Floats:
    """At most so many Lloyd steps; fewer if no label changes or the centres hardly move.

    ``tol`` is the squared movement in total variances; see GAIN.

    A centre that loses all its rows moves to the row farthest from its own centre.
    """
    weight = unequal(w)
    scale = tol * float(x[:, : 1 << 16].var(axis=1).sum())
    last: Ints | None = None
    for _ in range(steps):
        if weight is None:
            step = kernel.assign(x, centres)
            label, best, count, linear = step.label, step.best, step.sums.count, step.sums.linear
        else:
            label, best, _ = kernel.nearest(x, centres)
            count, linear = kernel.moments(x, weight, label, centres.shape[0])
        if last is not None and np.array_equal(label, last):
            break
        new = np.divide(linear, count[:, None], out=centres.copy(), where=count[:, None] > 0)
        empty = np.flatnonzero(count == 0)
        if len(empty):
            new[empty] = _farthest(x, w, best, len(empty))
        shift = np.square(new - centres).sum(axis=1)
        error = best.sum(dtype=np.float64) if weight is None else (weight * best).sum()
        # Moving the centres to the means gains exactly count times shift.
        settled = shift.sum() <= scale or float((count * shift).sum()) <= GAIN * tol * float(error)
        centres, last = new, label
        if settled and not len(empty):
            break
    return centres


def exchanged(x: Block, w: Floats, centres: Floats, swaps: int = SWAPS) -> Floats:
    """Centres (k, d) after single rows changed clusters as long as that lowers the inertia.

    Hartigan's criterion counts that both means move with the row, so that its optima are a part
    of Lloyd's: in small tables the next one is often a row or two away. Telgarsky & Vattani 2010.
    """
    k = len(centres)
    rows = np.arange(x.shape[1])
    for _ in range(swaps if k > 1 else 0):
        apart = kernel.distances(x, centres).astype(np.float64)
        label = apart.argmin(axis=0)
        mass = np.bincount(label, w, k)
        left, own = mass[label] - w, apart[label, rows]
        # Never the last row of a cluster: its own distance is 0, nothing is gained.
        lost = np.divide(w * mass[label], left, out=np.zeros(len(rows)), where=left > 0) * own
        both = np.maximum(mass[:, None] + w, np.finfo(float).tiny)  # rows may weigh nothing
        cost = w * mass[:, None] / both * apart
        cost[label, rows] = np.inf
        to = cost.argmin(axis=0)
        gain = lost - cost[to, rows]
        row = int(np.argmax(gain))
        if gain[row] <= 1e-6 * float((w * own).sum()):  # below what float32 distances tell apart
            break
        a, b, weight = label[row], to[row], w[row]
        moved, place = centres.copy(), x[:, row].astype(np.float64)
        moved[a] -= weight / left[row] * (place - moved[a])
        moved[b] += weight / (mass[b] + weight) * (place - moved[b])
        centres = lloyd(x, w, moved, 0.0)
    return centres


def unequal(w: Floats) -> Floats | None:
    """The weights; None if they are all the same, which only scales the sums."""
    return None if len(w) and w.min() == w.max() > 0 else w


def in_threads(fn: Callable[[T], R], items: Sequence[T], work: int) -> list[R]:
    """``fn`` of each item, in order; threads only where one call is long enough to pay."""
    if work < THREADED or len(items) < 2:
        return [fn(item) for item in items]
    with ThreadPoolExecutor(min(len(items), len(os.sched_getaffinity(0)), 8)) as pool:
        return list(pool.map(fn, items))


def subset(n: int, rows: int, seed: int) -> np.ndarray[tuple[int], np.dtype[np.intp]] | None:
    """Ascending numbers of ``rows`` of n rows drawn by ``seed``; None if that is all of them."""
    if n <= rows:
        return None
    return np.sort(np.random.default_rng([seed, n]).choice(n, rows, replace=False))


def _ranked(x: Block, w: Floats, runs: Sequence[Floats], close: float = CLOSE) -> list[Floats]:
    """The runs within ``close`` of the least inertia, from the best on, near-copies left out."""
    weight = unequal(w)
    work = x.size * len(runs[0])
    inertia = in_threads(lambda c: kernel.lloyd_sums(x, weight, c).inertia, runs, work)
    kept: list[int] = []
    for i in sorted(range(len(runs)), key=lambda i: inertia[i]):
        if not kept or inertia[kept[-1]] * (1 + 1e-5) < inertia[i] <= inertia[kept[0]] * close:
            kept.append(i)
    return [runs[i] for i in kept]


def _farthest(x: Block, w: Floats, best: kernel.Singles, count: int) -> Floats:
    """``count`` rows with weight, each the farthest from all centres and from those before it."""
    far = np.where(w > 0, best, np.float32(-1))
    rows = []
    for _ in range(count):
        at = int(np.argmax(far))
        rows.append(x[:, at].astype(np.float64))
        far = np.minimum(far, kernel.distances(x, rows[-1][None, :])[0])
    return np.array(rows)


def _reseed_small(x: Block, w: Floats, centres: Floats, min_share: float) -> Floats:
    best = centres
    # Two hundred segments cannot all hold .5 %: of many a part of the even share is asked.
    min_share = min(min_share, EVEN / len(centres))
    lightest = -1.0
    for _ in range(3):
        sums = kernel.lloyd_sums(x, w, centres)
        share = sums.count / sums.count.sum()
        if share.min() > lightest:
            best, lightest = centres, float(share.min())
        small = np.flatnonzero(share < min_share)
        if not len(small):
            break
        label, _, _ = kernel.nearest(x, centres)
        held = np.bincount(label, minlength=len(centres))
        kept = np.where((share < min_share) | (held < 2), -1.0, sums.errors)
        centres = centres.copy()
        for i in small:  # split the cluster of the largest error along its longest axis
            big = int(np.argmax(kept))
            if not kept[big] > 0:
                break
            rows = x[:, label == big].astype(np.float64)
            d = len(rows)
            spread = np.cov(rows, aweights=w[label == big], ddof=0).reshape(d, d)
            values, vectors = np.linalg.eigh(spread)
            step = np.sqrt(max(values[-1], 0.0)) * vectors[:, -1]
            centres[i] = centres[big] + step
            centres[big] = centres[big] - step
            kept[big] = -1.0
        centres = lloyd(x, w, centres)
    return best


def _draw(mass: Floats, at: Floats, n: int) -> list[int]:
    """Row numbers by inverse of the cumulative mass; never a row without mass."""
    found = np.searchsorted(mass, at * mass[-1], side="right")
    last = int(np.searchsorted(mass, mass[-1], side="left"))
    return [int(i) for i in np.minimum(found, min(last, n - 1))]
