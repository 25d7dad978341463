"""What repeated rows weigh in the outlier reference; labels and scores are of all rows.

An attack repeats itself: a flood is thousands of like connections in a minute, a scan thousands of
like probes. Taken one by one they would be what is usual. So ``bursts`` lets rows that look the
same count once. A burst whose rows look different is mostly people at work: c such rows weigh as
c^(7/8) of them (DECISIONS.md).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.kernels.cells import numbers
from segpipe.kernels.hashing import splitmix64
from segpipe.values import Block, Floats, Sample

BURST = "burst_size"
"""Column of the sample: rows of the same ends, port, protocol and ten seconds."""
LOOSE = 0.125
"""c different rows of one burst weigh c^(1 - LOOSE)."""


def reference_weights(sample: Sample, collapse: str, x: Block) -> Floats:
    """Weight (n,) of each sampled row in the outlier reference.

    none: the table rows that it stands for. exact: each distinct row counts once however often
    it occurs. bursts: by the rows that equal it in ``x``, the scaled block, or by its burst,
    whichever leaves less.

    The choice is a matter of meaning, not of quality: floods of like log rows must not define
    what is usual, identical customers may (``algorithms.md`` section 4).
    """
    if collapse not in ("none", "exact", "bursts"):
        raise ValueError(f"collapse {collapse!r}")
    if collapse == "exact":
        return np.asarray(sample.weight / np.maximum(sample.count, 1.0))
    if collapse == "none":
        return sample.weight
    tempered = np.minimum(1.0 / alike(x, sample.count), _burst(sample) ** -LOOSE)
    return np.asarray(sample.weight * tempered)


def alike(x: Block, count: Floats) -> Floats:
    """(n,) rows that equal each column of (d, n) ``x``, itself included."""
    state: npt.NDArray[np.uint64] = np.zeros(x.shape[1], np.uint64)
    for row in x:
        # adding 0 makes -0 one with 0
        state = splitmix64(state ^ (row + np.float32(0)).view(np.uint32).astype(np.uint64))
    _, code = np.unique(state, return_inverse=True)
    return np.asarray(np.bincount(code, count)[code])


def _burst(sample: Sample) -> Floats:
    """Rows of each row's burst that the sample is expected to hold."""
    size = np.nan_to_num(numbers(sample.batch.column(BURST)), nan=1.0)
    drawn = min(float(sample.count.sum() / sample.weight.sum()), 1.0)
    return np.asarray(1.0 + (np.maximum(size, 1.0) - 1.0) * drawn)
