"""Verbs that mean the same on every engine: they say what is to be done, and ``fold`` does it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from segpipe.engines import frames
from segpipe.engines.frames import Batches, Frame, Parts, Work
from segpipe.values import BatchFn


class Deferred:
    """What an engine does not do itself."""

    def from_batches(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> Frame:
        """See ``Engine.from_batches``."""
        return frames.of_batches(batches, schema)

    def from_parts(
        self, groups: Sequence[Any], open: Callable[[Any], Iterable[Any]], schema: pa.Schema
    ) -> Frame:
        """See ``Engine.from_parts``."""
        return Frame(schema, Parts(tuple(groups), open))

    def alongside(
        self,
        frame: Frame,
        beside: Sequence[Any],
        fn: Callable[[Batches, Any], Batches],
        schema: pa.Schema,
    ) -> Frame:
        """See ``Engine.alongside``."""
        if not isinstance(frame.source, Parts):
            raise ValueError("only a frame of fixed parts has values beside them")
        pairs = tuple(zip(frame.source.groups, beside, strict=True))
        return Frame(schema, Parts(pairs, Beside(frame.source.open, frame.work, fn)))

    def map_batches(self, frame: Frame, fn: BatchFn, schema: pa.Schema) -> Frame:
        """See ``Engine.map_batches``."""
        return frame.then(fn, schema)

    def parts(self, frame: Frame) -> int:
        """See ``Engine.parts``: what a query brings cannot be opened again."""
        return len(frame.source.groups) if isinstance(frame.source, Parts) else 0


@dataclass(frozen=True, slots=True)
class Beside:
    """Opens a part together with the value that belongs to it."""

    open: Callable[[Any], Iterable[pa.RecordBatch]]
    work: Work
    fn: Callable[[Batches, Any], Batches]

    def __call__(self, pair: Sequence[Any]) -> Batches:
        """Batches of the part after ``fn``."""
        group, value = pair
        return self.fn(self.work(self.open(group)), value)
