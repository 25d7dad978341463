"""Where a Spark session comes from, and how a missing master is told in bounded time."""

from __future__ import annotations

import contextlib
import os
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Any

from py4j.protocol import Py4JError
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

import segpipe
from segpipe.engines import frames, jdk, reach, sparkerrors
from segpipe.errors import ConfigError, TemporaryError

_LOG4J = """\
status = fatal
rootLogger.level = error
rootLogger.appenderRef.stderr.ref = stderr
appender.stderr.type = Console
appender.stderr.name = stderr
appender.stderr.target = SYSTEM_ERR
appender.stderr.layout.type = PatternLayout
appender.stderr.layout.pattern = %d{yy/MM/dd HH:mm:ss} %p %c{1}: %m%n
# Spark resets the root level and says so, unless this logger has the same one.
logger.gateway.name = org.apache.spark.api.python.PythonGatewayServer
logger.gateway.level = error
# The driver raises the same error, once and in full.
logger.task.name = org.apache.spark.executor.Executor
logger.task.level = off
logger.set.name = org.apache.spark.scheduler.TaskSetManager
logger.set.level = off
"""
SESSION = {
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.ansi.enabled": "true",
    "spark.sql.execution.arrow.maxRecordsPerBatch": "65536",
}
"""Set on every session, the caller's too: the same types and errors everywhere."""
_ONE_THREAD = {
    f"spark.executorEnv.{library}_NUM_THREADS": "1"
    for library in ("OMP", "MKL", "OPENBLAS", "NUMBA")
}


@dataclass(frozen=True, slots=True)
class Opened:
    """A session, and whether it is ours to stop; leaving the ``with`` block stops it."""

    spark: SparkSession
    ours: bool

    def __enter__(self) -> SparkSession:
        return self.spark

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        if self.ours:
            # A session that was lost cannot be stopped, and need not be.
            with contextlib.suppress(Py4JError, PySparkException, OSError):
                self.spark.stop()
        return isinstance(error, Py4JError | PySparkException | OSError)


def open_session(conf: Mapping[str, Any], memory: int, asked: str | int) -> Opened:
    """The active session; under spark-submit the submitted one; else Connect, a master, or here.

    ``memory``: bytes for an embedded driver, used as it is if ``asked`` is not ``auto``.

    Raises
    ------
    TemporaryError
        The master does not answer.
    ConfigError
        No Java, or Spark refuses a conf key.
    """
    settings = {key: _text(value) for key, value in conf.items()}
    remote = settings.pop("spark.remote", None) or os.environ.get("SPARK_REMOTE")
    where = remote or settings.get("spark.master") or "local[*]"
    _probe(where)
    active = None if remote else SparkSession.getActiveSession()
    if active is not None:
        _same_master(active, settings.get("spark.master"))
        return Opened(_configured(active, settings), False)
    try:
        if "PYSPARK_GATEWAY_PORT" in os.environ:  # spark-submit: the JVM runs, its master is chosen
            spark = _built(settings)
        else:
            spark = _launched(settings, remote, where, memory, asked)
    except (Py4JError, PySparkException, OSError, RuntimeError) as error:
        if where.startswith("local"):
            raise ConfigError(
                f"Spark did not start: {_first_line(error)}", "look at engine.spark and Java"
            ) from error
        raise TemporaryError(
            f"no Spark cluster answers at {_shown(where)}: {_first_line(error)}",
            "start it, or correct engine.spark",
        ) from error
    return Opened(_configured(spark, {}), True)


def _launched(
    settings: dict[str, str], remote: str | None, where: str, memory: int, asked: str | int
) -> SparkSession:
    """A session whose JVM, if it needs one, this process starts."""
    if remote and not remote.startswith("local"):
        builder = SparkSession.builder.remote(remote)
        return builder.config(map=settings).getOrCreate()
    folder = Path(_folder().name)
    log = folder / "log4j2.properties"
    log.write_text(_LOG4J)
    environ = {"JAVA_HOME": str(jdk.java_home(folder))}
    if where.startswith("local"):
        # This Python, and the segpipe that runs here even if it is not installed.
        environ["PYSPARK_PYTHON"] = environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
        path = [str(Path(segpipe.__file__).parent.parent), os.environ.get("PYTHONPATH", "")]
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, path))
    defaults = {
        **_ONE_THREAD,
        "spark.app.name": "segpipe",
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.extraJavaOptions": f"-Dlog4j2.configurationFile={log}",
    }
    if where.startswith("local"):
        # Half of what may be used: the Python workers need the other half.
        size = memory // 2 if asked != "auto" else min(memory // 2, 4 * 2**30)
        defaults["spark.driver.memory"] = f"{max(size, 2**30) >> 20}m"
        # Spark's 200 would be 200 Python workers' worth of overhead on one machine.
        defaults["spark.sql.shuffle.partitions"] = str(4 * frames.cores())
        defaults["spark.driver.host"] = defaults["spark.driver.bindAddress"] = "127.0.0.1"
    if remote is None:
        defaults["spark.master"] = where
    with _environment(environ):
        return _built({**defaults, **settings}, remote)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """Removed when this process ends: the JVM lives as long, and starts executors with the shim."""
    return tempfile.TemporaryDirectory(prefix="segpipe-spark-")


def _built(settings: Mapping[str, str], remote: str | None = None) -> SparkSession:
    builder = SparkSession.builder
    if remote:
        builder = builder.remote(remote)
    return builder.config(map=dict(settings)).getOrCreate()


def _configured(spark: SparkSession, settings: Mapping[str, str]) -> SparkSession:
    for key, value in {**SESSION, **settings}.items():
        try:
            spark.conf.set(key, value)
        except PySparkException as error:
            # A session that runs already: static keys were chosen by whoever started it.
            if key in SESSION and "arrow" not in key:
                raise ConfigError(
                    f"this Spark session refuses {key}={value}: {_first_line(error)}",
                    "segpipe needs UTC and ANSI arithmetic for equal results",
                ) from error
    return spark


def _same_master(active: SparkSession, asked: str | None) -> None:
    """A process has one Spark; another master than its own cannot be had."""
    running = active.conf.get("spark.master", None)
    if asked and running and asked != running:
        raise ConfigError(
            f"engine.spark asks for spark.master {asked}; this process runs Spark on {running}.",
            "stop that session first, or leave spark.master out",
        )


def _probe(where: str) -> None:
    """Spark takes a minute to give up on a standalone master; a socket knows at once."""
    found = re.match(r"(spark|sc)://([^/;]+)", where)
    if not found:
        return
    port = 15002 if found.group(1) == "sc" else 7077
    if reasons := reach.silence(found.group(2).split(","), port):
        raise TemporaryError(
            f"no Spark cluster answers at {_shown(where)} ({reasons}).",
            "start it, or correct engine.spark",
        )


def _shown(where: str) -> str:
    """An address without what follows the host: Connect puts tokens there."""
    found = re.match(r"\w+://[^/;]+", where)
    return found.group(0) if found else where


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _first_line(error: BaseException) -> str:
    known = sparkerrors.known(error)
    return str(known or error).strip().splitlines()[0] if str(error).strip() else repr(error)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    """Variables that a child process must see, and nobody later."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
