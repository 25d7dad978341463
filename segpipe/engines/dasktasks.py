"""What Dask's workers run: picklable functions from parts to states, tables and pandas frames."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cloudpickle
import distributed
import pandas as pd
import pyarrow as pa

from segpipe.engines import frames
from segpipe.engines.frames import Batches, Conform, Work


@dataclass(frozen=True, slots=True)
class Native:
    """A dask.dataframe and what turns a partition of it into batches."""

    frame: Any
    open: Callable[[pd.DataFrame], Batches]


@dataclass(frozen=True, slots=True)
class Job:
    """How a part is opened, what is done to its batches, and what they are folded to."""

    open: Callable[[Any], Any]
    work: Work
    step: Callable[..., Any]


def packed(group: Any) -> Any:
    """Bytes, so that Dask does not look for tasks inside thousands of fragments."""
    if isinstance(group, tuple) and group and isinstance(group[0], distributed.Future):
        return [group[0], pickle.dumps(group[1])]  # a list, in which Dask finds the future
    return group if isinstance(group, distributed.Future) else pickle.dumps(group)


def run(group: Any, job: Job, beside: Sequence[bytes] = ()) -> Any:
    """A part, in a worker."""
    pa.set_cpu_count(1)
    frames.settle_memory()
    if isinstance(group, list):
        opened: Any = (group[0], pickle.loads(group[1]))
    else:
        opened = pickle.loads(group) if isinstance(group, bytes) else group
    return job.step(job.work(job.open(opened)), *map(pickle.loads, beside))


def reduced(blob: bytes, states: list[Any]) -> Any:
    """One state of several, in order; ``blob``: the pickled merge."""
    return functools.reduce(cloudpickle.loads(blob), states)


@dataclass(frozen=True, slots=True)
class Keep:
    """A part as one Arrow table, whose size Dask knows and can spill."""

    schema: pa.Schema

    def __call__(self, batches: Batches) -> pa.Table:
        """All batches of the part."""
        return pa.Table.from_batches(list(batches), self.schema)


def of_table(table: pa.Table) -> Iterator[pa.RecordBatch]:
    """The rows in batches of the usual size."""
    yield from table.to_batches(max_chunksize=frames.BATCH_ROWS)


@dataclass(frozen=True, slots=True)
class Pandas:
    """A part as a pandas frame of Arrow types."""

    schema: pa.Schema

    def __call__(self, batches: Batches) -> pd.DataFrame:
        """All batches of the part."""
        return as_pandas(pa.Table.from_batches(list(batches), self.schema))


def as_pandas(table: pa.Table) -> pd.DataFrame:
    """The same rows, dictionaries decoded: dask.dataframe compares their codes otherwise."""
    decoded = pa.table(
        [frames.cast(c.combine_chunks(), _decoded(c.type)) for c in table.columns],
        names=table.column_names,
    )
    frame: pd.DataFrame = decoded.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def from_pandas(part: pd.DataFrame) -> Batches:
    """The rows of a partition in batches."""
    yield from of_table(as_arrow(part))


def as_arrow(part: pd.DataFrame) -> pa.Table:
    """The rows of a partition, without its index."""
    return pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata(None)


@dataclass(frozen=True, slots=True)
class Ordered:
    """A shuffled partition, sorted: it holds whole key groups."""

    names: tuple[str, ...]
    schema: pa.Schema

    def __call__(self, part: pd.DataFrame) -> Batches:
        """Rows by ``names``, nulls first."""
        conform = Conform(self.schema)
        yield from map(conform, of_table(frames.sort_nulls_first(as_arrow(part), self.names)))
