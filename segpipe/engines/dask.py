"""The Dask engine: tasks over parts on a ``distributed`` cluster, dask.dataframe for relations.

Tasks get file names and open them with Arrow; only relations, group shuffles and
``engine.io: engine`` go through dask.dataframe (pandas with Arrow types). Persisted rows are Arrow
tables in the workers, which spill them to disk when memory is short.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from typing import Any, TypeVar

import cloudpickle
import dask
import dask.dataframe as dd
import distributed
import narwhals.stable.v2 as nw
import pyarrow as pa
import pyarrow.dataset as pads

from segpipe.engines import frames
from segpipe.engines.daskcluster import connect, translated
from segpipe.engines.dasktasks import (
    Job,
    Keep,
    Native,
    Ordered,
    Pandas,
    as_pandas,
    from_pandas,
    of_table,
    packed,
    reduced,
    run,
)
from segpipe.engines.frames import Batches, Conform, Frame, Parts, Work
from segpipe.engines.native import NativeFiles, native_files, native_frame, no_catalogue
from segpipe.engines.protocol import LibraryParams, Plan
from segpipe.engines.verbs import Deferred
from segpipe.values import BatchFn, Block, Floats, Table

State = TypeVar("State")


class DaskEngine(Deferred):
    """A Dask cluster: ``address``, ``cluster`` (import string and options), or processes here.

    Raises
    ------
    TemporaryError
        The cluster does not answer, has no workers, or is lost on the way.
    ConfigError
        ``cluster`` cannot be imported or made, or its workers have no segpipe.
    """

    name = "dask"

    def __init__(
        self,
        *,
        memory: str | int = "auto",
        io: str = "auto",
        address: str | None = None,
        cluster: str | None = None,
        options: Mapping[str, Any] | None = None,
        parts: int = 0,
    ) -> None:
        self._io = io
        self._parts = parts
        self._closing = contextlib.ExitStack()
        try:
            self._client = connect(self._closing, memory, address, cluster, options or {})
        except BaseException:
            self._closing.close()
            raise

    def __enter__(self) -> DaskEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def workers(self) -> int:
        """Threads of all workers."""
        return max(1, int(sum(self._client.nthreads().values())))

    def _memory(self) -> int:
        """Bytes that all workers may use; without a limit as much as here."""
        limits = [w["memory_limit"] or 0 for w in self._client.scheduler_info()["workers"].values()]
        return int(sum(limits)) if all(limits) else frames.memory_bytes("auto")

    def close(self) -> None:
        """Leaves the cluster, persisted rows with it; stops the processes that were started."""
        with contextlib.suppress(OSError, TimeoutError):  # a cluster that is gone is closed
            self._closing.close()

    def scan(self, table: Table, columns: Sequence[str] | None, keep: bool = False) -> Frame:
        """See ``Engine.scan``: kept rows are Arrow tables in the workers."""
        if keep and frames.decoded_bytes(table, columns) <= self._memory() // 2:
            return self.persist(self.scan(table, columns))
        self.resolve(table)
        if self._io == "engine":
            with self._talking():
                found = _dask_files(native_files(table, columns))
            return native_frame(table, columns, Native(found, from_pandas))
        return frames.scanned(table, columns, self.workers(), self._parts)

    def resolve(self, table: Table) -> Table:
        """See ``Engine.resolve``."""
        return no_catalogue(table, self.name)

    def relate(self, frame: Frame, plan: Plan, schema: pa.Schema) -> Frame:
        """See ``Engine.relate``."""
        with self._talking():
            found = plan(_narwhals(self._dataframe(frame))).to_native()
            native = Native(found[schema.names], from_pandas)
        return Frame(schema, native, Work((), (Conform(schema),)))

    def group_map(
        self,
        frame: Frame,
        keys: Sequence[str],
        order: Sequence[str],
        fn: BatchFn,
        schema: pa.Schema,
    ) -> Frame:
        """See ``Engine.group_map``."""
        names = tuple(dict.fromkeys((*keys, *order)))
        with self._talking():
            # Dask's peer-to-peer shuffle fails on nested Arrow types; the older one does not.
            nested = any(pa.types.is_nested(field.type) for field in frame.schema)
            shuffled = self._dataframe(frame).shuffle(
                on=list(keys), shuffle_method="tasks" if nested else None
            )
        native = Native(shuffled, Ordered(names, frame.schema))
        return Frame(frame.schema, native, Work(tuple(keys))).then(fn, schema)

    def persist(self, frame: Frame) -> Frame:
        """See ``Engine.persist``."""
        with self._talking():
            futures = self._submit(frame, Keep(frame.schema))
            distributed.wait(futures)
            for future in futures:
                if future.status != "finished":
                    future.result()
        return Frame(frame.schema, Parts(tuple(futures), of_table))

    def fold(
        self,
        frame: Frame,
        step: Callable[..., State],
        merge: Callable[[State, State], State],
        beside: Sequence[Any] = (),
    ) -> State:
        """See ``Engine.fold``."""
        with self._talking():
            futures = self._submit(frame, step, beside)
            if not futures:
                return step(iter(()))
            if len(futures) > frames.FAN_IN:
                futures = self._merged(futures, merge)
            futures.reverse()
            try:
                state: State = futures.pop().result()
                while futures:
                    state = merge(state, futures.pop().result())
            except BaseException:
                with contextlib.suppress(OSError, TimeoutError, CancelledError):
                    self._client.cancel(futures)
                raise
            return state

    def library_fit(
        self,
        frame: Frame,
        transform: Callable[[pa.RecordBatch], Block],
        params: LibraryParams,
        init: Sequence[Floats],
    ) -> Any:
        """See ``Engine.library_fit``: dask-ml, for K-Means."""
        from segpipe.engines import daskml

        with self._talking():
            chunks = self._submit(frame, daskml.Chunk(transform))
            return daskml.fit(self, frame, chunks, transform, params, init)

    @contextlib.contextmanager
    def _talking(self) -> Iterator[None]:
        """Dask's functions find the client of this engine; its loss is an error 75."""
        with translated(), self._client.as_current():
            yield

    def _submit(
        self, frame: Frame, step: Callable[..., State], beside: Sequence[Any] = ()
    ) -> list[Any]:
        """A future of ``step``'s result for each part, in order."""
        source = frame.source
        job = self._job(frame, step)
        if isinstance(source, Parts):
            groups = [packed(group) for group in source.groups]
            if not groups:
                return []
            values = [[packed(value)] for value in beside] or [[]] * len(groups)
            jobs = [job] * len(groups)
            futures: list[Any] = self._client.map(run, groups, jobs, values, pure=False)
            return futures
        tasks = [dask.delayed(run, pure=False)(part, job) for part in source.frame.to_delayed()]
        return list(self._client.compute(tasks))

    def _merged(self, futures: list[Any], merge: Callable[[State, State], State]) -> list[Any]:
        """Fewer states, merged on the workers, neighbours with neighbours."""
        blob = cloudpickle.dumps(merge)
        while len(futures) > frames.FAN_IN:
            runs = [futures[i : i + frames.FAN_IN] for i in range(0, len(futures), frames.FAN_IN)]
            futures = [self._client.submit(reduced, blob, run, pure=False) for run in runs]
        return futures

    def _job(self, frame: Frame, step: Callable[[Batches], Any]) -> Any:
        """The work of a part as a future: sent to a worker once, made again if that one dies."""
        blob = cloudpickle.dumps(Job(frame.source.open, frame.work, step))
        return self._client.submit(cloudpickle.loads, blob, pure=False)

    def _dataframe(self, frame: Frame) -> Any:
        """Rows as a dask.dataframe of Arrow types, a partition per part."""
        source = frame.source
        job = self._job(frame, Pandas(frame.schema))
        if isinstance(source, Parts):
            groups: Sequence[Any] = [packed(group) for group in source.groups]
        else:
            groups = source.frame.to_delayed()
        meta = as_pandas(frame.schema.empty_table())
        if not groups:
            return dd.from_pandas(meta, npartitions=1)
        tasks = [dask.delayed(run, pure=False)(group, job) for group in groups]
        return dd.from_delayed(tasks, meta=meta, verify_meta=False)


def _dask_files(files: NativeFiles) -> Any:
    return dd.read_parquet(
        list(files.paths),
        columns=files.schema.names,
        dtype_backend="pyarrow",
        # Dask makes folder columns categories unless it is told their types (dask#10353).
        dataset={"partitioning": pads.partitioning(files.folders, flavor="hive")},
    )


def _narwhals(frame: Any) -> Any:
    with warnings.catch_warnings():
        # narwhals 2.29 announces that Dask support will be a package of its own; ours is pinned.
        warnings.filterwarnings("ignore", message="Dask support is moving out of Narwhals")
        return nw.from_native(frame)
