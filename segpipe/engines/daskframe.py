"""The caller's own Dask DataFrame, folded on whatever scheduler the caller uses.

Unlike ``engines.dask`` nothing is opened or closed: threads, processes or a cluster, as Dask is set
up. Estimators need no more than ``fold``.
"""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cloudpickle
import dask
import pandas as pd
import pyarrow as pa

from segpipe.engines import frames
from segpipe.engines.frames import Batches, Conform, Frame, Work
from segpipe.errors import DataError
from segpipe.light import with_pandas

State = TypeVar("State")


class DaskFrames:
    """Folds partitions of Dask DataFrames that somebody else made."""

    name = "dask"

    def fold(
        self,
        frame: Frame,
        step: Callable[..., State],
        merge: Callable[[State, State], State],
        beside: Sequence[Any] = (),
    ) -> State:
        """See ``Engine.fold``; ``beside`` is not offered."""
        if beside:
            raise TypeError("a caller's Dask frame keeps nothing beside its partitions")
        job = dask.delayed(cloudpickle.dumps((frame.work, step)), pure=True, traverse=False)
        run, reduce = dask.delayed(_run, pure=False), dask.delayed(_reduce, pure=False)
        states = [run(part, job) for part in frame.source.to_delayed()]
        how = dask.delayed(cloudpickle.dumps(merge), pure=True, traverse=False)
        while len(states) > frames.FAN_IN:
            size = frames.FAN_IN
            states = [reduce(how, states[i : i + size]) for i in range(0, len(states), size)]
        found: Sequence[State] = dask.compute(*states)
        return functools.reduce(merge, found)


def adopted(frame: Any, columns: Sequence[str]) -> tuple[Any, Frame]:
    """An engine and the frame's ``columns``.

    Raises
    ------
    DataError
        A column is absent.
    """
    schema = schema_of(frame, columns)
    return DaskFrames(), Frame(schema, frame[list(columns)], Work((), (Conform(schema),)))


def schema_of(frame: Any, columns: Sequence[str]) -> pa.Schema:
    """Arrow types of ``columns``; object columns are text, as in Dask itself.

    Raises
    ------
    DataError
        A column is absent.
    """
    lost = [name for name in columns if name not in frame.columns]
    if lost:
        raise DataError(f"the Dask frame lacks {lost}; it has {list(frame.columns)}.")
    with_pandas()
    found = pa.Schema.from_pandas(frame._meta[list(columns)], preserve_index=False)
    return pa.schema(
        [pa.field(f.name, pa.string() if pa.types.is_null(f.type) else f.type) for f in found]
    )


def series(frame: Any, columns: Sequence[str], fn: Callable[..., pa.Array], field: pa.Field) -> Any:
    """A lazy Series of ``fn`` of each partition's columns; partitions and index stay."""
    picked = frame[list(columns)]
    blob = cloudpickle.dumps((schema_of(frame, columns), fn))
    meta = pd.Series([], dtype=_dtype(field.type), name=field.name, index=picked._meta.index[:0])
    return picked.map_partitions(_Said(blob, field.name), meta=meta)


@dataclass(frozen=True)
class _Said:
    blob: bytes
    name: str

    def __call__(self, part: pd.DataFrame) -> pd.Series:
        schema, fn = pickle.loads(self.blob)
        batches = map(Conform(schema), _batches(part))
        made = pa.concat_arrays([fn(batch) for batch in batches])
        dtype = _dtype(made.type)
        values = (
            pd.array(made, dtype=dtype)
            if isinstance(dtype, pd.ArrowDtype)
            else made.to_numpy(zero_copy_only=False)
        )
        return pd.Series(values, index=part.index, name=self.name)


def _dtype(kind: pa.DataType) -> Any:
    if pa.types.is_nested(kind) or pa.types.is_string(kind):
        return pd.ArrowDtype(kind)
    return kind.to_pandas_dtype()


def _batches(part: pd.DataFrame) -> Batches:
    table = pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata()
    found: list[pa.RecordBatch] = table.combine_chunks().to_batches(max_chunksize=frames.BATCH_ROWS)
    yield from found or [pa.RecordBatch.from_pylist([], schema=table.schema)]


def _run(part: pd.DataFrame, blob: bytes) -> Any:
    work, step = pickle.loads(blob)
    return step(work(_batches(part)))


def _reduce(blob: bytes, states: Iterable[Any]) -> Any:
    return functools.reduce(pickle.loads(blob), states)
