"""How well a mixture parts the rows: its likelihood less what the overlap of its components costs.

Of two mixtures that describe the rows alike, the one whose components overlap less is the better
set of segments. Biernacki, Celeux, Govaert (IEEE PAMI 22, 2000) compare by the likelihood of rows
and segments together; its mean over the posterior is the conditional classification likelihood of
Baudry (Electronic Journal of Statistics 9, 2015). It tells stages of one run apart; to choose among
starts or shapes of covariances by it gave worse segments than their likelihood did.
"""

from __future__ import annotations

import numpy as np

from segpipe.fit.evidence import log_joint
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats

CELLS = 2_000_000
"""Rows times components that are held at a time."""


def classification(model: MixtureModel, x: Block, w: Floats) -> float:
    """Mean log likelihood of the rows, less the mean entropy of their posteriors; nats per row."""
    total = 0.0
    size = max(1, CELLS // model.k)
    for lo in range(0, x.shape[1], size):
        joint = log_joint(model, np.ascontiguousarray(x[:, lo : lo + size]))
        top = joint.max(axis=0)
        share = np.exp(joint - top)
        whole = share.sum(axis=0)
        # Sum of p log(joint) over the components = log likelihood - entropy; a p of 0 counts 0.
        inside = share * np.where(share > 0, joint - top, 0.0)
        total += float((w[lo : lo + size] * (top + inside.sum(axis=0) / whole)).sum())
    return total / float(w.sum())
