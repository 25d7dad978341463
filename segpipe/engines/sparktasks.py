"""What Spark's Python workers run: picklable functions from Arrow batches to Arrow batches."""

from __future__ import annotations

import functools
import itertools
import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from segpipe.engines.frames import Batches, Conform, Parts, Work, settle_memory
from segpipe.engines.sparkerrors import carried, packed, unpacked

STATES = pa.schema([("part", pa.int64()), ("state", pa.binary())])
BLOBS = pa.schema([("blob", pa.binary())])


@dataclass(frozen=True, slots=True)
class Open:
    """Part numbers to batches."""

    parts: Parts

    def __call__(self, numbers: Iterable[pa.RecordBatch]) -> Batches:
        """Batches of the parts whose numbers arrive."""
        for batch in numbers:
            for number in batch.column(0).to_pylist():
                yield from self.parts.open(self.parts.groups[number])


def unblob(cells: Iterable[pa.RecordBatch]) -> Batches:
    """The batches inside the blobs, without a copy."""
    for batch in cells:
        for cell in batch.column(0):
            with pa.ipc.open_stream(cell.as_buffer()) as stream:
                yield from stream


@dataclass(frozen=True, slots=True)
class Blobs:
    """Batches to Arrow streams, a row each."""

    def __call__(self, batches: Batches) -> Batches:
        """Batches of one binary column."""
        for batch in batches:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, batch.schema) as writer:
                writer.write_batch(batch)
            cells = pa.array([sink.getvalue().to_pybytes()], pa.binary())
            yield pa.RecordBatch.from_arrays([cells], schema=BLOBS)


@dataclass(frozen=True, slots=True)
class Columns:
    """Batches in types that Spark has."""

    schema: pa.Schema

    def __call__(self, batches: Batches) -> Batches:
        """Cast without loss."""
        yield from map(Conform(self.schema), batches)


@dataclass(frozen=True, slots=True)
class Fold:
    """A part's state as one row; an expected error is a value, so that Spark does not retry."""

    step: Callable[..., Any]
    beside: tuple[Any, ...] = ()
    """Per part, for ``step``."""

    def __call__(self, batches: Batches) -> Batches:
        """One batch of one row."""
        from pyspark import TaskContext

        context = TaskContext.get()
        part = context.partitionId() if context else 0
        given = (self.beside[part],) if self.beside else ()
        state = packed(self.step, batches, *given)
        yield pa.RecordBatch.from_arrays([pa.array([part]), pa.array([state])], schema=STATES)


@dataclass(frozen=True, slots=True)
class Merge:
    """One state for each run of equal part numbers; the first error of a run stands for it."""

    merge: Callable[[Any, Any], Any]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Batches:
        """States by (part, within), sorted, to one state a run."""
        cells = (
            (batch.column("part")[i].as_py(), batch.column("state")[i].as_py())
            for batch in batches
            for i in range(batch.num_rows)
        )
        with carried():
            for part, run in itertools.groupby(cells, key=operator.itemgetter(0)):
                state = packed(self._reduce, (blob for _, blob in run))
                yield pa.RecordBatch.from_arrays(
                    [pa.array([part]), pa.array([state])], schema=STATES
                )

    def _reduce(self, blobs: Iterable[bytes]) -> Any:
        return functools.reduce(self.merge, map(unpacked, blobs))


@dataclass(frozen=True, slots=True)
class Task:
    """What a Python worker does with a partition."""

    open: Callable[[Iterable[pa.RecordBatch]], Batches]
    work: Work
    out: Callable[[Batches], Batches]

    def __call__(self, batches: Iterable[pa.RecordBatch]) -> Batches:
        """One partition."""
        pa.set_cpu_count(1)  # as many tasks as cores run already
        settle_memory()
        with carried():
            yield from self.out(self.work(self.open(batches)))
