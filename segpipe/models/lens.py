"""A detector that looks at other columns than the segments do."""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa

from segpipe.models.scaler import Scaler
from segpipe.values import Block, Detector, Floats


@dataclass(frozen=True, slots=True, eq=False)
class LensDetector:
    """``inner`` over the blocks of a scaler of its own.

    Segments are read by few features; an odd customer may be usual in all of those.
    """

    inner: Detector
    scaler: Scaler

    @property
    def method(self) -> str:
        """Of the inner detector."""
        return self.inner.method

    def score(self, x: Block) -> Floats:
        """(n,) scores of a block that ``scaler`` made."""
        return self.inner.score(x)


def block_for(detector: Detector, batch: pa.RecordBatch, x: Block) -> Block:
    """The block of ``batch`` that ``detector`` scores, given the segments' block of it."""
    return detector.scaler.transform(batch) if isinstance(detector, LensDetector) else x
