"""Bisecting K-Means: the cluster of the largest error is split in two until there are k."""

from __future__ import annotations

import numpy as np

from segpipe.errors import DataError
from segpipe.fit.kmeans import fit_kmeans
from segpipe.kernels import nearest as kernel
from segpipe.models.kmeans import KMeansModel
from segpipe.values import Block, Floats


def fit_bisecting(x: Block, w: Floats, k: int, n_init: int = 10, seed: int = 0) -> KMeansModel:
    """The k leaves of the tree (Steinbach, Karypis, Kumar 2000); rows take their nearest centre.

    Clusters of identical rows are not split. DataError when fewer than k can be made.
    """
    mean = (w * x.astype(np.float64)).sum(axis=1) / w.sum()
    centres = [mean]
    members = [np.arange(x.shape[1])]
    errors = [float(kernel.lloyd_sums(x, w, mean[None, :]).inertia)]
    while len(centres) < k:
        worst = int(np.argmax(errors))
        if not errors[worst] > 0:
            raise DataError(
                f"{k} clusters were asked for; the sample has only {len(centres)} distinct rows.",
                "ask for fewer (fit.k) or give more features",
            )
        rows = members[worst]
        part, weight = np.ascontiguousarray(x[:, rows]), w[rows]
        halves = fit_kmeans(part, weight, 2, n_init, seed + len(centres)).centres
        label, _, _ = kernel.nearest(part, halves)
        sums = kernel.add_up(part, weight, label, halves)
        for side, at in ((0, worst), (1, len(centres))):
            entry = (halves[side], rows[label == side], float(sums.errors[side]))
            if side == 0:
                centres[at], members[at], errors[at] = entry
            else:
                centres.append(entry[0])
                members.append(entry[1])
                errors.append(entry[2])
    return KMeansModel(np.array(centres), "bisecting")
