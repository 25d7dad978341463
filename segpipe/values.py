"""Small frozen values that the stages hand to one another; no behaviour, no engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

Floats = npt.NDArray[np.float64]
Block = npt.NDArray[np.float32]
"""Scaled features, **feature-major** (features, rows), C-contiguous; every value finite, within
+-10 and a multiple of 2^-20, so that linear float64 sums over rows are exact in any order."""
Ints = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Fragment:
    """One unit of reading: a file, or some row groups of it."""

    path: str
    rows: int | None = None
    row_groups: tuple[int, ...] | None = None
    partition: tuple[tuple[str, str | None], ...] = ()
    offset: int = 0
    """Number of the first row within the file."""
    span: tuple[int, int, int] | None = None
    """Of a text file that is read in pieces: where its header starts, first byte, end."""


@dataclass(frozen=True, slots=True)
class Table:
    """A source table as found: its files are listed once, so every pass reads the same snapshot."""

    uri: str
    format: str
    schema: pa.Schema
    fragments: tuple[Fragment, ...]
    snapshot: str
    """Digest of the file list or the table version: equal snapshots hold equal rows."""
    options: Mapping[str, Any] = field(default_factory=dict)
    filters: tuple[str, ...] = ()
    """Expressions (``lake.expr``) that every row read fulfils: ``where`` and ``--partition``."""


@dataclass(frozen=True, slots=True)
class Column:
    """What a feature set asks of one input column."""

    name: str
    """Our name; ``Contract`` finds the source's own through the mapping."""
    kind: str
    """key | time (int64 microseconds UTC) | money (int64 micro-units) | number | text | any."""
    required: bool = False
    nulls: str = "keep"
    """keep, or the reason code that a null is rejected with."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """A file that a task wrote and nobody can see yet."""

    path: str
    """Relative to the table's root, with '/' and hive folders."""
    rows: int
    bytes: int
    partition: tuple[tuple[str, str | None], ...] = ()
    stats: str = "{}"
    """Delta statistics, JSON: numRecords, minValues, maxValues, nullCount."""


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows drawn by ``hash(seed, key)``, in hash order: equal on every engine and partitioning."""

    batch: pa.RecordBatch
    """Feature columns, raw: float64 (NaN = missing) and text categories."""
    weight: Floats
    """Table rows that each sampled row stands for; sums to ``rows`` of the table."""
    count: Floats
    """Identical table rows that were collapsed into each sampled row (1 for keyed tables)."""


@dataclass(frozen=True, slots=True)
class Weighing:
    """The users' weights as passes over all rows take them: scaled to about 1 a row."""

    column: str
    scale: float = 1.0
    """A power of two: sums are exact for weights on a 2^-24 grid that stay below 5e8 in all."""
    largest: float = np.inf
    """The table's largest weight, in the users' unit: what sums of weighted columns go by."""

    def of(self, batch: pa.RecordBatch) -> Floats:
        """(n,) scaled weights of a batch's rows."""
        column = batch.column(self.column).to_numpy(zero_copy_only=False)
        return np.asarray(column, np.float64) * self.scale


@dataclass(frozen=True, slots=True)
class Labels:
    """What a segment model says of a block of rows."""

    segment: Ints
    confidence: Floats
    distance: Floats


class SegmentModel(Protocol):
    """A fitted model: frozen arrays and pure functions; row i of ``centres`` is segment i."""

    @property
    def kind(self) -> str:
        """One of kmeans, gmm, bisecting, agglomerative, merged, hdbscan, dbscan."""
        ...

    @property
    def k(self) -> int:
        """Number of segments, noise not counted."""
        ...

    @property
    def centres(self) -> Floats:
        """(k, features) in scaled space."""
        ...

    def label(self, x: Block) -> Labels:
        """Segment, confidence and distance of every row; row i depends on column i alone."""
        ...

    def reordered(self, order: npt.NDArray[np.intp]) -> SegmentModel:
        """The same model with segment ``order[i]`` renamed to i."""
        ...


class Detector(Protocol):
    """A fitted outlier reference; scores are finite and higher = more unusual."""

    @property
    def method(self) -> str:
        """One of mass, isolation_forest, ensemble, segment, hdbscan, dbscan."""
        ...

    def score(self, x: Block) -> Floats:
        """(n,) scores; row i depends on column i alone."""
        ...


BatchFn = Callable[[pa.RecordBatch], pa.RecordBatch]
