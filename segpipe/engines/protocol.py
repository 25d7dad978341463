"""The seam: the few verbs that an engine offers; everything else is written once against them.

A frame is opaque: each engine has its own. Functions that cross the seam are picklable values
(module-level functions, frozen dataclasses with ``__call__``, partials), never closures over
sessions. They may be run more than once on the same rows (task retries), so they have no
effects but new, uniquely named files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol, TypeVar

import narwhals.stable.v2 as nw
import pyarrow as pa

from segpipe.values import Block, Floats, Table

State = TypeVar("State")
Frame = Any
Plan = Callable[[nw.LazyFrame[Any]], nw.LazyFrame[Any]]


class Engine(Protocol):
    """Where rows live and work is done."""

    @property
    def name(self) -> str:
        """One of local, dask, spark."""
        ...

    def resolve(self, table: Table) -> Table:
        """``table`` with its schema where only the engine knows it (``source.format: table``).

        Raises
        ------
        ConfigError
            The engine has no catalogue.
        InputMissing
            The catalogue has no such table.
        """
        ...

    def scan(self, table: Table, columns: Sequence[str] | None, keep: bool = False) -> Frame:
        """Lazy rows of ``table`` (its filters applied), only ``columns``, in the source's types.

        Batches hold at most 65,536 rows; partition columns of hive paths are ordinary columns.
        ``keep``: several passes will follow, so what fits into the engine's memory is decoded once.
        """
        ...

    def from_batches(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> Frame:
        """A frame of rows the driver already holds, one partition per batch."""
        ...

    def from_parts(
        self,
        groups: Sequence[Any],
        open: Callable[[Any], Iterable[Any]],
        schema: pa.Schema,
    ) -> Frame:
        """A frame with a part per group, which ``open`` turns into rows wherever it is called."""
        ...

    def alongside(
        self,
        frame: Frame,
        beside: Sequence[Any],
        fn: Callable[[Iterator[pa.RecordBatch], Any], Iterator[pa.RecordBatch]],
        schema: pa.Schema,
    ) -> Frame:
        """Lazy: ``fn`` on all batches of a part and the part's own one of ``parts(frame)`` values.

        For frames with ``parts(frame) > 0``; the result has as many.
        """
        ...

    def map_batches(
        self, frame: Frame, fn: Callable[[pa.RecordBatch], pa.RecordBatch], schema: pa.Schema
    ) -> Frame:
        """Lazy: ``fn`` on every batch, empty ones too; what it returns has ``schema``."""
        ...

    def relate(self, frame: Frame, plan: Plan, schema: pa.Schema) -> Frame:
        """Relational work (group sums, joins) as a narwhals plan; its result becomes ``schema``."""
        ...

    def group_map(
        self,
        frame: Frame,
        keys: Sequence[str],
        order: Sequence[str],
        fn: Callable[[pa.RecordBatch], pa.RecordBatch],
        schema: pa.Schema,
    ) -> Frame:
        """``fn`` sees batches of *whole* key groups, sorted by ``keys`` then ``order``."""
        ...

    def persist(self, frame: Frame) -> Frame:
        """The same rows, computed once and kept until ``close`` (memory, spilling where it can)."""
        ...

    def fold(
        self,
        frame: Frame,
        step: Callable[..., State],
        merge: Callable[[State, State], State],
        beside: Sequence[Any] = (),
    ) -> State:
        """``step`` per partition, on the workers; the small states merged in partition order.

        An engine calls ``step`` at least once, on an empty iterator if the frame has no rows.
        ``beside``: ``parts(frame)`` values, what an earlier fold left for each part; ``step`` gets
        the part's as second argument.
        """
        ...

    def parts(self, frame: Frame) -> int:
        """Parts of ``frame`` that bring the same rows in the same order every time; else 0."""
        ...

    def library_fit(
        self,
        frame: Frame,
        transform: Callable[[pa.RecordBatch], Block],
        params: LibraryParams,
        init: Sequence[Floats],
    ) -> Any:
        """Fit with the engine's own library (``fit.library``); returns our frozen model."""
        ...

    def workers(self) -> int:
        """Tasks that can run at once, for sizing partitions."""
        ...

    def close(self) -> None:
        """Give everything back; the end of a ``with`` block does it too."""
        ...

    def __enter__(self) -> Engine: ...
    def __exit__(self, *_: object) -> None: ...


class LibraryParams(Protocol):
    """What a library fit is told (``fit.library.LibrarySpec`` is one)."""

    @property
    def library(self) -> str:
        """One of mllib, dask-ml, sklearn."""
        ...

    @property
    def model(self) -> str:
        """One of kmeans, gmm, bisecting."""
        ...

    @property
    def k(self) -> int:
        """Clusters."""
        ...

    @property
    def covariance(self) -> str:
        """auto, full, tied, diag, spherical: mixtures only."""
        ...

    @property
    def n_init(self) -> int:
        """Starts, of which the best counts."""
        ...

    @property
    def seed(self) -> int:
        """Of the library's random numbers."""
        ...


class Scratch(Protocol):
    """A folder that every worker reaches, gone after the run (``lake.scratch``); picklable."""

    def store(self, batches: Iterable[pa.RecordBatch], schema: pa.Schema) -> str:
        """Write a new file; its place."""
        ...

    def load(self, place: str) -> Iterator[pa.RecordBatch]:
        """The batches of a file, as they were written."""
        ...

    def load_one(self, place: str, number: int) -> pa.RecordBatch:
        """One of them."""
        ...
