"""Slices of time: their windows, and the way of the columns back to the rows they belong to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.engines.protocol import Scratch
from segpipe.features.records import RECORD, crowds_of, flows_of
from segpipe.features.windows import Moving, Room
from segpipe.kernels.crowds import Crowds
from segpipe.kernels.windows import Flows, recent

_TURNED = 512
PIECE_ROWS = 1 << 18
"""Rows written at once: 32 MB, which the next piece can use again."""
_ROW = pa.field("row", pa.int32())


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some rows of a run, in time order."""

    place: str
    number: int
    low: int
    high: int
    rows: int


@dataclass(frozen=True, slots=True)
class Stretch:
    """Slices of time that one task walks through; ``cuts[i] <= ts < cuts[i + 1]`` is a slice."""

    cuts: tuple[int, ...]
    chunks: tuple[tuple[int, Chunk], ...]
    """(part, chunk) of all rows from ``LOOKBACK`` before the first slice on, by time."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Columns of some rows of a part, by rising row number."""

    place: str
    number: int
    low: int
    high: int


def single(stretch: Stretch) -> Iterator[Any]:
    """A stretch as the only thing in its part: tasks are handed values, not rows."""
    yield stretch


@dataclass(frozen=True, slots=True)
class Slices:
    """Fold step: computes the windows of a stretch's rows."""

    scratch: Scratch
    moving: Moving
    crowds: str
    """Where the tables of the whole frame lie."""

    def __call__(self, stretches: Iterator[Any]) -> list[tuple[int, Piece]]:
        """(part, piece) of everything that was written."""
        mine = list(stretches)
        if not mine:
            return []
        crowds = crowds_of(self.scratch.load(self.crowds))
        return [found for stretch in mine for found in self._walk(stretch, crowds)]

    def _walk(self, stretch: Stretch, crowds: Crowds) -> list[tuple[int, Piece]]:
        told: list[tuple[int, int, int]] = []
        schema = pa.schema([_ROW, *(pa.field(n, pa.float32()) for n in self.moving.names)])

        def written() -> Iterator[pa.RecordBatch]:
            past, room = _none(), Room()
            for start, stop, part, row, flows in _sliced(stretch, self.scratch):
                merged = past.plus(flows)
                if start is not None:
                    for number, arrays in self._columns(merged, start, part, row, crowds, room):
                        rows = arrays[0].to_numpy()
                        told.append((number, int(rows[0]), int(rows[-1])))
                        yield pa.RecordBatch.from_arrays(arrays, schema=schema)
                past = recent(merged, stop)

        place = self.scratch.store(written(), schema)
        return [
            (part, Piece(place, number, low, high)) for number, (part, low, high) in enumerate(told)
        ]

    def _columns(
        self,
        flows: Flows,
        start: int,
        part: npt.NDArray[np.int32],
        row: npt.NDArray[np.int32],
        crowds: Crowds,
        room: Room,
    ) -> Iterator[tuple[int, list[Any]]]:
        """The new rows' columns, part by part."""
        later = (part[1:] > part[:-1]) | ((part[1:] == part[:-1]) & (row[1:] > row[:-1]))
        by = np.arange(len(row)) if later.all() else np.lexsort((row, part))
        at = np.full(len(flows.ts), -1, np.int64)
        at[len(at) - len(by) + by] = np.arange(len(by))
        moving, resting = self.moving(flows, start, at, crowds, room)
        part, row = part[by], row[by]
        ends = np.append(np.flatnonzero(np.diff(part, prepend=-1)), len(part)).tolist()
        for start_of, end in pairwise(ends):
            for low in range(start_of, end, PIECE_ROWS):
                high = min(low + PIECE_ROWS, end)
                columns = (*turned(moving[low:high]), *resting[:, low:high])
                yield int(part[low]), [pa.array(row[low:high]), *map(_nullable, columns)]


def _nullable(column: npt.NDArray[np.float32]) -> pa.Array:
    # The sum of numbers is a number, whatever its size: looking at it costs a tenth of a search.
    with np.errstate(over="ignore", invalid="ignore"):
        holes = bool(np.isnan(column.sum()))
    return pa.array(column, from_pandas=holes)


def turned(rows: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """(columns, rows), contiguous; block by block, since a long stride misses every cache."""
    columns = np.empty(rows.shape[::-1], np.float32)
    for start in range(0, len(rows), _TURNED):
        columns[:, start : start + _TURNED] = rows[start : start + _TURNED].T
    return columns


def _none() -> Flows:
    return flows_of(pa.RecordBatch.from_pylist([], schema=RECORD))


def _sliced(stretch: Stretch, scratch: Scratch) -> Iterator[Any]:
    """(start or None for mere history, stop, part, row, flows) of each slice in turn."""
    cuts = stretch.cuts
    todo, held = list(stretch.chunks)[::-1], list[tuple[int, pa.RecordBatch]]()
    bounds = [(None, cuts[0]), *pairwise(cuts)]
    for start, stop in bounds:
        while todo and todo[-1][1].low < stop:
            part, chunk = todo.pop()
            held.append((part, scratch.load_one(chunk.place, chunk.number)))
        mine, later = [], []
        for part, batch in held:
            ts = batch.column("ts").to_numpy()
            end = int(np.searchsorted(ts, stop))
            if end:
                mine.append((part, batch.slice(0, end)))
            if end < len(ts):
                later.append((part, batch.slice(end)))
        held = later
        if mine:
            whole = pa.concat_batches([batch for _, batch in mine])
            sizes = [batch.num_rows for _, batch in mine]
            parts = np.repeat(np.array([number for number, _ in mine], np.int32), sizes)
            yield start, stop, parts, whole.column("row").to_numpy(), flows_of(whole)


@dataclass(frozen=True, slots=True)
class Beside:
    """A part's batches with the columns of its pieces added."""

    scratch: Scratch
    schema: pa.Schema
    columns: int

    def __call__(
        self, batches: Iterator[pa.RecordBatch], pieces: tuple[Piece, ...]
    ) -> Iterator[pa.RecordBatch]:
        """Row by row; of the pieces only those are held that reach into the batch."""
        todo, held, first = list(pieces)[::-1], list[_Held](), 0
        for batch in batches:
            last = first + batch.num_rows
            while todo and todo[-1].low < last:
                held.append(_Held.of(self.scratch.load_one(todo[-1].place, todo.pop().number)))
            more = next((m for piece in held if (m := piece.cut(first, last))), None)
            if more is None:
                out = np.full((self.columns, batch.num_rows), np.nan, np.float32)
                for piece in held:
                    piece.fill(out, first, last)
                more = [_nullable(column) for column in out]
            held = [piece for piece in held if piece.row[-1] >= last]
            yield pa.RecordBatch.from_arrays([*batch.columns, *more], schema=self.schema)
            first = last


@dataclass(frozen=True, slots=True)
class _Held:
    row: npt.NDArray[np.int32]
    columns: list[pa.Array]

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> _Held:
        return cls(batch.column(0).to_numpy(), batch.columns[1:])

    def cut(self, first: int, last: int) -> list[pa.Array] | None:
        """Rows ``first`` .. ``last`` of the part without a copy, if they are all here."""
        a, b = np.searchsorted(self.row, (first, last))
        if b - a < last - first or a == b:
            return None
        return [column.slice(a, b - a) for column in self.columns]

    def fill(self, out: npt.NDArray[np.float32], first: int, last: int) -> None:
        """Rows ``first`` .. ``last`` of the part."""
        a, b = np.searchsorted(self.row, (first, last))
        if a == b:
            return
        rows = self.row[a:b] - first
        if rows[-1] - rows[0] == b - a - 1:  # without holes, the usual case
            for to, column in zip(out, self.columns, strict=True):
                to[rows[0] : rows[-1] + 1] = _floats(column, a, b)
        else:
            for to, column in zip(out, self.columns, strict=True):
                to[rows] = _floats(column, a, b)


def _floats(column: pa.Array, first: int, last: int) -> npt.NDArray[np.float32]:
    cells: npt.NDArray[np.float32] = column.slice(first, last - first).to_numpy(
        zero_copy_only=False
    )
    return cells
