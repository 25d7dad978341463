"""The label table: what is said of every row, as a pure function of a batch."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe import schema
from segpipe.errors import ConfigError
from segpipe.models.calibration import Calibration
from segpipe.models.fitted import name_of
from segpipe.models.lens import block_for
from segpipe.models.scaler import Scaler
from segpipe.models.strata import Strata
from segpipe.scoring.reasons import reasons
from segpipe.values import Block, Detector, Floats, Ints, Labels, SegmentModel


@dataclass(frozen=True, slots=True, eq=False)
class Said:
    """What model and detector say of a batch."""

    x: Block | None
    """None where labels and scores were known."""
    labels: Labels
    score: Floats | None
    """(n,); None without a detector."""


@dataclass(frozen=True, slots=True, eq=False)
class Labeller:
    """RecordBatch -> RecordBatch of ``schema``; picklable, row i depends on row i alone."""

    scaler: Scaler
    model: SegmentModel
    detector: Detector | None
    calibration: Calibration | None
    """None exactly where ``detector`` is."""
    names: tuple[tuple[int, str], ...]
    """(segment, name); -1 is called noise unless it is named here."""
    schema: pa.Schema
    """From ``output_schema``: its columns are ours, constants, or the batch's own."""
    run_id: str
    model_id: str
    as_of: dt.date | None = None
    strata: Strata | None = None
    """Calibrations by level; ``calibration`` is for rows of other levels then."""

    def __call__(self, batch: pa.RecordBatch, score: Floats | None = None) -> pa.RecordBatch:
        """The batch's rows in their order, labelled; ``score``: the detector's, if it is known."""
        return self.table(batch, self.say(batch, score))

    def say(
        self, batch: pa.RecordBatch, score: Floats | None = None, labels: Labels | None = None
    ) -> Said:
        """Block, labels and scores of the batch's rows; the latter two may be known."""
        x = None
        if labels is None or (self.detector is not None and score is None):
            x = self.scaler.transform(batch)
            labels = self.model.label(x) if labels is None else labels
        if self.detector is not None:
            if score is None:
                assert x is not None
                score = self.detector.score(block_for(self.detector, batch, x))
            if not np.isfinite(score).all():
                raise AssertionError(f"{self.detector.method} gave a score that is not finite")
        return Said(x, labels, score)

    def table(self, batch: pa.RecordBatch, known: Said) -> pa.RecordBatch:
        """The label table's rows, from what is said of them."""
        n, said = batch.num_rows, known.labels
        given = dict(self.names)
        words = [name_of(given, i) for i in range(-1, self.model.k)]
        same = np.zeros(n, np.int32)
        made: dict[str, Any] = {
            schema.SEGMENT_ID: pa.array(said.segment, pa.int32()),
            schema.SEGMENT: _coded(said.segment + np.int32(1), words),
            schema.CONFIDENCE: pa.array(said.confidence, pa.float64()),
            schema.DISTANCE: pa.array(said.distance, pa.float64()),
            schema.RUN_ID: _coded(same, [self.run_id]),
            schema.MODEL_ID: _coded(same, [self.model_id]),
            **self._outliers(batch, known),
        }
        if schema.AS_OF not in batch.schema.names:
            made[schema.AS_OF] = pa.repeat(pa.scalar(self.as_of, pa.date32()), n)
        return pa.RecordBatch.from_arrays(
            [
                made[field.name] if field.name in made else _as(batch.column(field.name), field)
                for field in self.schema
            ],
            schema=self.schema,
        )

    def _outliers(self, batch: pa.RecordBatch, said: Said) -> dict[str, Any]:
        score = said.score
        if self.detector is None or self.calibration is None or score is None:
            names = (schema.SCORE, schema.QUANTILE, schema.P, schema.FLAG, schema.REASONS)
            return {
                name: pa.nulls(batch.num_rows, schema.LABELS.field(name).type) for name in names
            }
        if self.strata is not None:
            flagged, quantile, p = self.strata.judge(batch, score, self.calibration)
        else:
            flagged = self.calibration.flag(score)
            quantile, p = self.calibration.ranks(score)
        return {
            schema.SCORE: pa.array(score, pa.float64()),
            schema.QUANTILE: pa.array(quantile, pa.float64()),
            schema.P: pa.array(p, pa.float64()),
            schema.FLAG: pa.array(flagged, pa.bool_()),
            schema.REASONS: reasons(batch, flagged, self.scaler, self.model, self.detector),
        }


CODED = pa.dictionary(pa.int32(), pa.string())
"""Text of few values, as it travels to the writer: published as plain text."""


def _coded(code: Ints, values: Sequence[str]) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(code), pa.array(values, pa.string()))


def output_schema(
    source: pa.Schema,
    *,
    keys: Sequence[str],
    features: Sequence[str],
    carried: Sequence[str],
    partition_by: Sequence[str],
    as_of: bool,
) -> pa.Schema:
    """Columns of the label table in the order of the contract, each once, at its first place.

    Parameters
    ----------
    source : of the batches that the labeller will see
    keys, features, carried, partition_by : column names of ``source``; ``partition_by`` may also
        name ``as_of`` or a column of ours (e.g. segment_id)
    as_of : write an ``as_of`` column (date32) whether or not it is a partition

    Raises
    ------
    ConfigError
        A source column bears one of our names, or a partition column does not exist.
    """
    taken = sorted(schema.OURS & set(source.names))
    if taken:
        raise ConfigError(
            f"the source has columns named like ours: {', '.join(taken)}.",
            "rename them with source.columns",
        )
    stamped = as_of or schema.AS_OF in partition_by
    own = {field.name: field for field in schema.LABELS}
    own[schema.SEGMENT] = own[schema.SEGMENT].with_type(CODED)
    if stamped and schema.AS_OF not in source.names:
        own[schema.AS_OF] = pa.field(schema.AS_OF, pa.date32())
    last = [pa.field(name, CODED) for name in (schema.RUN_ID, schema.MODEL_ID)]
    known = {**{field.name: field for field in (*source, *last)}, **own}
    lost = [name for name in partition_by if name not in known]
    if lost:
        raise ConfigError(
            f"target.partition_by names {', '.join(lost)}; "
            f"the label table has {', '.join(sorted(known))}.",
            "partition by a source column, a key, as_of or segment_id",
        )
    wanted = [
        *keys,
        *schema.LABELS.names,
        *features,
        *carried,
        *partition_by,
        *([schema.AS_OF] if stamped else []),
        schema.RUN_ID,
        schema.MODEL_ID,
    ]
    return pa.schema([known[name] for name in dict.fromkeys(wanted)])


def _as(column: Any, field: pa.Field) -> Any:
    return column if column.type == field.type else column.cast(field.type)
