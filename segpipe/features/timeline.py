"""Windows over all rows of a frame: out to slices of time, and back beside the rows.

    part  -> run     each part's connections, a few integers a row, sorted by time on disk
    runs  -> slices  a task walks through a stretch of time and carries an hour of history along
    slices -> part   the columns return to the rows by part and row number; the rows never moved

Time is what a heavy source can be cut along: a slice holds so many rows whoever sent them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame, Scratch
from segpipe.features.records import CROWDS, RECORD, Recorder, crowds_stored
from segpipe.features.slices import Beside, Chunk, Piece, Slices, Stretch, single
from segpipe.features.windows import Moving
from segpipe.kernels.crowds import Crowds
from segpipe.kernels.windows import BURST, LOOKBACK

RUN_ROWS = 1 << 20
"""Rows that are sorted at once."""
CHUNKS, CHUNK_ROWS = 32, 32_768
"""Pieces of a run and their largest size; a slice reads at most this many too many of each run."""
SLICE_ROWS = 500_000
"""Rows of a slice, unless its history holds more: then as many as that."""
LARGEST_SLICE = 1_500_000
"""But for this: a task's memory is some 200 bytes for each row of a slice and its history."""
SMALL_SLICE = 50_000
"""Rows below which a table is not cut further for the sake of more tasks."""


def windowed(
    engine: Engine,
    frame: Frame,
    schema: pa.Schema,
    moving: Moving,
    scratch: Scratch,
) -> tuple[Frame, pa.Schema]:
    """``frame`` with a float32 column for each measure; null where a row has no time or key.

    Parameters
    ----------
    schema : of the frame; has ts (int64 microseconds), and src or dst
    moving : what is computed of each row
    scratch : where the runs lie; every worker reaches it
    """
    if not engine.parts(frame):
        stored = engine.fold(frame, Store(scratch, schema), list.__add__)
        frame = engine.from_parts(tuple(stored), Opened(scratch), schema)
    sorted_rows: Sorted = engine.fold(frame, Runs(scratch), both)
    stretches = stretched(sorted_rows.runs, engine.workers())
    crowds = scratch.store(crowds_stored(sorted_rows.crowds), CROWDS)
    held = engine.from_parts(stretches, single, pa.schema([]))
    step = Slices(scratch, moving, crowds)
    found: list[tuple[int, Piece]] = engine.fold(held, step, list.__add__)
    pieces: list[list[Piece]] = [[] for _ in range(engine.parts(frame))]
    for part, piece in found:
        pieces[part].append(piece)
    by_row = [tuple(sorted(p, key=lambda piece: (piece.low, piece.high))) for p in pieces]
    result = pa.schema([*schema, *(pa.field(name, pa.float32()) for name in moving.names)])
    return engine.alongside(
        frame, by_row, Beside(scratch, result, len(moving.names)), result
    ), result


@dataclass(frozen=True, slots=True)
class Store:
    """Fold step: a part's rows to a file."""

    scratch: Scratch
    schema: pa.Schema

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> list[str]:
        """Its place."""
        return [self.scratch.store(batches, self.schema)]


@dataclass(frozen=True, slots=True)
class Opened:
    """A stored part's rows."""

    scratch: Scratch

    def __call__(self, place: str) -> Iterator[pa.RecordBatch]:
        """All of them."""
        return self.scratch.load(place)


@dataclass(frozen=True, slots=True)
class Sorted:
    """What the first pass leaves: the runs of each part, and how many rows each key has."""

    runs: list[tuple[Chunk, ...]]
    crowds: Crowds


def both(a: Sorted, b: Sorted) -> Sorted:
    """Of the parts of both, in order."""
    return Sorted(a.runs + b.runs, a.crowds.plus(b.crowds))


@dataclass(frozen=True, slots=True)
class Runs:
    """Fold step: a part's connections, sorted by time, to a file."""

    scratch: Scratch

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> Sorted:
        """What was written of one part."""
        found: list[tuple[int, int, int]] = []
        crowds = [Crowds.none()]

        def sorted_runs() -> Iterator[pa.RecordBatch]:
            recorder, waiting, rows = Recorder(), list[pa.RecordBatch](), 0
            for batch in batches:
                waiting.append(recorder(batch))
                rows += waiting[-1].num_rows
                if rows >= RUN_ROWS:
                    yield from _cut(waiting, found, crowds)
                    waiting, rows = [], 0
            if rows:
                yield from _cut(waiting, found, crowds)

        place = self.scratch.store(sorted_runs(), RECORD)
        run = tuple(Chunk(place, i, *facts) for i, facts in enumerate(found))
        return Sorted([run], crowds[0])


def _cut(
    batches: list[pa.RecordBatch], found: list[tuple[int, int, int]], crowds: list[Crowds]
) -> Iterator[pa.RecordBatch]:
    whole = pa.concat_batches(batches)
    src, dst, failed = (whole.column(name).to_numpy() for name in ("src", "dst", "failed"))
    crowds[0] = crowds[0].plus(Crowds.of(src, dst, failed))
    ts = whole.column("ts").to_numpy()
    if (ts[1:] < ts[:-1]).any():
        whole = whole.take(pa.array(np.argsort(ts, kind="stable")))
    size = min(-(-whole.num_rows // CHUNKS), CHUNK_ROWS)
    for start in range(0, whole.num_rows, size):
        chunk = whole.slice(start, size)
        ts = chunk.column("ts").to_numpy()
        found.append((int(ts[0]), int(ts[-1]), len(ts)))
        yield chunk


def stretched(runs: Sequence[Sequence[Chunk]], workers: int) -> tuple[Stretch, ...]:
    """The time of all runs, cut into tasks of about equally many rows."""
    chunks = [(part, chunk) for part, run in enumerate(runs) for chunk in run]
    if not chunks:
        return ()
    chunks.sort(key=lambda held: (held[1].low, held[1].high, held[0], held[1].number))
    low = np.array([chunk.low for _, chunk in chunks])
    high = np.array([chunk.high for _, chunk in chunks])
    before = np.cumsum([chunk.rows for _, chunk in chunks])
    total = int(before[-1])
    # A slice sorts its hour of history anew: it should hold as many rows itself.
    ago = np.searchsorted(low, low - LOOKBACK)
    crowd = int((before - np.append(0, before)[ago]).max())
    slices = max(1, round(total / min(max(SLICE_ROWS, crowd), LARGEST_SLICE)))
    slices = max(slices, min(2 * workers, total // SMALL_SLICE))
    inner = low[np.searchsorted(before, np.arange(1, slices) * total // slices)]
    # Between bursts, so that none of them is cut.
    cuts = np.unique(np.concatenate([[low[0]], inner, [high.max() + BURST]]) // BURST * BURST)
    tasks = min(len(cuts) - 1, 4 * workers)
    ends = np.arange(tasks + 1) * (len(cuts) - 1) // tasks
    result = []
    for i in range(tasks):
        mine = cuts[ends[i] : ends[i + 1] + 1]
        read = np.flatnonzero((low < mine[-1]) & (high > mine[0] - LOOKBACK))
        result.append(Stretch(tuple(int(t) for t in mine), tuple(chunks[j] for j in read)))
    return tuple(result)
