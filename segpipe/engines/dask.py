"""The Dask engine: tasks over parts on a ``distributed`` cluster, dask.dataframe for relations.

Tasks get file names and open them with Arrow; only relations, group shuffles and
``engine.io: engine`` go through dask.dataframe (pandas with Arrow types). Persisted rows are Arrow
tables in the workers, which spill them to disk when memory is short.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import re
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from typing import Any, TypeVar

import cloudpickle
import dask
import dask.dataframe as dd
import distributed
import narwhals.stable.v2 as nw
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from segpipe.engines import frames, reach
from segpipe.engines.frames import Batches, Conform, Frame, Parts, Work
from segpipe.engines.native import NativeFiles, native_files, native_frame, no_catalogue
from segpipe.engines.protocol import LibraryParams, Plan
from segpipe.errors import ConfigError, TemporaryError
from segpipe.values import BatchFn, Block, Floats, Table

State = TypeVar("State")

CONNECT_SECONDS = 20
"""A scheduler or a first worker that does not answer by then is an error 75."""
ONE_THREAD = {
    f"{library}_NUM_THREADS": "1" for library in ("OMP", "MKL", "OPENBLAS", "NUMBA", "POLARS_MAX")
}
"""A task uses one core: there are as many tasks as cores."""


class DaskEngine:
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
            self._client = self._connect(memory, address, cluster, dict(options or {}))
        except BaseException:
            self._closing.close()
            raise

    def _connect(
        self, memory: str | int, address: str | None, cluster: str | None, options: dict[str, Any]
    ) -> distributed.Client:
        where: Any = address
        found = re.fullmatch(r"(?:tcp|tls)://([^/]+)", address or "")
        if found and (reasons := reach.silence([found.group(1)], 8786)):
            raise _nobody(reasons)
        if address is None:
            where = _named(cluster, options) if cluster else self._embedded(memory, options)
            self._closing.callback(where.close)
        try:
            client = distributed.Client(
                where, timeout=CONNECT_SECONDS, set_as_default=False, name="segpipe"
            )
            self._closing.callback(client.close, timeout=10)
            client.wait_for_workers(1, timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, CommClosedError) as error:
            raise _nobody(f"{address or cluster or 'this machine'}: {error}") from error
        except ValueError as error:  # an address without a known scheme
            raise ConfigError(
                f"engine.dask.address {address!r} is no Dask address: {error}",
                "write tcp://host:port or tls://host:port",
            ) from error
        if address or cluster:
            _check_workers(client)
        return client

    def _embedded(self, memory: str | int, options: dict[str, Any]) -> distributed.LocalCluster:
        """Worker processes on this machine, one thread each."""
        count = options.setdefault("n_workers", frames.cores())
        options.setdefault("threads_per_worker", 1)
        options.setdefault("memory_limit", frames.memory_bytes(memory) // max(count, 1))
        # No dashboard, and no fixed port: two jobs may run on one machine.
        options.setdefault("dashboard_address", "127.0.0.1:0")
        options.setdefault("scheduler_kwargs", {"dashboard": False})
        options.setdefault("silence_logs", logging.CRITICAL)
        spill = self._closing.enter_context(
            tempfile.TemporaryDirectory(prefix="segpipe-dask-", ignore_cleanup_errors=True)
        )
        options.setdefault("local_directory", spill)
        with dask.config.set({"distributed.nanny.pre-spawn-environ": ONE_THREAD}):
            return distributed.LocalCluster(processes=True, **options)

    def __enter__(self) -> DaskEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def workers(self) -> int:
        """Threads of all workers."""
        return max(1, int(sum(self._client.nthreads().values())))

    def close(self) -> None:
        """Leaves the cluster, persisted rows with it; stops the processes that were started."""
        with contextlib.suppress(OSError, TimeoutError):  # a cluster that is gone is closed
            self._closing.close()

    def scan(self, table: Table, columns: Sequence[str] | None) -> Frame:
        """See ``Engine.scan``."""
        self.resolve(table)
        if self._io == "engine":
            with self._talking():
                found = _dask_files(native_files(table, columns))
            return native_frame(table, columns, _Native(found, _from_pandas))
        return frames.scanned(table, columns, self.workers(), self._parts)

    def resolve(self, table: Table) -> Table:
        """See ``Engine.resolve``."""
        return no_catalogue(table, self.name)

    def from_batches(self, batches: Sequence[pa.RecordBatch], schema: pa.Schema) -> Frame:
        """See ``Engine.from_batches``."""
        return frames.of_batches(batches, schema)

    def map_batches(self, frame: Frame, fn: BatchFn, schema: pa.Schema) -> Frame:
        """See ``Engine.map_batches``."""
        return frame.then(fn, schema)

    def relate(self, frame: Frame, plan: Plan, schema: pa.Schema) -> Frame:
        """See ``Engine.relate``."""
        with self._talking():
            found = plan(_narwhals(self._dataframe(frame))).to_native()
            native = _Native(found[schema.names], _from_pandas)
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
            shuffled = self._dataframe(frame).shuffle(on=list(keys))
        native = _Native(shuffled, _Ordered(names, frame.schema))
        return Frame(frame.schema, native, Work(tuple(keys))).then(fn, schema)

    def persist(self, frame: Frame) -> Frame:
        """See ``Engine.persist``."""
        with self._talking():
            futures = self._submit(frame, _Keep(frame.schema))
            distributed.wait(futures)
            for future in futures:
                if future.status != "finished":
                    future.result()
        return Frame(frame.schema, Parts(tuple(futures), _of_table))

    def fold(
        self,
        frame: Frame,
        step: Callable[[Batches], State],
        merge: Callable[[State, State], State],
    ) -> State:
        """See ``Engine.fold``."""
        with self._talking():
            futures = self._submit(frame, step)
            if not futures:
                return step(iter(()))
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
        with _translated(), self._client.as_current():
            yield

    def _submit(self, frame: Frame, step: Callable[[Batches], State]) -> list[Any]:
        """A future of ``step``'s result for each part, in order."""
        source = frame.source
        job = self._job(frame, step)
        if isinstance(source, Parts):
            groups = [_packed(group) for group in source.groups]
            if not groups:
                return []
            futures: list[Any] = self._client.map(_run, groups, [job] * len(groups), pure=False)
            return futures
        tasks = [dask.delayed(_run, pure=False)(part, job) for part in source.frame.to_delayed()]
        return list(self._client.compute(tasks))

    def _job(self, frame: Frame, step: Callable[[Batches], Any]) -> Any:
        """The work of a part as a future: sent to a worker once, made again if that one dies."""
        blob = cloudpickle.dumps(_Job(frame.source.open, frame.work, step))
        return self._client.submit(cloudpickle.loads, blob, pure=False)

    def _dataframe(self, frame: Frame) -> Any:
        """Rows as a dask.dataframe of Arrow types, a partition per part."""
        source = frame.source
        job = self._job(frame, _Pandas(frame.schema))
        if isinstance(source, Parts):
            groups: Sequence[Any] = [_packed(group) for group in source.groups]
        else:
            groups = source.frame.to_delayed()
        meta = _pandas(frame.schema.empty_table())
        if not groups:
            return dd.from_pandas(meta, npartitions=1)
        tasks = [dask.delayed(_run, pure=False)(group, job) for group in groups]
        return dd.from_delayed(tasks, meta=meta, verify_meta=False)


@dataclass(frozen=True, slots=True)
class _Native:
    """A dask.dataframe and what turns a partition of it into batches."""

    frame: Any
    open: Callable[[pd.DataFrame], Batches]


@dataclass(frozen=True, slots=True)
class _Job:
    open: Callable[[Any], Any]
    work: Work
    step: Callable[[Batches], Any]


def _packed(group: Any) -> Any:
    """Bytes, so that Dask does not look for tasks inside thousands of fragments."""
    return group if isinstance(group, distributed.Future) else pickle.dumps(group)


def _run(group: Any, job: _Job) -> Any:
    """A part, in a worker."""
    pa.set_cpu_count(1)
    opened = pickle.loads(group) if isinstance(group, bytes) else group
    return job.step(job.work(job.open(opened)))


@dataclass(frozen=True, slots=True)
class _Keep:
    """A part as one Arrow table, whose size Dask knows and can spill."""

    schema: pa.Schema

    def __call__(self, batches: Batches) -> pa.Table:
        return pa.Table.from_batches(list(batches), self.schema)


def _of_table(table: pa.Table) -> Iterator[pa.RecordBatch]:
    yield from table.to_batches(max_chunksize=frames.BATCH_ROWS)


@dataclass(frozen=True, slots=True)
class _Pandas:
    schema: pa.Schema

    def __call__(self, batches: Batches) -> pd.DataFrame:
        return _pandas(pa.Table.from_batches(list(batches), self.schema))


def _pandas(table: pa.Table) -> pd.DataFrame:
    decoded = pa.table(
        [frames.cast(c.combine_chunks(), _decoded(c.type)) for c in table.columns],
        names=table.column_names,
    )
    frame: pd.DataFrame = decoded.to_pandas(types_mapper=pd.ArrowDtype)
    return frame


def _decoded(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _dask_files(files: NativeFiles) -> Any:
    return dd.read_parquet(
        list(files.paths),
        columns=files.schema.names,
        dtype_backend="pyarrow",
        # Dask makes folder columns categories unless it is told their types (dask#10353).
        dataset={"partitioning": pads.partitioning(files.folders, flavor="hive")},
    )


def _from_pandas(part: pd.DataFrame) -> Batches:
    yield from _of_table(_arrow(part))


def _arrow(part: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(part, preserve_index=False).replace_schema_metadata(None)


@dataclass(frozen=True, slots=True)
class _Ordered:
    """A shuffled partition, sorted: it holds whole key groups."""

    names: tuple[str, ...]
    schema: pa.Schema

    def __call__(self, part: pd.DataFrame) -> Batches:
        conform = Conform(self.schema)
        yield from map(conform, _of_table(frames.sort_nulls_first(_arrow(part), self.names)))


def _narwhals(frame: Any) -> Any:
    with warnings.catch_warnings():
        # narwhals 2.29 announces that Dask support will be a package of its own; ours is pinned.
        warnings.filterwarnings("ignore", message="Dask support is moving out of Narwhals")
        return nw.from_native(frame)


def _nobody(reasons: str) -> TemporaryError:
    return TemporaryError(
        f"no Dask cluster answers ({reasons}).",
        "start the scheduler and at least one worker, or correct engine.dask.address",
    )


def _named(cluster: str, options: Mapping[str, Any]) -> Any:
    """A cluster made by any class, e.g. ``dask_kubernetes.operator.KubeCluster``."""
    module, _, name = cluster.rpartition(".")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"engine.dask.cluster {cluster!r} cannot be imported: {error}",
            "install its package, or write module.Class",
        ) from error
    try:
        return kind(**options)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            f"engine.dask.cluster {cluster} refuses its options {sorted(options)}: {error}"
        ) from error
    except (OSError, TimeoutError) as error:
        raise TemporaryError(f"engine.dask.cluster {cluster} did not start: {error}") from error


def _check_workers(client: distributed.Client) -> None:
    """Workers elsewhere must be able to import what tasks are made of."""
    from segpipe import __version__

    try:
        found = set(client.run(_version).values())
    except ImportError as error:
        raise ConfigError(
            f"the Dask workers cannot import segpipe: {error}",
            "install segpipe[dask] on the workers",
        ) from error
    if found != {__version__}:
        raise ConfigError(
            f"segpipe is {__version__} here and {', '.join(sorted(found))} on the Dask workers.",
            "install the same version everywhere",
        )


def _version() -> str:
    from segpipe import __version__

    return __version__


@contextlib.contextmanager
def _translated() -> Iterator[None]:
    """Loss of the cluster as our error; whatever a task raised comes back as it was."""
    try:
        yield
    except KilledWorker as error:
        raise TemporaryError(
            f"Dask workers died while they ran a task: {error}",
            "give them more memory (engine.memory), or retry",
        ) from error
    except (CommClosedError, CancelledError, TimeoutError) as error:
        raise TemporaryError(
            f"the Dask cluster was lost: {error or type(error).__name__}", "retry"
        ) from error
