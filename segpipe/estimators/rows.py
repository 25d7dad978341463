"""What the caller hands in, as rows that the fits can fold: arrays, tables, Dask, Spark.

Every kind of table becomes the same typed Arrow batches, so equal rows give equal models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.engines.frames import BATCH_ROWS, Frame, of_batches
from segpipe.engines.protocol import Engine
from segpipe.estimators.problems import DataValueError, ParameterError
from segpipe.light import with_pandas
from segpipe.values import Floats

LAZY = ("dask", "spark")
WEIGHT = "segpipe_weight"
"""The column of ``sample_weight`` among the rows of a fit."""
PARTS = 64
"""A table in memory is folded in so many parts at most."""


def kind_of(x: Any) -> str:
    """One of spark, dask, table (in memory, with named columns), array."""
    module, name = type(x).__module__, type(x).__name__
    root = module.partition(".")[0]
    if root == "pyspark" and name == "DataFrame":
        return "spark"
    if root in ("dask", "dask_expr"):
        if name == "DataFrame":
            return "dask"
        raise ParameterError(
            f"a Dask {name} was given; estimators take Dask DataFrames.",
            "make one with dask.dataframe.from_dask_array or to_frame",
        )
    frame = name in ("DataFrame", "LazyFrame", "Table", "RecordBatch", "RecordBatchReader")
    if root in ("pandas", "polars", "pyarrow") and frame:
        return "table"
    # Any other library's table (DuckDB, cuDF, ibis ...) by Arrow's own protocol.
    stream = hasattr(x, "__arrow_c_stream__") and root not in ("numpy", "pandas", "polars")
    return "table" if stream else "array"


def table_of(x: Any) -> pa.Table:
    """A table in memory as Arrow; its rows in their order, without an index."""
    root, name = type(x).__module__.partition(".")[0], type(x).__name__
    try:
        if root == "pandas":
            with_pandas()
            # Numbers as names are told by position, like the columns of an array.
            renamed = x.set_axis([f"x{i}" if not isinstance(c, str) else c
                                  for i, c in enumerate(x.columns)], axis=1)  # fmt: skip
            return pa.Table.from_pandas(renamed, preserve_index=False).replace_schema_metadata()
        if root == "polars":
            return (x.collect() if name == "LazyFrame" else x).to_arrow()
        if name == "RecordBatch":
            return pa.Table.from_batches([x])
        if name == "RecordBatchReader":
            return x.read_all()
        return x if isinstance(x, pa.Table) else pa.table(x)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise DataValueError(
            f"the table cannot be read as Arrow: {error}.", "give each column one type"
        ) from error


def header(x: Any, kind: str) -> Any:
    """An empty table with the names of ``x``, which scikit-learn's checks of names understand."""
    if kind == "spark":
        return spark_schema(x).empty_table()
    if kind == "dask":
        return x._meta
    return x.iloc[:0] if is_pandas(x) else x.slice(0, 0)


def is_pandas(x: Any) -> bool:
    """Whether it is pandas, whose columns may have names that are no text."""
    return type(x).__module__.startswith("pandas.")


def settled(x: Any, kind: str) -> Any:
    """Tables in memory as Arrow, read once; pandas, arrays and lazy frames as they are."""
    return table_of(x) if kind == "table" and not is_pandas(x) else x


def spark_schema(x: Any) -> pa.Schema:
    """The Arrow types of a Spark DataFrame."""
    from pyspark.sql.pandas.types import to_arrow_schema

    found: pa.Schema = to_arrow_schema(x.schema)
    return found


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of the chosen columns, and who folds them."""

    engine: Engine
    frame: Frame
    count: int | None
    """None where counting would take a pass."""
    table: pa.Table | None
    """The rows themselves where they are in memory."""

    @property
    def schema(self) -> pa.Schema:
        """Columns under their internal names, and the weight where there is one."""
        return self.frame.schema


@contextlib.contextmanager
def opened(x: Any, kind: str, names: Sequence[str], weight: Any) -> Iterator[Rows]:
    """``x`` ready to be folded; ``names``: of its columns in order, those of a lazy frame by name.

    Parameters
    ----------
    weight : (n,) sample weights of a table in memory, the name of a column, or None
    """
    if kind == "spark":
        from segpipe.engines.sparkframe import adopted

        engine, frame = adopted(x, [*names, *([weight] if weight else [])])
        yield Rows(engine, _weighed(frame, weight), None, None)
        return
    if kind == "dask":
        from segpipe.engines.daskframe import adopted as taken

        engine, frame = taken(x, [*names, *([weight] if weight else [])])
        yield Rows(engine, _weighed(frame, weight), None, None)
        return
    from segpipe.engines.local import LocalEngine

    table: pa.Table = x
    with LocalEngine() as local:
        batches = split(table, PARTS)
        yield Rows(local, of_batches(batches, table.schema), table.num_rows, table)


def _weighed(frame: Frame, weight: str | None) -> Frame:
    if weight is None:
        return frame
    names = [WEIGHT if n == weight else n for n in frame.schema.names]
    schema = pa.schema([f.with_name(n) for f, n in zip(frame.schema, names, strict=True)])
    return frame.then(Weighed(schema), schema)


@dataclass(frozen=True, slots=True)
class Weighed:
    """Rows that weigh something, the weight under our name."""

    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Rows of weight 0 are left out, as if they were not there."""
        named = pa.RecordBatch.from_arrays(batch.columns, schema=self.schema)
        light = pc.equal(named.column(WEIGHT), 0)
        return named.filter(pc.invert(pc.fill_null(light, False)))


def split(table: pa.Table, parts: int) -> list[pa.RecordBatch]:
    """The table in at most ``parts`` batches of whole reading units; none for no rows."""
    units = -(-table.num_rows // BATCH_ROWS)
    size = -(-units // parts) * BATCH_ROWS if units else 1
    found = table.combine_chunks()
    return [
        pa.Table.combine_chunks(found.slice(start, size)).to_batches()[0]
        for start in range(0, table.num_rows, size)
    ]


def named(array: np.ndarray[Any, Any], names: Sequence[str]) -> pa.Table:
    """(n, d) numbers as a table."""
    return pa.table([pa.array(np.ascontiguousarray(c)) for c in array.T], names=list(names))


def with_weight(table: pa.Table, weight: Floats | None) -> pa.Table:
    """The table with its weights; rows of weight 0 are left out, as if they were not there."""
    if weight is None:
        return table
    kept = weight > 0
    if not kept.any():
        raise DataValueError("sample_weight is 0 for every row.", "give one row a weight")
    found = table.append_column(WEIGHT, pa.array(weight))
    return found if kept.all() else found.filter(pa.array(kept))
