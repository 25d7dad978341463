"""The caller's own Spark DataFrame, classic or Connect, on the caller's session as it is set up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_type, to_arrow_schema

from segpipe.engines.frames import Conform, Frame, Work
from segpipe.engines.spark import SparkEngine, quoted
from segpipe.errors import DataError


def adopted(frame: Any, columns: Sequence[str]) -> tuple[SparkEngine, Frame]:
    """An engine on the frame's session, and the frame's ``columns``.

    Raises
    ------
    DataError
        A column is absent.
    """
    schema = schema_of(frame, columns)
    picked = frame.select(*map(quoted, columns))
    return SparkEngine.on(frame.sparkSession), Frame(schema, picked, Work((), (Conform(schema),)))


def schema_of(frame: Any, columns: Sequence[str]) -> pa.Schema:
    """Arrow types of ``columns``.

    Raises
    ------
    DataError
        A column is absent.
    """
    found = to_arrow_schema(frame.schema)
    lost = [name for name in columns if name not in found.names]
    if lost:
        raise DataError(f"the Spark frame lacks {lost}; it has {found.names}.")
    return pa.schema([found.field(name) for name in columns])


def with_column(
    frame: Any, columns: Sequence[str], fn: Callable[..., pa.Array], field: pa.Field
) -> Any:
    """``frame`` with one more lazy column: ``fn`` of the batches of ``columns``."""
    said = _Said(schema_of(frame, columns), fn)
    make = F.arrow_udf(said.__call__, from_arrow_type(field.type))
    return frame.withColumn(field.name, make(*map(quoted, columns)))


@dataclass(frozen=True, slots=True)
class _Said:
    schema: pa.Schema
    fn: Callable[[pa.RecordBatch], pa.Array]

    def __call__(self, *columns: pa.Array) -> pa.Array:
        names = self.schema.names
        batch = pa.RecordBatch.from_arrays(list(columns), names=names)
        return self.fn(Conform(self.schema)(batch))
