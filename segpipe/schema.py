"""Names of the columns that segpipe writes, declared once."""

from __future__ import annotations

import pyarrow as pa

SEGMENT_ID = "segment_id"
SEGMENT = "segment"
CONFIDENCE = "segment_confidence"
DISTANCE = "segment_distance"
SCORE = "outlier_score"
QUANTILE = "outlier_quantile"
P = "outlier_p"
FLAG = "is_outlier"
REASONS = "outlier_reasons"
RUN_ID = "run_id"
MODEL_ID = "model_id"
AS_OF = "as_of"
REASON = "reject_reason"
LINE = "_line"
"""Of text logs: a line that is no record, for the rejects; null in records, never a feature."""
LINE_FIELD = pa.field(LINE, pa.string(), metadata={"doc": "a line that is no record"})
NOISE = -1

REASON_TYPE = pa.list_(
    pa.struct(
        [
            pa.field("feature", pa.string()),
            pa.field("share", pa.float64()),
            pa.field("value", pa.string()),
            pa.field("usual", pa.string()),
        ]
    )
)

LABELS = pa.schema(
    [
        pa.field(SEGMENT_ID, pa.int32(), metadata={"doc": "segment number; -1 = noise"}),
        pa.field(SEGMENT, pa.string(), metadata={"doc": "segment name"}),
        pa.field(
            CONFIDENCE, pa.float64(), metadata={"doc": "0..1: how clearly the row belongs there"}
        ),
        pa.field(
            DISTANCE, pa.float64(), metadata={"doc": "distance to the centre, in scaled units"}
        ),
        pa.field(SCORE, pa.float64(), metadata={"doc": "raw score, higher = more unusual"}),
        pa.field(QUANTILE, pa.float64(), metadata={"doc": "share of rows that score lower, 0..1"}),
        pa.field(P, pa.float64(), metadata={"doc": "chance of such a score among usual rows"}),
        pa.field(FLAG, pa.bool_(), metadata={"doc": "score at or above the threshold"}),
        pa.field(REASONS, REASON_TYPE, metadata={"doc": "top features of a flagged row"}),
    ]
)
"""What is known of every row; null where a method is ``none``."""

OURS = frozenset(LABELS.names) | {RUN_ID, MODEL_ID}
"""A source that already bears one of these names is refused (exit 78)."""


def line_of(source: pa.Schema) -> str | None:
    """``LINE`` where the source is a text log; a table's own column of that name is none."""
    at = source.get_field_index(LINE)
    known = at >= 0 and source.field(at).equals(LINE_FIELD, check_metadata=True)
    return LINE if known else None
