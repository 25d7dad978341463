"""One order of work: what was asked, when it is already done, who works, what is recorded.

Shared by every kind of run (``pipeline``, ``stages.palette``).
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from segpipe.config import Config
from segpipe.engines.open import open_engine
from segpipe.engines.protocol import Engine
from segpipe.errors import DataError, SegpipeError
from segpipe.features.plan import Plan
from segpipe.interrupts import Interrupts
from segpipe.lake import record
from segpipe.lake.lease import lease, sweep
from segpipe.lake.publish import Target
from segpipe.lake.scratch import Scratch
from segpipe.lake.spool import spool_folder, spooling
from segpipe.meter import Meter
from segpipe.models.fitted import Fitted
from segpipe.scoring.collapse import BURST
from segpipe.stages import register
from segpipe.values import StagedFile


@dataclass
class Order:
    """What was asked of one run."""

    config: Config
    mode: str
    run_id: str
    as_of: str | None
    partitions: tuple[str, ...]
    model: str | None
    dry_run: bool
    engine: Engine | None
    interrupts: Interrupts
    started: float = field(default_factory=time.time)


def keep_of(c: Config) -> str:
    """Source columns in the label table: all for log rows, the features otherwise."""
    if c.target.keep != "auto":
        return c.target.keep
    return "all" if c.features.set == "connections" else "features"


def kept_of(c: Config) -> list[str]:
    """Source columns that travel with their rows whatever ``target.keep`` says."""
    return [*c.target.partition_by, *([c.outliers.stratum] if c.outliers.stratum else [])]


def method_of(c: Config) -> str:
    """The outlier method; auto depends on the feature set."""
    if c.outliers.method != "auto":
        return c.outliers.method
    return "ensemble" if c.features.set in ("connections", "hosts") else "mass"


def collapse_of(c: Config, columns: Collection[str]) -> str:
    """What duplicates mean to the outlier reference: log rows repeat, customers do not.

    ``columns`` : of the feature table.

    Raises
    ------
    DataError
        Bursts are asked for where nothing tells them.
    """
    asked, told = c.outliers.collapse, BURST in columns
    if asked == "bursts" and not told:
        raise DataError(
            f"outliers.collapse bursts needs ts, src and dst in features.set connections; "
            f"features.set {c.features.set} of this source gives no bursts.",
            "Map them under source.columns, or take exact or none.",
        )
    if asked != "auto":
        return asked
    if c.features.set != "connections":
        return "none"
    return "bursts" if told else "exact"


def with_scratch(order: Order, plan: Plan) -> Plan:
    """The plan with the folder in which the run's tasks leave files for one another."""
    folder = spool_folder(order.config.target.uri, order.run_id)
    asked = replace(plan.request, scratch=Scratch(folder))
    if order.config.outliers.collapse != "bursts" or order.config.features.set != "connections":
        return replace(plan, request=asked)
    return replace(plan, request=replace(asked, bursts=True), shuffles=True)


def run_key(order: Order, snapshot: str, engine: str | None = None) -> str:
    """What decides the labels; with ``engine`` "" what decides the model, wherever it is fitted."""
    c = order.config
    decides = {"source", "contract", "features", "fit", "outliers", "seed"}
    decides |= {"target"} if engine is None else set()
    held = c.model_dump(include=decides) | ({"mode": order.mode} if engine is None else {})
    if order.model:
        held["model"] = register.load_fitted(order.model).model_id
    where = c.engine.name if engine is None else engine
    return record.run_key(held, snapshot, order.as_of, order.partitions, where)


def already(order: Order, target: Target, key: str, notes: dict[str, Any]) -> bool:
    """Whether this key (or run id) is published and current; then ``notes`` tell that run."""
    earlier = target.current(key, order.run_id)
    if earlier is None:
        return False
    labels = {"uri": target.uri, "format": target.format, "version": earlier.version}
    try:
        held = record.read_json(target.uri, earlier.run_id, "record")
        told = held["summary"]
        if held["status"] == "committing":  # it was killed between the commit and its last word
            told |= {"status": "done", "labels": labels}
            record.write_json(target.uri, earlier.run_id, "record", {**held, "status": "done"})
    except SegpipeError:
        told = {}  # the publication stands even where its record was removed
    keep = ("seconds", "peak_rss_mb", "mode", "job", "engine")
    notes |= {k: v for k, v in told.items() if k not in keep}
    notes["status"], notes["error"], notes["labels"] = "already_done", None, labels
    if earlier.run_key != key:
        notes["warnings"] = [
            *notes["warnings"],
            f"run id {order.run_id} was published before with another config or source; "
            "give a new id to publish this one",
        ]
    return True


@contextlib.contextmanager
def engine_of(order: Order, meter: Meter) -> Iterator[Engine]:
    """The caller's engine, or one opened for this run and closed after it."""
    if order.engine is not None:
        yield order.engine
        return
    with meter.stage("engine"):
        engine = open_engine(**order.config.engine.arguments())
        order.interrupts.renew()
    try:
        yield engine
    finally:
        engine.close()


@contextlib.contextmanager
def held(order: Order, target: Target, meter: Meter) -> Iterator[None]:
    """The run is alive; if it fails before its commit, it takes its unpublished files away."""
    if order.dry_run:
        with spooling(target.uri, order.run_id, trace=False):
            yield
        return
    with lease(target.uri, order.run_id), spooling(target.uri, order.run_id):
        try:
            yield
        except BaseException:
            # A commit that failed may still land on an object store: its files stay.
            if not order.interrupts.held:
                _tidy(order, target, meter)
            raise


def _tidy(order: Order, target: Target, meter: Meter) -> None:
    try:
        target.clean(order.run_id, order.started)
    except Exception as error:  # what failed the run matters more; the next run cleans
        meter.say("warning", f"unpublished files of {order.run_id} stay: {error}")


def write_record(order: Order, meter: Meter, notes: Mapping[str, Any], status: str) -> str:
    """Write the run record; returns its address."""
    return record.write_json(
        order.config.target.uri,
        order.run_id,
        "record",
        {
            "run_id": order.run_id,
            "status": status,
            "started": datetime.fromtimestamp(order.started, UTC).isoformat(),
            "config": order.config.model_dump(),
            "as_of": order.as_of,
            "partitions": list(order.partitions),
            "host_pid": os.getpid(),
            "summary": {**notes, "seconds": meter.seconds, "peak_rss_mb": meter.peak_mb},
        },
    )


def close(order: Order | None, meter: Meter, notes: dict[str, Any]) -> None:
    """Last numbers and the record; nothing is recorded of a dry or repeated run."""
    meter.close()
    notes["seconds"], notes["peak_rss_mb"] = dict(meter.seconds), meter.peak_mb
    if order is None or order.dry_run or notes["status"] == "already_done":
        return
    # A failure is recorded beside the labels where that is possible; the error itself matters more.
    if notes["status"] in ("done", "failed", "interrupted") and (
        notes["status"] == "done" or Path(order.config.target.uri).is_dir()
    ):
        with contextlib.suppress(SegpipeError, OSError):
            notes["record"] = write_record(order, meter, notes, notes["status"])


def commit(
    order: Order,
    meter: Meter,
    notes: dict[str, Any],
    target: Target,
    files: Sequence[StagedFile],
    schema: pa.Schema,
    snapshot: str,
    fitted: Fitted,
) -> None:
    """Publish the staged files in one step; from here on signals wait."""
    with meter.stage("commit"):
        notes["record"] = write_record(order, meter, notes, "committing")
        order.interrupts.hold()
        metadata = {
            "run_id": order.run_id,
            "run_key": run_key(order, snapshot),
            "model_id": fitted.model_id,
        }
        done = target.commit(files, schema, order.config.target.partition_by, metadata)
        notes["labels"] = {"uri": target.uri, "format": target.format, "version": done.version}
        notes["status"] = "already_done" if done.already else "done"
        if done.already:  # another run of the same key was faster
            write_record(order, meter, notes, notes["status"])
        target.clean(order.run_id, order.started)
        sweep(target.uri)


def nothing_to_do(order: Order, target: Target, snapshot: str, notes: dict[str, Any]) -> bool:
    """Refuse a target that cannot take the labels; whether they are published already."""
    if order.dry_run:
        return False
    target.check(order.config.target.partition_by)
    if order.mode == "fit":
        return False
    return already(order, target, run_key(order, snapshot), notes)
