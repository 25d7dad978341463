"""Centre models: a row belongs to its nearest centre."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.kernels.nearest import clearness
from segpipe.values import Block, Floats, Labels

__all__ = ["KMeansModel", "clearness"]


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
        segment, clear, distance = kernel.described(x, self.centres)
        return Labels(segment, clear, distance * self.unit)

    def inertia(self, x: Block, w: Floats | None) -> float:
        """Weighted squared distances to the nearest centres, exact in any order of the rows."""
        return kernel.lloyd_sums(x, w, self.centres).inertia

    def reordered(self, order: npt.NDArray[np.intp]) -> KMeansModel:
        """The same model with segment ``order[i]`` renamed to i."""
        return replace(self, centres=np.ascontiguousarray(self.centres[order]))
