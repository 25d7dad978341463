"""What a fitted model says of rows, column by column, on any kind of table."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe import schema
from segpipe.engines.frames import BATCH_ROWS, cores
from segpipe.errors import DataError
from segpipe.estimators.rows import split
from segpipe.lake.binding import compile_contract
from segpipe.lake.contract import Contract
from segpipe.models.fitted import Fitted
from segpipe.scoring.reasons import reasons
from segpipe.values import Block, Column

PREDICTION = "prediction"
"""scikit-learn's +1 for usual rows and -1 for outliers."""

Say = Callable[[Fitted, pa.RecordBatch, Block], Any]


def _score(fitted: Fitted, _: pa.RecordBatch, x: Block) -> Any:
    assert fitted.detector is not None
    return fitted.detector.score(x)


def _flag(fitted: Fitted, batch: pa.RecordBatch, x: Block) -> Any:
    assert fitted.calibration is not None
    return fitted.calibration.flag(_score(fitted, batch, x))


def _rank(which: int, fitted: Fitted, batch: pa.RecordBatch, x: Block) -> Any:
    assert fitted.calibration is not None
    return fitted.calibration.ranks(_score(fitted, batch, x))[which]


def _reasons(every: bool, fitted: Fitted, batch: pa.RecordBatch, x: Block) -> Any:
    assert fitted.detector is not None
    asked = np.ones(x.shape[1], bool) if every else _flag(fitted, batch, x)
    return reasons(batch, asked, fitted.scaler, fitted.model, fitted.detector)


def _signed(fitted: Fitted, batch: pa.RecordBatch, x: Block) -> Any:
    return np.where(_flag(fitted, batch, x), np.int32(-1), np.int32(1))


SAYS: Mapping[str, tuple[pa.DataType, Say]] = {
    schema.SEGMENT_ID: (pa.int32(), lambda f, _, x: f.model.label(x).segment),
    schema.CONFIDENCE: (pa.float64(), lambda f, _, x: f.model.label(x).confidence),
    schema.DISTANCE: (pa.float64(), lambda f, _, x: f.model.label(x).distance),
    schema.SCORE: (pa.float64(), _score),
    schema.QUANTILE: (pa.float64(), partial(_rank, 0)),
    schema.P: (pa.float64(), partial(_rank, 1)),
    schema.FLAG: (pa.bool_(), _flag),
    schema.REASONS: (schema.REASON_TYPE, partial(_reasons, False)),
    PREDICTION: (pa.int32(), _signed),
}
"""The columns of the label table, and scikit-learn's prediction."""


def contract_of(found: pa.Schema, fitted: Fitted) -> Contract:
    """How rows of these types become the fitted columns.

    Raises
    ------
    DataError
        A column is absent or of a type that cannot be read as what was fitted.
    """
    wanted = [Column(name, "number", required=True) for name in fitted.numeric]
    for name in fitted.categorical:
        text = name in found.names and _is_text(found.field(name).type)
        wanted.append(Column(name, "text" if text else "any", required=True))
    return compile_contract(found, wanted, {})


def _is_text(kind: pa.DataType) -> bool:
    inner = kind.value_type if pa.types.is_dictionary(kind) else kind
    types = pa.types
    return bool(
        types.is_string(inner) or types.is_large_string(inner) or types.is_string_view(inner)
    )


@dataclass(frozen=True, slots=True)
class Whole:
    """The contract's typing without its sorting out: every row must be good."""

    contract: Contract

    def __call__(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        """Typed rows, as many as came; DataError otherwise."""
        found = self.contract.accept(batch)
        if found.num_rows < batch.num_rows:  # only a weight can be unfit: numbers may be missing
            raise DataError(
                f"{batch.num_rows - found.num_rows} row(s) have a sample_weight that is negative, "
                "missing or no number.",
                "every row needs a weight from 0 on",
            )
        return found


@dataclass(frozen=True, slots=True)
class Saying:
    """One column of what is said of a batch; picklable."""

    typed: Whole
    fitted: Fitted
    name: str

    def __call__(self, batch: pa.RecordBatch) -> pa.Array:
        """(n,) of the type in ``SAYS``."""
        kind, say = SAYS[self.name]
        rows = self.typed(batch)
        said = say(self.fitted, rows, self.fitted.scaler.transform(rows))
        return said if isinstance(said, pa.Array) else pa.array(said, kind)


def say_table(table: pa.Table, fitted: Fitted, name: str) -> pa.Array:
    """Of a table in memory; threads where it is long."""
    saying = Saying(Whole(contract_of(table.schema, fitted)), fitted, name)
    return pa.concat_arrays(each_batch(table, saying)) if table.num_rows else saying(_empty(table))


def each_batch(table: pa.Table, fn: Callable[[pa.RecordBatch], Any]) -> list[Any]:
    """``fn`` of the table's batches, in order."""
    batches = split(table, -(-table.num_rows // BATCH_ROWS))
    if len(batches) < 2:
        return [fn(batch) for batch in batches]
    with ThreadPoolExecutor(min(cores(), len(batches))) as pool:
        return list(pool.map(fn, batches))


def _empty(table: pa.Table) -> pa.RecordBatch:
    return pa.RecordBatch.from_pylist([], schema=table.schema)


def say_lazily(x: Any, kind: str, fitted: Fitted, columns: tuple[str, ...], name: str) -> Any:
    """Of a Dask frame a Series, of a Spark frame the frame with one more column; nothing runs."""
    field = pa.field(name, SAYS[name][0])
    if kind == "dask":
        from segpipe.engines import daskframe

        found = daskframe.schema_of(x, columns)
        saying = Saying(Whole(contract_of(found, fitted)), fitted, name)
        return daskframe.series(x, columns, saying, field)
    from segpipe.engines import sparkframe

    found = sparkframe.schema_of(x, columns)
    saying = Saying(Whole(contract_of(found, fitted)), fitted, name)
    return sparkframe.with_column(x, columns, saying, field)


def all_reasons(table: pa.Table, fitted: Fitted, flagged_only: bool) -> list[Any]:
    """Per row its reasons; None for rows that are not flagged, unless all are asked for."""
    typed = Whole(contract_of(table.schema, fitted))

    def one(batch: pa.RecordBatch) -> list[Any]:
        rows = typed(batch)
        x = fitted.scaler.transform(rows)
        return list(_reasons(not flagged_only, fitted, rows, x).to_pylist())

    return [row for part in each_batch(table, one) for row in part]


def params_of(fitted: Fitted) -> dict[str, Any]:
    """What ``Fitted.feature_params`` tells."""
    found: dict[str, Any] = json.loads(fitted.feature_params)
    return found
