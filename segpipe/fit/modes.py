"""The modes of the sample: peaks of its density that no chance bump of a flat one explains.

Density by nearest neighbours, the tree of its peaks by rising edges of a neighbour graph, and a
peak that is lost in a higher one unless it stands out from the pass between them: ToMATo (Chazal,
Guibas, Oudot, Skraba, Journal of the ACM 60, 2013). The log of a density from k rows has a
standard deviation of 1/sqrt(k) whatever the density is, so that prominence has a scale of its own
and needs no tuning; how far chance reaches was simulated (``SURE``).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt

from segpipe.fit.graph import GRAPH, Rows, links_of, neighbours
from segpipe.fit.peaks import Tree, labels_of, passes, tree_of
from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints

SCALES = (7, 10, 14, 20, 28, 40, 56)
"""Rows that a density is taken from: few see small groups, many see shallow valleys."""
CONFIRMED = 3.0
"""Standard deviations by which the other half's rows are fewer at a pass than at the peak."""
FEWEST = 30
"""Distinct rows below which nothing is said of modes."""
BUMPS, MAYBE, LIKELY, SURE = 1.25, 0.0, 1.0, 2.2
"""Prominence in standard deviations that chance reaches: BUMPS sqrt(2 log(rows / scale)) and one
of the others on top. ``LIKELY``: about 1 of 100 draws or fewer of uniform, Gaussian, exponential or
t data in 2 to 12 dimensions have a second mode (72 of each drawn, 300 to 9,000 rows: none, but one
of the exponential); ``SURE``: of thin rings about 1 of 10, at 1,000 rows 5 of 20, and a line is no
better than a ring; ``MAYBE``: candidates that fresh rows must confirm."""

Check = Callable[[int, Rows, Floats], bool]
"""(peak, ends of the pass, reach of the rows) -> whether the peak is one."""


@dataclass(frozen=True, slots=True, eq=False)
class Modes:
    """The peaks that stand out, and the rows that lead up to each."""

    label: Ints
    """(n,) 0..k-1 by falling height of the peak."""
    core: npt.NDArray[np.bool_]
    """(n,) rows higher than the highest pass out of their own mode: what no border blurs."""
    scale: int
    """Rows that the density was taken from."""
    dimension: float
    """Of the data as they fill space: 1 for a thin ring, whatever the number of features."""
    chance: float
    """Prominence, in standard deviations, that peaks of flat data hardly ever reach."""
    prominence: tuple[float, ...]
    """Of the modes by falling value, the highest peak not counted; then of the best that is none"""
    found: tuple[tuple[int, int], ...]
    """(scale, modes found by it)."""
    left_out: int = 0
    """Peaks that stand out as well but are more than was asked for at most."""

    @property
    def k(self) -> int:
        """Number of modes."""
        return int(self.label.max(initial=-1)) + 1

    def row(self) -> dict[str, object]:
        """For the evidence."""
        return {
            "k": self.k,
            "scale": self.scale,
            "dimension": self.dimension,
            "chance": self.chance,
            "prominence": self.prominence,
            "core_share": float(self.core.mean()),
            "by_scale": self.found,
            "left_out": self.left_out,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """Distinct rows, and their modes by two bars of chance."""

    x: Block
    w: Floats
    sure: Modes
    """What no chance gap of a thin ring or band explains."""
    likely: Modes
    """What no chance bump of a filled area explains: as many as ``sure`` or more."""
    clear: Modes
    """Those of the finest scale at the bar of ``sure``: groups with next to empty space between.

    A dent of a thin ring, seen by as many rows as lie across it, is not empty.
    """
    cuts: tuple[Modes, ...]
    """One per number of modes that any scale and bar gives, by rising number."""


def find_modes(x: Block, w: Floats, min_share: float = 0.0, k_max: int = 64) -> Seen | None:
    """The modes at the scale that shows most of them; None for too few rows.

    Parameters
    ----------
    x : (d, n) distinct rows
    w : (n,) rows of the table that each stands for
    min_share : peaks that fewer rows lead up to are none
    k_max : of more the most prominent are kept
    """
    n = x.shape[1]
    scales = [k for k in SCALES if k <= n // 6]
    if n < FEWEST or not scales:
        return None
    near, radius = neighbours(x, max(*scales, GRAPH))
    links = links_of(x, near, radius)
    trees = [tree_of(k, near, radius, links, w, x.shape[0]) for k in scales]
    cuts: dict[int, Modes] = {}

    def most(bar: float) -> Modes:
        found = [_modes(tree, w, min_share, k_max, bar) for tree in trees]
        cuts.update((m.k, m) for m in found if m.k not in cuts or m.scale > cuts[m.k].scale)
        best = max(found, key=lambda m: (m.k, m.scale))  # of equals the smoother
        return replace(best, found=tuple((m.scale, m.k) for m in found))

    sure, likely = most(SURE), most(LIKELY)
    clear = _modes(trees[0], w, min_share, k_max, SURE)
    return Seen(x, w, sure, likely, clear, tuple(cuts[k] for k in sorted(cuts)))


def confirmed_modes(
    x: Block, w: Floats, min_share: float = 0.0, k_max: int = 64, rows: int = 10_000
) -> Seen | None:
    """Modes of half of the rows whose passes the other half confirms; None for too few rows.

    A pass that chance made in one half has no fewer rows around it than the peak in the other:
    on a thin ring, where every dent is a pass, prominence alone is no proof. Of both halves the
    one with more modes counts; at most ``rows`` are taken for either half.
    """
    parts = [np.ascontiguousarray(x[:, i::2][:, :rows]) for i in (0, 1)]
    found: list[tuple[Block, Floats, Modes]] = []
    for own in (0, 1):
        points, other = parts[own], parts[1 - own]
        mass = w[own::2][: points.shape[1]]
        scales = [k for k in SCALES if k <= points.shape[1] // 6]
        if points.shape[1] < FEWEST or not scales:
            return None
        near, radius = neighbours(points, max(*scales, GRAPH))
        links = links_of(points, near, radius)
        check = partial(_confirms, points, other)
        modes = []
        for k in scales:
            tree = tree_of(k, near, radius, links, mass, x.shape[0])
            modes.append(_modes(tree, mass, min_share, k_max, MAYBE, check))
        best = max(modes, key=lambda m: (m.k, m.scale))
        best = replace(best, found=tuple((m.scale, m.k) for m in modes))
        found.append((points, mass, best))
    points, mass, best = max(found, key=lambda f: f[2].k)
    return Seen(points, mass, best, best, best, (best,))


def _confirms(points: Block, other: Block, peak: int, ends: Rows, reach: Floats) -> bool:
    """Whether ``other`` rows are significantly fewer around the pass than around the peak."""
    i, j = ends
    middle = 0.5 * (points[:, i].astype(np.float64) + points[:, j])
    length = np.sqrt(float(np.square(points[:, i].astype(np.float64) - points[:, j]).sum()))
    around = max(float(reach[i]), float(reach[j]), 0.5 * float(length))
    places = np.stack([points[:, peak].astype(np.float64), middle])
    high, low = (kernel.distances(other, places) <= around * around).sum(axis=1).tolist()
    return bool(high - low >= CONFIRMED * float(np.sqrt(max(high + low, 1))))


def _modes(
    tree: Tree, w: Floats, min_share: float, k_max: int, bar: float, check: Check | None = None
) -> Modes:
    chance = BUMPS * float(np.sqrt(2.0 * np.log(max(tree.spots, 2.0)))) + bar
    drop = tree.merges.drop * tree.spread
    least = max(min_share * float(w.sum()), 0.5 * tree.scale * float(np.median(w)))
    large = tree.merges.held >= least
    keep = large & (drop >= chance)
    if check is not None:
        for i in np.flatnonzero(keep):
            keep[i] = check(int(tree.merges.lower[i]), tree.merges.ends[i], tree.reach)
    left_out = max(0, int(keep.sum()) + 1 - k_max)
    if left_out:
        keep &= drop >= np.sort(drop[keep])[keep.sum() - k_max + 1]
    label = labels_of(tree.height, tree.up, tree.merges, keep)
    core = tree.height > passes(label, tree.links, tree.level)[label]
    rest = float(drop[large & ~keep].max(initial=0.0))
    stand = (*np.sort(drop[keep])[::-1].tolist(), rest)
    return Modes(label, core, tree.scale, tree.dimension, chance, stand, (), left_out)
