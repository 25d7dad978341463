"""Whether centres describe the modes: K-Means started from them, and what would speak against it.

Modes know how many groups there are and not what shape they have. Centres are the simplest shape;
they are taken where they give the modes back and no cluster is hollow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from segpipe.errors import DataError
from segpipe.fit import evidence as facts
from segpipe.fit.kmeans import fit_kmeans, lloyd
from segpipe.fit.modes import Modes
from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints

AGREE = 0.9
"""Adjusted Rand index on the modes' cores above which centres (or a mixture) give them back."""
HOLLOW = 1.5
"""A cluster is hollow if neighbours are so many times farther from its mean than from its rows."""
HOLLOW_ROWS, HOLLOW_SCALE = 200, 14
"""Rows of the cluster that are looked from, and neighbours at most: more see across a thin arc."""
SPLIT_P, SPLIT_ROWS = 0.02, 60
"""Dip p below which a cluster of so many rows is two, though its density shows one mode, if two
Gaussians fit it better."""


@dataclass(frozen=True, slots=True, eq=False)
class Centres:
    """K-Means clusters as a candidate, and the evidence on them."""

    centres: Floats
    borders: list[facts.Border]
    shape: facts.Shapes
    agreement: float
    """With the modes, on their cores."""
    hollow: int
    """Clusters whose middle is empty: arcs and rings."""

    @property
    def k(self) -> int:
        """Number of centres."""
        return len(self.centres)

    @property
    def sound(self) -> bool:
        """Centres give the modes back, and lie where rows are."""
        return self.agreement >= AGREE and not self.hollow

    @property
    def without_valley(self) -> int:
        """Borders that cut one mode."""
        return sum(not b.valley for b in self.borders)

    def row(self) -> dict[str, object]:
        """For the evidence."""
        return {
            "k": self.k,
            "agreement": self.agreement,
            "hollow": self.hollow,
            "elongation": self.shape.elongation,
            "spread_ratio": self.shape.spread_ratio,
            "tail": self.shape.tail,
            "borders": len(self.borders),
            "without_valley": self.without_valley,
        }


def judged(x: Block, w: Floats, centres: Floats, modes: Modes, places: Block) -> Centres:
    """The evidence on given centres; ``places``: the rows that the modes are of.

    Centres that part a mode further are measured by the mode that each of their clusters is in.
    """
    label, _, _ = kernel.nearest(x, centres)
    k = len(centres)
    own, _, _ = kernel.nearest(places, centres)
    agreement = adjusted_rand(_joined(own, modes, k)[modes.core], modes.label[modes.core])
    hollow = sum(
        _hollow(np.ascontiguousarray(x[:, label == c]), modes.scale)
        for c in range(k)
        if (label == c).sum() > 2 * modes.scale
    )
    borders = facts.centre_borders(x, w, centres)
    return Centres(centres, borders, facts.shapes(x, w, label, k), agreement, hollow)


def from_modes(x: Block, w: Floats, modes: Modes, places: Block, mass: Floats) -> Floats:
    """(k, d) centres of Lloyd's algorithm from the means of the modes' cores.

    Tails and background would draw the means of all rows away from their mode.
    """
    few = places.astype(np.float64)
    cores = [(modes.label == c) & modes.core for c in range(modes.k)]
    means = [(mass[rows] * few[:, rows]).sum(axis=1) / mass[rows].sum() for rows in cores]
    return lloyd(x, w, np.array(means))


def parted(x: Block, w: Floats, centres: Floats, k_max: int, seed: int) -> Floats:
    """The centres with clusters of two lobes parted, as often as there are some (three rounds).

    Only for clusters that are known to be solid: the halves of an arc look like lobes.
    """
    for _ in range(3):
        label, _, _ = kernel.nearest(x, centres)
        parts: list[Floats] = []
        for c, centre in enumerate(centres):
            rows = label == c
            room = k_max - len(centres) - sum(len(p) - 1 for p in parts)
            halves = _halves(np.ascontiguousarray(x[:, rows]), w[rows], seed) if room > 0 else None
            parts.append(centre[None, :] if halves is None else halves)
        if len(parts) == sum(len(p) for p in parts):
            break
        centres = lloyd(x, w, np.concatenate(parts))
    return centres


def adjusted_rand(a: Ints, b: Ints) -> float:
    """Hubert and Arabie's index of two labellings: 1 = the same, about 0 = by chance."""
    n = len(a)
    _, i = np.unique(a, return_inverse=True)
    _, j = np.unique(b, return_inverse=True)
    if n < 2:
        return 1.0
    table = np.bincount(i * (int(j.max()) + 1) + j).astype(np.float64)
    pairs = (table * (table - 1)).sum()
    of_a, of_b = np.bincount(i).astype(np.float64), np.bincount(j).astype(np.float64)
    pairs_a, pairs_b = (of_a * (of_a - 1)).sum(), (of_b * (of_b - 1)).sum()
    expected = pairs_a * pairs_b / (n * (n - 1.0))
    most = 0.5 * (pairs_a + pairs_b)
    return float((pairs - expected) / (most - expected)) if most > expected else 1.0


def _joined(own: Ints, modes: Modes, k: int) -> Ints:
    """Clusters (n,) renamed to the mode that most of their core rows belong to."""
    table = np.zeros((k, modes.k))
    np.add.at(table, (own[modes.core], modes.label[modes.core]), 1.0)
    return np.asarray(table.argmax(axis=1)[own], np.int32)


def _hollow(rows: Block, scale: int) -> bool:
    """Whether the mean has its neighbours much farther away than the cluster's rows have."""
    mean = rows.astype(np.float64).mean(axis=1)
    step = max(1, rows.shape[1] // HOLLOW_ROWS)
    some = np.ascontiguousarray(rows[:, ::step][:, :HOLLOW_ROWS])
    k = min(scale, HOLLOW_SCALE, rows.shape[1] - 1)
    middle = np.partition(kernel.distances(rows, mean[None, :])[0], k - 1)[k - 1]
    usual = np.partition(kernel.distances(rows, some.T), k, axis=1)[:, k]
    near = float(np.sqrt(np.median(usual)))  # 0: copies of one row are a place, not a ring
    return near > 0 and bool(np.sqrt(float(middle)) > HOLLOW * near)


def _halves(rows: Block, w: Floats, seed: int) -> Floats | None:
    """Two centres of a cluster that shows two modes along the line between them."""
    if rows.shape[1] < SPLIT_ROWS:
        return None
    try:
        halves = fit_kmeans(rows, w, 2, 3, seed).centres
    except DataError:
        return None
    borders = facts.centre_borders(rows, w, halves)
    if not borders or borders[0].p > SPLIT_P:
        return None
    label, _, _ = kernel.nearest(rows, halves)
    return halves if _two_fit_better(rows.astype(np.float64), w, label) else None


def _two_fit_better(rows: Floats, w: Floats, label: Ints) -> bool:
    """BIC of one Gaussian against one for each side, the sides taken as known."""
    n, d = float(rows.shape[1]), rows.shape[0]

    def level(member: npt.NDArray[np.bool_]) -> float:
        mass = float(w[member].sum()) / float(w.sum())
        spread = np.cov(rows[:, member], aweights=w[member], ddof=0).reshape(d, d)
        _, log_det = np.linalg.slogdet(spread + 1e-9 * np.eye(d))
        return mass * (math.log(mass) - 0.5 * float(log_det))

    if min(np.bincount(label, minlength=2)) <= d + 1:
        return False
    gain = level(label == 0) + level(label == 1) - level(np.ones(len(label), bool))
    return bool(gain * n > 0.5 * (1 + d + d * (d + 1) / 2) * math.log(n))
