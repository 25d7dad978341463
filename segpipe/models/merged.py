"""Segments made of several micro-clusters: shapes that no single centre can describe."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints, Labels


@dataclass(frozen=True, slots=True, eq=False)
class MergedModel:
    """A row takes the segment of its nearest micro-cluster. Build with ``merged``, which sorts."""

    micro: Floats
    """(m, d) micro-centres in scaled space, sorted by group."""
    mass: Floats
    """(m,) weight of the rows of each micro-cluster."""
    group: Ints
    """(m,) ascending segment of each micro-cluster; every one of 0..k-1 occurs."""
    kind: str = "merged"
    """merged | agglomerative."""
    unit: float = 1.0
    """Distances written to the label table are Euclidean distances times this."""
    height: Floats | None = None
    """(m-1, 4) SciPy linkage of the micro-clusters, for the dendrogram of agglomerative models."""

    @property
    def k(self) -> int:
        """Number of segments."""
        return int(self.group[-1]) + 1

    @property
    def centres(self) -> Floats:
        """(k, d) weighted means of the segments (a ring's lies in its hole)."""
        out = np.empty((self.k, self.micro.shape[1]))
        for g in range(self.k):
            member = self.group == g
            share = self.mass[member] / self.mass[member].sum()
            out[g] = (share[:, None] * self.micro[member]).sum(axis=0)
        return out

    def label(self, x: Block) -> Labels:
        """Segment of the nearest micro-centre; 1 - d1/d2 with d2 to the nearest of another segment.

        The distance is to the nearest micro-centre, not to the segment's mean.
        """
        segment, clear, distance = kernel.described(x, self.micro, self.group)
        return Labels(segment, clear, distance * self.unit)

    def reordered(self, order: npt.NDArray[np.intp]) -> MergedModel:
        """The same model with segment ``order[i]`` renamed to i."""
        new = np.empty(self.k, np.int32)
        new[order] = np.arange(self.k, dtype=np.int32)
        return merged(self.micro, self.mass, new[self.group], self.kind, self.unit, self.height)


def merged(
    micro: Floats,
    mass: Floats,
    group: Ints,
    kind: str = "merged",
    unit: float = 1.0,
    linkage: Floats | None = None,
) -> MergedModel:
    """A ``MergedModel`` of micro-clusters in any order; linkage leaves follow the new order."""
    by = np.argsort(group, kind="stable")
    height = linkage
    if linkage is not None and not np.array_equal(by, np.arange(len(by))):
        place = np.empty(len(by), np.int64)
        place[by] = np.arange(len(by))
        height = linkage.copy()
        leaf = linkage[:, :2] < len(by)
        height[:, :2][leaf] = place[linkage[:, :2][leaf].astype(np.int64)]
    model = MergedModel(
        np.ascontiguousarray(micro[by], np.float64),
        np.ascontiguousarray(mass[by], np.float64),
        np.ascontiguousarray(group[by], np.int32),
        kind,
        unit,
    )
    return replace(model, height=height)
