"""Campaigns: flagged log rows that belong together, by the density model over what they look like.

Nobody reads ten thousand flagged rows; a person reads ten groups with who, whom, what and when.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.engines.protocol import Engine
from segpipe.features.plan import Built
from segpipe.fit.density import fit_density
from segpipe.kernels.cells import MISSING, texts
from segpipe.kernels.hashing import hash_rows
from segpipe.lake.spool import Spooled
from segpipe.models.fitted import Fitted
from segpipe.models.lens import LensDetector, block_for
from segpipe.values import Block, Floats

ENDS = ("src", "dst")
TOLD = ("ts", *ENDS, "service", "dst_port", "proto", "flag")
"""Columns by which a campaign is described, as far as the table has them."""
ROWS = 5000
"""Flagged rows that are grouped, those of lowest hash; each stands for flagged / ROWS rows."""
LEAST = 5
"""Flagged rows of the sample that make a campaign."""
ALIKE = 0.2
"""Rows of one campaign are chained by steps of this, times the root of the features, in scaled
units: a seventh of what lies between two usual rows."""
MOST = 20
"""Campaigns that are told, the largest."""
NAMED = 3
"""Commonest values of a column that are named."""


@dataclass(frozen=True, slots=True, eq=False)
class Flagged:
    """Flagged rows of lowest hash, by rising hash; equal rows are equal in all that is kept."""

    rows: int
    """Flagged in all."""
    hashes: npt.NDArray[np.uint64]
    told: pa.RecordBatch
    x: Block
    score: Floats

    def __add__(self, other: Flagged) -> Flagged:
        hashes = np.concatenate([self.hashes, other.hashes])
        first = np.argsort(hashes, kind="stable")[:ROWS]
        table = pa.Table.from_batches([self.told, other.told]).combine_chunks()
        told = (table.to_batches() or [self.told])[0].take(pa.array(first))
        x = np.concatenate([self.x, other.x], axis=1)[:, first]
        score = np.concatenate([self.score, other.score])[first]
        return Flagged(self.rows + other.rows, hashes[first], told, x, score)


@dataclass(frozen=True, slots=True, eq=False)
class FindFlagged:
    """Fold step: the flagged rows of one part; picklable."""

    fitted: Fitted
    told: pa.Schema
    seed: int

    def __call__(self, batches: Iterator[pa.RecordBatch], spool: str | None = None) -> Flagged:
        """``spool``: where an earlier pass left the scores of the part's rows."""
        fitted, scores = self.fitted, None if spool is None else Spooled(spool)
        detector, whole = fitted.detector, fitted.calibration
        assert detector is not None and whole is not None
        scaler = detector.scaler if isinstance(detector, LensDetector) else fitted.scaler
        found = self._none(scaler.width)
        for batch in batches:
            if not batch.num_rows:
                continue
            if scores is None:
                x = fitted.scaler.transform(batch)
                score = detector.score(block_for(detector, batch, x))
            else:
                score = scores.take(batch.num_rows)
            if fitted.strata is None:
                flagged = np.flatnonzero(whole.flag(score))
            else:
                flagged = np.flatnonzero(score >= fitted.strata.thresholds(batch, whole))
            if not len(flagged):
                continue
            odd = batch.take(pa.array(flagged))
            told = odd.select(self.told.names)
            block = scaler.transform(odd)
            hashes = hash_rows(told, self.told.names, self.seed)
            for row in block:  # rows that are told alike may look different
                hashes = hashes * np.uint64(31) + (row + np.float32(0)).view(np.uint32)
            found += Flagged(len(flagged), hashes, told, block, score[flagged])
        return found

    def _none(self, width: int) -> Flagged:
        told = pa.RecordBatch.from_arrays(
            [pa.array([], field.type) for field in self.told], schema=self.told
        )
        none = np.empty(0, np.uint64)
        return Flagged(0, none, told, np.empty((width, 0), np.float32), np.empty(0))


def find(
    engine: Engine, built: Built, fitted: Fitted, spools: Sequence[str], seed: int
) -> dict[str, Any] | None:
    """Groups of flagged rows, the largest first; None where rows are no connections.

    One pass over the rows, with the scores that an earlier one spooled, if it did.
    """
    if fitted.detector is None or not built.as_rows or not set(ENDS) & set(built.schema.names):
        return None
    told = pa.schema([built.schema.field(n) for n in TOLD if n in built.schema.names])
    step = FindFlagged(fitted, told, seed)
    found: Flagged = engine.fold(built.frame, step, operator.add, beside=spools)
    groups = _grouped(found, seed)
    each = found.rows / max(len(found.score), 1)
    numbers, counts = np.unique(groups[groups >= 0], return_counts=True)
    largest = numbers[np.lexsort((numbers, -counts))][:MOST]
    return {
        "flagged": found.rows,
        "grouped_sample": len(found.score),
        "alone": round(float((groups < 0).sum()) * each),
        "campaigns": [_campaign(found, groups == number, each, fitted) for number in largest],
    }


def _grouped(found: Flagged, seed: int) -> npt.NDArray[np.int32]:
    """Group of each flagged row, -1 = alone."""
    if len(found.score) < LEAST:
        return np.full(len(found.score), -1, np.int32)
    _, place, count = np.unique(found.x, axis=1, return_inverse=True, return_counts=True)
    place = place.reshape(-1)
    if len(count) < LEAST:
        return np.where(count[place] >= LEAST, place, -1).astype(np.int32)
    # Flagged rows are alike by an absolute measure, not by how the other flagged ones lie: with its
    # own choice of scale a density model joined a scan and a flood of one demo log.
    model = fit_density(
        "dbscan", np.ascontiguousarray(found.x), np.ones(len(found.score)), rows=ROWS,
        min_share=LEAST / len(found.score), seed=seed, eps=ALIKE * len(found.x) ** 0.5,
    )  # fmt: skip
    group = model.label(np.ascontiguousarray(found.x)).segment
    # To the density model rows of one place are one row; a flood of like ones is a campaign.
    alike = (group < 0) & (count[place] >= LEAST)
    return np.where(alike, model.k + place, group).astype(np.int32)


def _campaign(
    found: Flagged, own: npt.NDArray[np.bool_], each: float, fitted: Fitted
) -> dict[str, Any]:
    """Who, whom, what, when, and in what the group differs from the other rows most."""
    rows = found.told.take(pa.array(np.flatnonzero(own)))
    told: dict[str, Any] = {
        "rows": round(float(own.sum()) * each),
        "score": float(np.median(found.score[own])),
    }
    for name in rows.schema.names:
        if name == "ts":
            times = [t for t in rows.column(name).to_pylist() if t is not None]
            if times:
                told["first"], told["last"] = _time(min(times)), _time(max(times))
            continue
        common = Counter(texts(rows.column(name)).to_pylist())
        ranked = sorted(common.items(), key=lambda item: (-item[1], item[0]))
        told[name] = {
            "values": len(common),
            "commonest": [
                {"value": None if value == MISSING else value, "share": count / int(own.sum())}
                for value, count in ranked[:NAMED]
            ],
        }
    detector = fitted.detector
    scaler = detector.scaler if isinstance(detector, LensDetector) else fitted.scaler
    middle = np.median(found.x[:, own].astype(np.float64), axis=1)
    value = scaler.restore(middle[None, :])
    farthest = np.argsort(-np.abs(middle), kind="stable")
    inputs = list(dict.fromkeys(scaler.inputs[scaler.source[j]].name for j in farthest))[:NAMED]
    usual = {item.name: item.usual for item in scaler.inputs}
    told["marks"] = [
        {"feature": name, "value": _plain(value[name][0]), "usual": usual[name]} for name in inputs
    ]
    return told


def _plain(value: Any) -> Any:
    return value.item() if isinstance(value, np.generic) else value


def _time(value: Any) -> str:
    """Times are int64 microseconds within a run."""
    when = datetime.fromtimestamp(value / 1e6, UTC) if isinstance(value, int) else value
    return str(when.isoformat())
