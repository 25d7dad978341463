"""Facts about a clustering of the sample: valleys between clusters, shapes, signs of structure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from segpipe.fit.order import principal_axis
from segpipe.kernels import nearest as kernel
from segpipe.kernels.dip import dip_p
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats, Ints

NO_VALLEY = 0.05
"""Dip p above which the border between two neighbours cuts one mode ..."""
SURE_ROWS, WEAK_P = 100, 0.8
"""... if there are 100 rows; with fewer the test is weak, and p must be larger, up to .8 at 30
(46 rows of two clear mall segments: p = .09; of one moon: .5 to .8)."""
TAIL_Z = 3.09
"""Normal quantile of the .999 that a Gaussian cluster keeps within reach of its centre."""
BORDER_ROWS, BORDER_SHARE, SIDE_ROWS = 30, 0.01, 10
"""Two clusters are neighbours if they are the two nearest of so many rows, with so many a side."""
HINT_P = 0.05
HINT_ROWS = 400
INNER_P, INNER_ROWS = 0.01, 100
"""Stricter than ``HINT_P``: a cluster that is called two must be. Fewer rows say nothing."""
LOPSIDED = 2.0

Rows = npt.NDArray[np.intp]
Place = Callable[[int, int, Rows, npt.NDArray[np.bool_]], Floats]
"""(i, j, rows, which of them are of j) -> where they lie on the line from i to j."""


@dataclass(frozen=True, slots=True)
class Border:
    """Two neighbouring clusters and whether the density dips between them."""

    i: int
    j: int
    rows: int
    p: float

    @property
    def valley(self) -> bool:
        """The rows between the two have two modes, or are too few to say that they have one."""
        short = max(0.0, (SURE_ROWS - self.rows) / (SURE_ROWS - BORDER_ROWS))
        return self.p <= NO_VALLEY + short * (WEAK_P - NO_VALLEY)

    @property
    def shown(self) -> bool:
        """The valley is significant, not only not excluded."""
        return self.p <= NO_VALLEY


def centre_borders(x: Block, w: Floats, centres: Floats) -> list[Border]:
    """Valley test of all neighbouring centres: rows projected on the line between the two.

    A row is seen from a border that it had no part in: its own centre is the mean of the others.
    With many features and few rows each row pulls its centre towards itself, and rows of one
    Gaussian (400 of 200 features) keep clear of any border that they have drawn themselves.
    """
    first, second = _two_least(kernel.distances(x, centres))
    mass = np.bincount(first, w, len(centres))

    def place(i: int, j: int, rows: Rows, of_j: npt.NDArray[np.bool_]) -> Floats:
        line = np.asarray(centres[j] - centres[i], np.float64)
        along, apart = _along(x, rows, line, centres[i]), float(line @ line)
        own = np.where(of_j, apart - along, along)  # from the row's centre towards the other
        total = np.where(of_j, mass[j], mass[i])
        pull = w[rows] / np.maximum(total - w[rows], w[rows])
        off = _from(x, rows, centres[i], centres[j], of_j)
        reach = np.sqrt(np.maximum(apart + 2.0 * pull * own + np.square(pull) * off, 1e-300))
        # Signed distance from the border half-way between the other centre and the rest of its own
        depth = (apart - 2.0 * own - (pull * pull + 2.0 * pull) * off) / (2.0 * reach)
        return np.asarray(np.where(of_j, depth, -depth))

    return _borders(x, w, first, second, place)


def mixture_borders(x: Block, w: Floats, model: MixtureModel) -> list[Border]:
    """Valley test of neighbouring components, projected on Fisher's direction between the two."""
    first, second = _two_least(-log_joint(model, x))
    full = model.full_covariances()

    def place(i: int, j: int, rows: Rows, _: npt.NDArray[np.bool_]) -> Floats:
        line = np.linalg.solve(full[i] + full[j], model.means[j] - model.means[i])
        return _along(x, rows, line, np.zeros(len(line)))

    return _borders(x, w, first, second, place)


def groups(k: int, borders: Sequence[Border]) -> Ints:
    """Group (k,) of each cluster after merging across borders without valley, first-come order."""
    root = list(range(k))

    def find(a: int) -> int:
        while root[a] != a:
            a = root[a]
        return a

    for b in borders:
        if not b.valley:
            low, high = sorted((find(b.i), find(b.j)))
            root[high] = low
    names = [find(a) for a in range(k)]
    return np.unique(names, return_inverse=True)[1].astype(np.int32)


def structure_hint(x: Block, w: Floats, seed: int) -> tuple[float, float]:
    """Dip p of the pairwise distances of 400 rows and of the first principal component.

    Adolfsson, Ackerman, Brownstein 2019: unimodal data show neither; structure when twice the
    smaller is below ``HINT_P``. Needs both: one cluster of 94 % hides in the component, parallel
    bands in the distances.
    """
    n = x.shape[1]
    rng = np.random.default_rng([seed, 400])
    rows = rng.choice(n, HINT_ROWS, replace=True, p=w / w.sum()) if n > HINT_ROWS else np.arange(n)
    rows = np.unique(rows)
    few = np.ascontiguousarray(x[:, rows])
    d2 = kernel.distances(few, few.T).astype(np.float64)
    pairs = np.sqrt(d2[np.triu_indices(len(rows), 1)])
    component = principal_axis(x, w) @ x.astype(np.float64)
    return dip_p(pairs) if len(pairs) else 1.0, dip_p(component, w)


def has_inner_structure(x: Block, w: Floats, label: Ints, k: int, seed: int) -> bool:
    """Whether one of ``k`` clusters has itself more than one mode (Bonferroni over clusters).

    Two halves of two interleaved moons have a valley between them, and yet are no clusters.
    """
    for c in range(k):
        member = label == c
        if member.sum() < INNER_ROWS:
            continue
        rows = np.ascontiguousarray(x[:, member])
        if 2.0 * k * min(structure_hint(rows, w[member], seed)) < INNER_P:
            return True
    return False


@dataclass(frozen=True, slots=True)
class Shapes:
    """How far clusters are from equal round balls."""

    elongation: float
    """Largest ratio of first to last eigenvalue of a cluster's covariance; 1 where too few rows."""
    spread_ratio: float
    """Largest over smallest root mean square distance to the centre."""
    tail: float
    """Weighted share of rows farther from their centre than all but 1 in 1,000 of a Gaussian
    cluster with the same median: background noise, or tails that no centre explains."""


def shapes(x: Block, w: Floats, label: Ints, k: int) -> Shapes:
    """Covariance shapes of the clusters; those with fewer than 20 d rows say nothing."""
    d = x.shape[0]
    ratios, spreads = [1.0], []
    far = 0.0
    for c in range(k):
        member = label == c
        if member.sum() < 20 * d:
            continue
        rows = x[:, member].astype(np.float64)
        values = np.linalg.eigvalsh(np.cov(rows, aweights=w[member], ddof=0).reshape(d, d))
        # A constant direction is no elongation: it is a feature that this cluster does not have.
        floor = 1e-4 * max(float(values[-1]), 1e-12)
        ratios.append(float(values[-1]) / max(float(values[0]), floor))
        spreads.append(float(np.sqrt(max(values.sum(), 0.0))))
        mean = (w[member] * rows).sum(axis=1) / w[member].sum()
        distance = np.sqrt(np.square(rows - mean[:, None]).sum(axis=0))
        reach = float(np.median(distance)) * _reach(values)
        far += float(w[member][distance > reach].sum())
    least = min(spreads, default=1.0)
    ratio = max(spreads) / least if len(spreads) > 1 and least > 0 else 1.0
    return Shapes(max(ratios), ratio, far / float(w.sum()))


def _reach(values: npt.NDArray[np.floating[Any]]) -> float:
    """Radius that holds .999 of a Gaussian with these variances, over the one that holds half.

    Wilson-Hilferty for chi-square with (sum)^2 / (sum of squares) degrees of freedom.
    """
    squares = float(np.square(values).sum())
    if not squares > 0:
        return 1.0
    free = float(values.sum()) ** 2 / squares
    a = 2.0 / (9.0 * free)
    return float(((1.0 - a + TAIL_Z * np.sqrt(a)) / (1.0 - a)) ** 1.5)


def as_json(value: Any) -> Any:
    """Plain numbers for ``decision.json``, six significant digits; NaN becomes None."""
    if isinstance(value, Border | Shapes):
        return as_json(asdict(value))
    if isinstance(value, dict):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | np.ndarray):
        return [as_json(item) for item in value]
    if isinstance(value, np.generic):
        return as_json(value.item())
    if isinstance(value, float):
        return float(f"{value:.6g}") if np.isfinite(value) else None
    return value


def _borders(x: Block, w: Floats, first: Ints, second: Ints, place: Place) -> list[Border]:
    low, high = np.minimum(first, second), np.maximum(first, second)
    code = low.astype(np.int64) << 32 | high
    found = []
    least = max(BORDER_ROWS, int(BORDER_SHARE * x.shape[1]))
    for pair, size in zip(*np.unique(code, return_counts=True), strict=True):
        i, j = int(pair >> 32), int(pair & 0xFFFFFFFF)
        rows = np.flatnonzero(code == pair)
        of_j = first[rows] == j
        if i == j or size < least or min(of_j.sum(), (~of_j).sum()) < SIDE_ROWS:
            continue
        found.append(Border(i, j, int(size), _valley_p(place(i, j, rows, of_j), w[rows], of_j)))
    return found


def _along(x: Block, rows: Rows, line: Floats, origin: Floats) -> Floats:
    """Inner product of the rows, seen from ``origin``, with ``line``; features in order."""
    t = np.zeros(len(rows))
    for f in range(x.shape[0]):
        t += line[f] * (x[f, rows] - origin[f])
    return t


def _from(x: Block, rows: Rows, at_i: Floats, at_j: Floats, of_j: npt.NDArray[np.bool_]) -> Floats:
    """Squared distance of the rows to their own of two centres; features in order."""
    t = np.zeros(len(rows))
    for f in range(x.shape[0]):
        t += np.square(x[f, rows] - np.where(of_j, at_j[f], at_i[f]))
    return t


def _valley_p(t: Floats, w: Floats, upper: npt.NDArray[np.bool_]) -> float:
    """P-value of the dip; a lopsided pair is tested a second time, cut to its nearer rows.

    A cluster of 1 % beside one of 94 % moves the dip by less than its noise. Cutting the large
    side to the rows nearest to the border keeps what is unimodal unimodal and shows the valley.
    """
    whole = dip_p(t, w)
    mass = float(w[~upper].sum()), float(w[upper].sum())
    large = upper if mass[1] > mass[0] else ~upper
    if max(mass) <= LOPSIDED * min(mass):
        return whole
    toward = t if mass[0] > mass[1] else -t
    near = np.flatnonzero(large)[np.argsort(-toward[large], kind="stable")]
    kept = near[: int(np.searchsorted(np.cumsum(w[near]), LOPSIDED * min(mass))) + 1]
    rows = np.sort(np.concatenate([kept, np.flatnonzero(~large)]))
    return min(1.0, 2.0 * min(whole, dip_p(t[rows], w[rows])))


def _two_least(cost: npt.NDArray[Any]) -> tuple[Ints, Ints]:
    """Numbers of the least and second-least of (k, n) in each column; equal where k is 1."""
    work = cost.astype(np.float64)
    first = np.argmin(work, axis=0)
    if len(work) < 2:
        return first.astype(np.int32), first.astype(np.int32)
    work[first, np.arange(work.shape[1])] = np.inf
    return first.astype(np.int32), np.argmin(work, axis=0).astype(np.int32)


def log_joint(model: MixtureModel, x: Block) -> Floats:
    """Log density of each row in each component, with the component's weight (k, n)."""
    const, factor = model.factors()
    rows = x.astype(np.float64)
    out = np.empty((model.k, x.shape[1]))
    for c in range(model.k):
        z = factor[c] @ (rows - model.means[c][:, None])
        out[c] = const[c] - 0.5 * (z * z).sum(axis=0)
    return out
