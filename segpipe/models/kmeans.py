"""Centre models: a row belongs to its nearest centre."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Labels


@dataclass(frozen=True, slots=True, eq=False)
class KMeansModel:
    """k centres in scaled space; row i is segment i. Bisecting K-Means ends as the same thing."""

    centres: Floats
    """(k, d) float64; compared with rows as float32."""
    kind: str = "kmeans"
    """kmeans | bisecting."""
    unit: float = 1.0
    """Distances written to the label table are Euclidean distances times this."""

    @property
    def k(self) -> int:
        """Number of segments."""
        return int(self.centres.shape[0])

    def label(self, x: Block) -> Labels:
        """Nearest centre, 1 - d1/d2 (1 if there is one centre, 0 if both are equally near), d1."""
        segment, best, second = kernel.nearest(x, self.centres)
        distance = np.sqrt(kernel.squared_error(x, segment, self.centres)) * self.unit
        return Labels(segment, clearness(best, second), distance)

    def inertia(self, x: Block, w: Floats) -> float:
        """Weighted squared distances to the nearest centres, exact in any order of the rows."""
        return kernel.lloyd_sums(x, w, self.centres).inertia

    def reordered(self, order: npt.NDArray[np.intp]) -> KMeansModel:
        """The same model with segment ``order[i]`` renamed to i."""
        return replace(self, centres=np.ascontiguousarray(self.centres[order]))


def clearness(best: kernel.Singles, second: kernel.Singles) -> Floats:
    """1 - d1/d2 in 0..1 from squared distances; 1 where there is no other segment."""
    b, s = best.astype(np.float64), second.astype(np.float64)
    ratio = np.divide(b, s, out=np.ones_like(b), where=s > 0)
    return np.clip(1.0 - np.sqrt(ratio), 0.0, 1.0)
