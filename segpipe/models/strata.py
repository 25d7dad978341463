"""Calibrations of groups of rows: what is usual for one service is odd for another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.kernels.cells import texts
from segpipe.models.calibration import Calibration
from segpipe.values import Floats, Ints


@dataclass(frozen=True, slots=True, eq=False)
class Strata:
    """A calibration per level of one column; rows of other levels go by the whole table's."""

    column: str
    """Name in the feature table."""
    levels: tuple[str, ...]
    calibrations: tuple[Calibration, ...]

    def codes(self, batch: pa.RecordBatch) -> Ints:
        """(n,) number of each row's level; -1: none of these."""
        return level_codes(batch, self.column, self.levels)

    def thresholds(self, batch: pa.RecordBatch, whole: Calibration) -> Floats:
        """(n,) scores at or above which each row is an outlier."""
        of = np.array([c.threshold for c in (*self.calibrations, whole)])
        return np.asarray(of[self.codes(batch)])

    def judge(
        self, batch: pa.RecordBatch, score: Floats, whole: Calibration
    ) -> tuple[npt.NDArray[np.bool_], Floats, Floats]:
        """Flag, quantile and p of each row among its own level's."""
        code = self.codes(batch)
        flag, quantile, p = np.zeros(len(score), bool), np.zeros(len(score)), np.ones(len(score))
        for level in np.unique(code):
            rows = np.flatnonzero(code == level)
            own = whole if level < 0 else self.calibrations[level]
            flag[rows] = own.flag(score[rows])
            quantile[rows], p[rows] = own.ranks(score[rows])
        return flag, quantile, p


def level_codes(batch: pa.RecordBatch, column: str, levels: tuple[str, ...]) -> Ints:
    """(n,) place of each row's value of ``column`` in ``levels``; -1 where it is not there."""
    found = pc.index_in(texts(batch.column(column)), value_set=pa.array(levels, pa.string()))
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), np.int32)
