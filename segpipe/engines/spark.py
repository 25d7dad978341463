"""The Spark engine: DataFrame API, so that spark-submit and Spark Connect run the same code.

A part is a row of ``spark.range``; the task that gets it opens files with Arrow and sends back a
pickled state. Only relations, group shuffles and ``engine.io: engine`` go through Spark's own
columns. Persisted rows are a cached DataFrame of Arrow blobs: types survive exactly.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import narwhals.stable.v2 as nw
import pyarrow as pa
from pyspark import StorageLevel
from pyspark.errors import AnalysisException, PySparkAttributeError
from pyspark.sql import functions as F
from pyspark.sql.pandas.types import from_arrow_schema, to_arrow_schema

from segpipe.engines import frames, sparksession
from segpipe.engines.frames import Batches, Conform, Frame, Parts, Work
from segpipe.engines.native import NativeFiles, native_files, native_frame, needed
from segpipe.engines.protocol import LibraryParams, Plan
from segpipe.engines.sparkerrors import translated, unpacked
from segpipe.engines.sparktasks import (
    BLOBS,
    STATES,
    Blobs,
    Columns,
    Fold,
    Merge,
    Open,
    Task,
    unblob,
)
from segpipe.engines.verbs import Deferred
from segpipe.errors import InputMissing
from segpipe.values import BatchFn, Block, Floats, Table

State = TypeVar("State")


class SparkEngine(Deferred):
    """A Spark session: the running one, the one spark-submit asks for, Connect, or ``local[*]``.

    Raises
    ------
    TemporaryError
        The master or Connect server does not answer, or is lost on the way.
    ConfigError
        No Java; a conf key that Spark refuses.
    """

    name = "spark"

    def __init__(
        self,
        *,
        memory: str | int = "auto",
        io: str = "auto",
        conf: Mapping[str, Any] | None = None,
        parts: int = 0,
    ) -> None:
        self._io = io
        self._parts = parts
        self._opened = sparksession.open_session(conf or {}, frames.memory_bytes(memory), memory)
        self._spark = self._opened.spark
        self._kept: list[Any] = []
        self._workers = 0

    @classmethod
    def on(cls, session: Any) -> SparkEngine:
        """An engine on a caller's session, whose settings stay as they are; never stops it."""
        engine = cls.__new__(cls)
        engine._io, engine._parts, engine._workers, engine._kept = "auto", 0, 0, []
        engine._opened, engine._spark = sparksession.Opened(session, False), session
        return engine

    def __enter__(self) -> SparkEngine:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def workers(self) -> int:
        """Spark's default parallelism: the cores of the executors registered at the first call."""
        if not self._workers:
            with translated():
                self._workers = _parallelism(self._spark)
        return self._workers

    def close(self) -> None:
        """Drops persisted rows; stops the session if this engine started it."""
        with self._opened:
            for kept in self._kept:
                kept.unpersist()
            self._kept.clear()

    def scan(self, table: Table, columns: Sequence[str] | None, keep: bool = False) -> Frame:
        """See ``Engine.scan``.

        What Spark's own readers bring is kept as cached blocks. Files that tasks open with Arrow
        are not: blocks out of the JVM take longer than decoding (DECISIONS.md).
        """
        if keep and (table.format == "table" or self._io == "engine"):
            return self.persist(self.scan(table, columns))
        if table.format == "table":
            with translated():
                names = needed(table, columns).names
                found = self._spark.table(table.uri).select(*map(quoted, names))
            return native_frame(table, columns, found)
        if self._io == "engine":
            with translated():
                found = self._files(native_files(table, columns))
            return native_frame(table, columns, found)
        return frames.scanned(table, columns, self.workers(), self._parts)

    def resolve(self, table: Table) -> Table:
        """See ``Engine.resolve``."""
        if table.format != "table":
            return table
        with translated():
            try:
                found = self._spark.table(table.uri)
                schema = to_arrow_schema(found.schema)
                files = "\n".join(sorted(found.inputFiles()))
            except AnalysisException as error:
                raise InputMissing(
                    f"Spark's catalogue has no table {table.uri!r}: {error.getCondition()}.",
                    "check source.uri, or engine.spark's catalogue keys",
                ) from error
        digest = hashlib.sha256(f"{table.uri}\n{files}".encode()).hexdigest()
        return replace(table, schema=schema, snapshot=digest)

    def _files(self, files: NativeFiles) -> Any:
        """Spark's own reader; folder values stay text until they are cast to the table's types."""
        self._spark.conf.set("spark.sql.sources.partitionColumnTypeInference.enabled", "false")
        inside = [f for f in files.schema if f.name not in files.folders.names]
        return (
            self._spark.read.schema(from_arrow_schema(pa.schema([*inside, *_texts(files.folders)])))
            .option("basePath", files.root)
            .parquet(*files.paths)
            .select(*map(quoted, files.schema.names))
        )

    def relate(self, frame: Frame, plan: Plan, schema: pa.Schema) -> Frame:
        """See ``Engine.relate``."""
        with translated():
            found = plan(nw.from_native(self.dataframe(frame))).to_native()
            picked = found.select(*(quoted(name) for name in schema.names))
        return Frame(schema, picked, Work((), (Conform(schema),)))

    def group_map(
        self,
        frame: Frame,
        keys: Sequence[str],
        order: Sequence[str],
        fn: BatchFn,
        schema: pa.Schema,
    ) -> Frame:
        """See ``Engine.group_map``."""
        names = [quoted(name) for name in dict.fromkeys((*keys, *order))]
        with translated():
            # An explicit number of partitions, because AQE leaves those alone.
            ordered = (
                self.dataframe(frame)
                .repartition(frames.PARTS_PER_WORKER * self.workers(), *map(quoted, keys))
                .sortWithinPartitions(*names)
            )
        work = Work(tuple(keys), (Conform(frame.schema),))
        return Frame(frame.schema, ordered, work).then(fn, schema)

    def persist(self, frame: Frame) -> Frame:
        """See ``Engine.persist``."""
        with translated():
            kept = self._mapped(frame, Blobs(), BLOBS).persist(StorageLevel.MEMORY_AND_DISK)
            self._kept.append(kept)
            count = kept.select(F.spark_partition_id().alias("part")).distinct().count()
        return Frame(frame.schema, _Cached(kept, count))

    def fold(
        self,
        frame: Frame,
        step: Callable[..., State],
        merge: Callable[[State, State], State],
        beside: Sequence[Any] = (),
    ) -> State:
        """See ``Engine.fold``."""
        with translated():
            states = self._mapped(frame, Fold(step, tuple(beside)), STATES)
            count = self._partitions(frame)
            while count > frames.FAN_IN:
                states, count = _merged(states, count, merge)
            rows = states.toArrow()
        found = rows.sort_by("part").column("state")
        if not len(found):
            return step(iter(()))
        state: State = unpacked(found[0].as_py())
        for other in found[1:]:
            state = merge(state, unpacked(other.as_py()))
        return state

    def library_fit(
        self,
        frame: Frame,
        transform: Callable[[pa.RecordBatch], Block],
        params: LibraryParams,
        init: Sequence[Floats],
    ) -> Any:
        """See ``Engine.library_fit``: MLlib."""
        from segpipe.engines import sparkml

        del init  # MLlib's K-Means takes a seed, not centres
        return sparkml.fit(self, frame, transform, params)

    def _partitions(self, frame: Frame) -> int:
        """How many states a fold may bring, at most."""
        source = frame.source
        if isinstance(source, Parts):
            return len(source.groups)
        if isinstance(source, _Cached):
            return source.parts
        return int(self._spark.conf.get("spark.sql.shuffle.partitions"))

    def dataframe(self, frame: Frame) -> Any:
        """Rows as a Spark DataFrame, in the nearest types that Spark has."""
        return self._mapped(frame, Columns(portable(frame.schema)), portable(frame.schema))

    def _mapped(self, frame: Frame, out: Callable[[Batches], Batches], schema: pa.Schema) -> Any:
        """A DataFrame of what ``out`` makes of each part's batches."""
        source = frame.source
        opener: Callable[[Iterable[pa.RecordBatch]], Batches] = iter
        if isinstance(source, Parts):
            count = len(source.groups)
            # One row a partition: n rows in n partitions are spread evenly.
            native = self._spark.range(0, count, 1, numPartitions=max(count, 1))
            opener = Open(source)
        elif isinstance(source, _Cached):
            native, opener = source.blobs, unblob
        else:
            native = source
        return native.mapInArrow(Task(opener, frame.work, out), from_arrow_schema(schema))


@dataclass(frozen=True, slots=True)
class _Cached:
    """Persisted rows: a cached DataFrame with an Arrow stream in each cell."""

    blobs: Any
    parts: int
    """Partitions that hold rows."""


def _parallelism(spark: Any) -> int:
    """Spark's default parallelism."""
    try:
        return int(spark.sparkContext.defaultParallelism)
    except PySparkAttributeError:
        # Connect does not tell: one must look. A query costs two seconds where Spark is new.
        spread = spark.range(100_000).select(F.spark_partition_id().alias("part"))
        return int(spread.distinct().count())


def _merged(states: Any, count: int, merge: Callable[[Any, Any], Any]) -> tuple[Any, int]:
    """Fewer states, merged on the executors, neighbours with neighbours."""
    fewer = -(-count // frames.FAN_IN)
    by_run = (
        states.withColumn("within", F.col("part"))
        .withColumn("part", F.floor(F.col("within") / frames.FAN_IN))
        .repartition(fewer, "part")
        .sortWithinPartitions("part", "within")
    )
    return by_run.mapInArrow(Merge(merge), from_arrow_schema(STATES)), fewer


def portable(schema: pa.Schema) -> pa.Schema:
    """``schema`` in types that Spark has and that cast back without loss."""
    return pa.schema([pa.field(field.name, _portable(field.type)) for field in schema])


def _portable(kind: pa.DataType) -> pa.DataType:  # noqa: PLR0911  a table of types
    types = pa.types
    if types.is_dictionary(kind):
        return _portable(kind.value_type)
    if types.is_unsigned_integer(kind):
        wider = {8: pa.int16(), 16: pa.int32(), 32: pa.int64(), 64: pa.decimal128(20, 0)}
        return wider[kind.bit_width]
    if types.is_float16(kind):
        return pa.float32()
    if types.is_large_string(kind) or types.is_string_view(kind):
        return pa.string()
    if types.is_large_binary(kind) or types.is_fixed_size_binary(kind):
        return pa.binary()
    if types.is_timestamp(kind) and kind.unit != "us":
        return pa.int64() if kind.unit == "ns" else pa.timestamp("us", kind.tz)
    if types.is_duration(kind) or types.is_time64(kind):
        return pa.int64()
    if types.is_time32(kind):
        return pa.int32()
    if types.is_date64(kind):
        return pa.date32()
    if types.is_list(kind) or types.is_large_list(kind):
        return pa.list_(_portable(kind.value_type))
    if types.is_struct(kind):
        return pa.struct([pa.field(f.name, _portable(f.type)) for f in kind])
    return kind


def _texts(schema: pa.Schema) -> list[pa.Field]:
    return [pa.field(name, pa.string()) for name in schema.names]


def quoted(name: str) -> Any:
    """A column by its literal name: Spark reads dots as struct access otherwise."""
    return F.col("`" + name.replace("`", "``") + "`")
