"""The local engine: threads over parts, Polars for relations; no Java, no cluster.

The kernels, Arrow and Polars release the interpreter lock, so threads use all cores.
"""

from __future__ import annotations

import queue
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import narwhals.stable.v2 as nw
import polars as pl
import pyarrow as pa
from polars.io.plugins import register_io_source

from segpipe.engines import frames
from segpipe.engines.frames import Batches, Conform, Frame, Parts, Work
from segpipe.engines.held import Held, Keep, Kept, Room, reopen
from segpipe.engines.native import NativeFiles, native_files, native_frame, no_catalogue
from segpipe.engines.protocol import LibraryParams, Plan
from segpipe.engines.verbs import Deferred
from segpipe.values import BatchFn, Block, Floats, Table

State = TypeVar("State")


class LocalEngine(Deferred):
    """Threads of this process.

    Persisted rows stay in memory up to half of ``memory``; what is beyond goes to Arrow files in a
    temporary folder and is mapped back.
    """

    name = "local"

    def __init__(
        self, *, memory: str | int = "auto", io: str = "auto", workers: int = 0, parts: int = 0
    ) -> None:
        frames.settle_memory()
        self._io = io
        self._workers = workers or frames.cores()
        self._parts = parts
        self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="segpipe")
        self._folder = tempfile.TemporaryDirectory(prefix="segpipe-")
        self._room = Room(frames.memory_bytes(memory) // 2)

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def workers(self) -> int:
        """Threads."""
        return self._workers

    def close(self) -> None:
        """Stops the threads, forgets persisted rows."""
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def scan(self, table: Table, columns: Sequence[str] | None, keep: bool = False) -> Frame:
        """See ``Engine.scan``. Parts that do not fit the room are read again each time."""
        self.resolve(table)
        if self._io == "engine":
            found = native_frame(table, columns, _polars_files(native_files(table, columns)))
            return self.persist(found) if keep else found
        found = frames.scanned(table, columns, self._workers, self._parts)
        if not keep:
            return found
        return replace(
            found, source=replace(found.source, open=Held(found.source.open, self._room))
        )

    def resolve(self, table: Table) -> Table:
        """See ``Engine.resolve``."""
        return no_catalogue(table, self.name)

    def relate(self, frame: Frame, plan: Plan, schema: pa.Schema) -> Frame:
        """See ``Engine.relate``."""
        found = plan(nw.from_native(self._lazy(frame))).to_native()
        return Frame(schema, found.select(schema.names), Work((), (Conform(schema),)))

    def group_map(
        self,
        frame: Frame,
        keys: Sequence[str],
        order: Sequence[str],
        fn: BatchFn,
        schema: pa.Schema,
    ) -> Frame:
        """See ``Engine.group_map``."""
        names = list(dict.fromkeys((*keys, *order)))
        ordered = _Sorted(self._lazy(frame).sort(names), tuple(keys), frame.schema)
        return Frame(frame.schema, ordered).then(fn, schema)

    def persist(self, frame: Frame) -> Frame:
        """See ``Engine.persist``."""
        keep = Keep(self._room, Path(self._folder.name))
        kept: list[Kept] = self.fold(frame, keep, list.__add__)
        return Frame(frame.schema, Parts(tuple(kept), reopen))

    def fold(
        self,
        frame: Frame,
        step: Callable[..., State],
        merge: Callable[[State, State], State],
        beside: Sequence[Any] = (),
    ) -> State:
        """See ``Engine.fold``."""
        parts = self._resolve(frame)
        stop = threading.Event()

        def task(group: Any, *value: Any) -> State:
            return step(_until(stop, frame.work(parts.open(group))), *value)

        with _single_threaded_blas():
            if not parts.groups:
                return step(iter(()))
            futures: list[Future[State]] = [
                self._pool.submit(task, *given) for given in frames.paired(parts.groups, beside)
            ]
            futures.reverse()
            try:
                state = futures.pop().result()
                while futures:
                    state = merge(state, futures.pop().result())
            except BaseException:
                stop.set()
                for future in futures:
                    future.cancel()
                raise
            return state

    def library_fit(
        self,
        frame: Frame,
        transform: Callable[[pa.RecordBatch], Block],
        params: LibraryParams,
        init: Sequence[Floats],
    ) -> Any:
        """See ``Engine.library_fit``: scikit-learn on all rows, gathered in this process."""
        from segpipe.engines.library import sklearn_fit

        return sklearn_fit(self, frame, transform, params, init)

    def _resolve(self, frame: Frame) -> Parts:
        """The frame's rows as parts; relational queries run here."""
        source = frame.source
        if isinstance(source, Parts):
            return source
        keys: tuple[str, ...] = ()
        if isinstance(source, _Sorted):
            source, keys, schema = source.query, source.keys, source.schema
        rows: pa.Table = source.collect(engine="streaming").to_arrow()
        batches: Sequence[pa.RecordBatch] = rows.to_batches(max_chunksize=frames.BATCH_ROWS)
        if keys:
            batches = list(frames.regroup(map(Conform(schema), batches), keys))
        return Parts(tuple((batch,) for batch in batches), list)

    def _lazy(self, frame: Frame) -> pl.LazyFrame:
        """A Polars query over the frame; rows are produced while it runs, on as many threads."""
        if isinstance(frame.source, pl.LazyFrame) and frame.work.chain == (Conform(frame.schema),):
            kinds = pl.from_arrow(frame.schema.empty_table()).schema
            return frame.source.cast(dict(kinds))
        empty = pl.from_arrow(_decoded(frame.schema).empty_table())
        assert isinstance(empty, pl.DataFrame)

        def source(
            columns: list[str] | None, where: pl.Expr | None, rows: int | None, _size: int | None
        ) -> Iterator[pl.DataFrame]:
            conform = Conform(_decoded(frame.schema))
            for batch in self._stream(frame):
                found = pl.DataFrame(conform(batch))
                found = found if columns is None else found.select(columns)
                found = found if where is None else found.filter(where)
                if rows is not None:
                    found = found.head(rows)
                    rows -= found.height
                yield found
                if rows == 0:
                    return

        return register_io_source(source, schema=empty.schema, is_pure=True)

    def _stream(self, frame: Frame) -> Batches:
        """All batches in any order, a few ahead of the reader.

        The threads are its own: a query may be collected while the pool waits for it.
        """
        parts = self._resolve(frame)
        ready: queue.Queue[pa.RecordBatch | BaseException | None] = queue.Queue(2 * self._workers)
        todo: queue.SimpleQueue[Any] = queue.SimpleQueue()
        for group in parts.groups:
            todo.put(group)
        stop = threading.Event()

        def offer(item: pa.RecordBatch | BaseException | None) -> None:
            while not stop.is_set():
                try:
                    ready.put(item, timeout=0.2)
                    break
                except queue.Full:
                    continue

        def produce() -> None:
            try:
                while not stop.is_set():
                    for batch in frame.work(parts.open(todo.get_nowait())):
                        offer(batch)
                        if stop.is_set():
                            return
            except queue.Empty:
                offer(None)
            except BaseException as error:
                offer(error)

        threads = [threading.Thread(target=produce, daemon=True) for _ in range(self._workers)]
        for thread in threads:
            thread.start()
        try:
            running = len(threads)
            while running:
                item = ready.get()
                if isinstance(item, BaseException):
                    raise item
                if item is None:
                    running -= 1
                else:
                    yield item
        finally:
            stop.set()


@dataclass(frozen=True, slots=True)
class _Sorted:
    query: pl.LazyFrame
    keys: tuple[str, ...]
    schema: pa.Schema


class _Stopped(Exception):
    """Another part failed; this one's result is not wanted."""


def _until(stop: threading.Event, batches: Batches) -> Batches:
    for batch in batches:
        if stop.is_set():
            raise _Stopped
        yield batch


def _polars_files(files: NativeFiles) -> pl.LazyFrame:
    folders = pl.DataFrame(files.folders.empty_table()).schema
    found = pl.scan_parquet(
        list(files.paths),
        hive_partitioning=bool(folders),
        hive_schema=dict(folders) or None,
        missing_columns="insert",
    )
    return found.select(files.schema.names)


def _decoded(schema: pa.Schema) -> pa.Schema:
    """Without dictionaries: each batch may bring its own, which no relational plan can compare."""
    return pa.schema(
        [f.with_type(f.type.value_type) if pa.types.is_dictionary(f.type) else f for f in schema]
    )


def _single_threaded_blas() -> Any:
    """One BLAS thread per part: the parts use the cores, and results do not depend on them."""
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")
