"""Tables whose rows are parted by nothing but the cells of their categories.

Every combination of two random text columns is a place of its own, with empty space around: a
density has as many modes as there are combinations, whatever the rows have in common. Flags and
one-hot columns part rows naturally only if something else goes along with them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.fit import evidence as facts
from segpipe.fit.lattice import LEVELS
from segpipe.fit.modes import find_modes
from segpipe.fit.thinning import distinct
from segpipe.values import Block, Floats

RELATED = 0.1
"""Correlation of a flag with a quantity from which the two go along: a small effect (Cohen 1988).
Chance reaches it in samples of some hundred rows, which then are judged as if they had none."""
ROWS = 5_000


def cells_only(x: Block, w: Floats, min_share: float, k_max: int, seed: int) -> bool:
    """Whether quantities have one mode and go along with no flag: flags alone part the rows.

    False for tables without flags (features of fewer than LEVELS values), or of flags only.
    """
    x, w = np.ascontiguousarray(x[:, :ROWS]), w[:ROWS]
    flag = np.array([len(np.unique(line)) < LEVELS for line in x])
    if not flag.any() or flag.all():
        return False
    rest = np.ascontiguousarray(x[~flag])
    if _related(x, w, flag) >= RELATED:
        return False
    if 2.0 * min(facts.structure_hint(rest, w, seed)) < facts.HINT_P:
        return False
    seen = find_modes(*distinct(rest, w), min_share, k_max)
    return seen is not None and seen.sure.k == 1  # of a line "likely" is not likely enough


def _related(x: Block, w: Floats, flag: npt.NDArray[np.bool_]) -> float:
    """Largest absolute correlation of a flag with a quantity."""
    rows = x.astype(np.float64)
    rows -= ((w * rows).sum(axis=1) / w.sum())[:, None]
    size = np.sqrt((w * rows * rows).sum(axis=1))
    rows /= np.where(size > 0, size, 1.0)[:, None]
    return float(np.abs((w * rows[flag]) @ rows[~flag].T).max())
