"""The rows that a density method is shown: distinct places, small far groups over-represented."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats

SHOWN = 77.0
"""Expected sample rows of a group that holds 50 of them at 1 % risk: Chernoff bound."""
STRATA = 64
"""Coarse clusters among which a large sample is allotted."""


def distinct(x: Block, w: Floats) -> tuple[Block, Floats]:
    """Distinct rows (d, m) in a fixed order with the summed weight (m,) of their copies."""
    rows = np.ascontiguousarray(x.T) + np.float32(0.0)  # -0.0 and 0.0 are one place
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    _, first, at = np.unique(keys, return_index=True, return_inverse=True)
    # In order of first appearance: the sample's own order, not that of the bytes.
    order = np.argsort(first)
    return (
        np.ascontiguousarray(rows[first[order]].T),
        np.asarray(np.bincount(at.ravel(), w, len(first))[order], np.float64),
    )


def smallest_shown(w: Floats, rows: int) -> float:
    """Table rows of the smallest group that ``rows`` rows, of total weight ``w``, can show."""
    return float(np.ceil(SHOWN * float(w.sum()) / max(rows, 1)))


def density_sample(
    x: Block, w: Floats, rows: int, seed: int
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Numbers of at most ``rows`` columns of x and the weight that each stands for.

    Above ``rows``: strata of nearest k-means++ seeds get n_h in proportion to the root of their
    weight (power allocation), so that small groups far from the rest are still seen.
    """
    n = x.shape[1]
    if n <= rows:
        return np.arange(n), w.astype(np.float64)
    rng = np.random.RandomState(seed)
    stratum, _, _ = kernel.nearest(x, _seeds(x, w, STRATA, rng))
    _, of = np.unique(stratum, return_inverse=True)
    size = np.bincount(of)
    mass = np.asarray(np.bincount(of, w), np.float64)
    quota = _allot(np.sqrt(mass), size, rows)
    chosen: list[npt.NDArray[np.intp]] = []
    weight: list[Floats] = []
    for h in range(len(size)):
        member = np.flatnonzero(of == h)
        picked = np.sort(rng.permutation(member)[: quota[h]])
        chosen.append(picked)
        weight.append(w[picked] * (mass[h] / w[picked].sum()))
    numbers = np.concatenate(chosen)
    order = np.argsort(numbers)
    return numbers[order], np.concatenate(weight)[order]


def _seeds(x: Block, w: Floats, k: int, rng: np.random.RandomState) -> Floats:
    """K-means++ seeds (k, d): far rows are likelier."""
    total = w / w.sum()
    at = int(rng.choice(len(w), p=total))
    picked = [at]
    far = kernel.distances(x, x[:, [at]].T)[0].astype(np.float64)
    while len(picked) < k and (far * w).sum() > 0:
        at = int(np.searchsorted(np.cumsum(far * w), rng.random_sample() * (far * w).sum()))
        picked.append(min(at, len(w) - 1))
        far = np.minimum(far, kernel.distances(x, x[:, [picked[-1]]].T)[0])
    return x[:, picked].T.astype(np.float64)


def _allot(want: Floats, size: npt.NDArray[np.intp], rows: int) -> npt.NDArray[np.intp]:
    """Shares of ``rows`` in proportion to ``want``, at least 1, at most ``size`` each."""
    quota = np.ones(len(size), np.intp)
    open_ = size > 1
    while open_.any() and quota.sum() < rows:
        left = rows - quota.sum()
        more = np.where(open_, np.floor(left * want / want[open_].sum()), 0).astype(np.intp)
        if not more.any():
            break
        quota = np.minimum(quota + more, size)
        open_ = quota < size
    return quota
