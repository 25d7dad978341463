"""Density segments: a row takes the segment of its nearest core, or none beyond the cut."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from segpipe.kernels.lookup import Cells, cells, nearest_core
from segpipe.kernels.nearest import Singles
from segpipe.values import Block, Floats, Ints, Labels

SLACK = 1.0 + 1e-5
"""A core is looked up in float32: its own rounding must not push it over its own cut."""


@dataclass(frozen=True, slots=True, eq=False)
class DensityModel:
    """HDBSCAN or DBSCAN of a sample, as look-up tables. Build with ``density_model``."""

    kind: str
    """hdbscan | dbscan."""
    cells: Cells
    """The cores; where a core has no distance of its own (dbscan) it counts as 0."""
    segment: Ints
    """(m,) segment of each core by its number; -1 where nothing was found at all."""
    centres: Floats
    """(k, d) weighted mean of each segment's cores (may lie outside a curved segment)."""
    cut: Floats
    """(k + 1,) largest mutual reachability that still belongs; the last, for -1, is below 0."""
    scale: Floats
    """(k + 1,) usual mutual reachability inside each segment; the last is that of all cores."""
    evidence: tuple[tuple[str, float], ...] = ()
    """What the fit found: see ``fit.density.fit_density``."""
    unit: float = 1.0
    """Distances written to the label table are Euclidean distances times this."""

    @property
    def k(self) -> int:
        """Number of segments, noise not counted."""
        return int(self.centres.shape[0])

    def reach(self, x: Block) -> tuple[Ints, Floats, Floats]:
        """(n,) segment of the nearest core whatever the cut, mutual reachability, distance."""
        at, mutual, plain = nearest_core(x, self.cells)
        return (
            self.segment[at],
            np.sqrt(mutual.astype(np.float64)),
            np.sqrt(plain.astype(np.float64)),
        )

    def label(self, x: Block) -> Labels:
        """Segment or -1, membership in 0..1 (0 for noise), distance to the nearest core."""
        segment, mutual, plain = self.reach(x)
        inside = mutual <= self.cut[segment]
        usual = self.scale[segment]
        member = np.where(inside, usual / np.maximum(mutual, usual), 0.0)
        return Labels(
            np.where(inside, segment, np.int32(-1)).astype(np.int32), member, plain * self.unit
        )

    def reordered(self, order: npt.NDArray[np.intp]) -> DensityModel:
        """The same model with segment ``order[i]`` renamed to i."""
        new = np.full(self.k + 1, -1, np.int32)
        new[order] = np.arange(self.k, dtype=np.int32)
        last = np.append(np.asarray(order, np.intp), self.k)
        return replace(
            self,
            segment=new[self.segment],
            centres=np.ascontiguousarray(self.centres[order]),
            cut=self.cut[last],
            scale=self.scale[last],
        )


def density_model(
    kind: str,
    cores: Singles,
    own: Floats,
    segment: Ints,
    weight: Floats,
    cut: Floats,
    scale: Floats,
    evidence: tuple[tuple[str, float], ...] = (),
    unit: float = 1.0,
) -> DensityModel:
    """Build the look-up tables.

    Parameters
    ----------
    cores : (m, d) in scaled space, m >= 1
    own : (m,) core distances (0 for dbscan)
    segment : (m,) 0..k-1, or all -1 if there is no segment (then ``cut`` is empty)
    weight : (m,) table rows that each core stands for
    cut, scale : (k,) and (k + 1,); see ``DensityModel``
    """
    k = len(cut)
    centres = np.empty((k, cores.shape[1]))
    for g in range(k):
        member = segment == g
        share = weight[member] / weight[member].sum()
        centres[g] = (share[:, None] * cores[member]).sum(axis=0)
    return DensityModel(
        kind,
        cells(np.ascontiguousarray(cores, np.float32), own.astype(np.float32)),
        segment.astype(np.int32),
        centres,
        np.append(cut * SLACK, -1.0),
        scale.astype(np.float64),
        evidence,
        unit,
    )
