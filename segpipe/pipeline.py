"""One run, from config to published labels: ``_run``, ``_learn``, ``_publish``.

Data flows one way: scan, contract, features, describe, select and polish, detect, count and
calibrate, profile, write, commit. Nothing is visible before the commit; a failure at any point
leaves the last published state as it was.
"""

from __future__ import annotations

import contextlib
import os
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from segpipe import config as configs
from segpipe.config import Config
from segpipe.engines.open import open_engine
from segpipe.engines.protocol import Engine
from segpipe.errors import SegpipeError
from segpipe.features.plan import Built
from segpipe.features.sets import SETS
from segpipe.interrupts import Interrupted, Interrupts
from segpipe.lake import record
from segpipe.lake.lease import lease, sweep
from segpipe.lake.publish import Target, open_target
from segpipe.lake.staging import Writer, check_run_id
from segpipe.lake.tables import open_table
from segpipe.lake.uris import absolute
from segpipe.meter import Meter
from segpipe.models.fitted import Fitted
from segpipe.schema import AS_OF
from segpipe.stages import intake, learn, narrate, palette, publish, register
from segpipe.summary import blank, error_of, strict
from segpipe.values import StagedFile


@dataclass(frozen=True)
class Run:
    """What a finished run left behind."""

    summary: dict[str, Any]

    @property
    def labels(self) -> Any:
        """The published label table, a pyarrow dataset; None where nothing was published."""
        from segpipe.lake.publish import read_labels

        uri = self.summary["labels"]["uri"]
        return None if uri is None else read_labels(uri, self.summary["labels"]["format"])

    @property
    def report(self) -> str | None:
        """Path of the HTML report."""
        path: str | None = self.summary["report"]
        return path


class RunFailed(Exception):
    """A run ended without success; ``summary`` is what would have been printed."""

    def __init__(self, summary: dict[str, Any], code: int) -> None:
        super().__init__((summary["error"] or {}).get("message", summary["status"]))
        self.summary, self.code = summary, code


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


@dataclass(frozen=True)
class Job:
    """An order at work: its rows are judged and described."""

    order: Order
    meter: Meter
    notes: dict[str, Any]
    target: Target
    engine: Engine
    taken: intake.Intake
    built: Built


def run(config: Any, **options: Any) -> Run:
    """Fit, score, label and publish. ``config``: a path or a tree; options as of ``execute``."""
    return execute(mode="run", config=config, **options)


def fit(config: Any, **options: Any) -> Run:
    """Fit and register a model only."""
    return execute(mode="fit", config=config, **options)


def score(config: Any, model: str, **options: Any) -> Run:
    """Label with a fitted model and its frozen calibration."""
    return execute(mode="score", config=config, model=model, **options)


def execute(
    *,
    mode: str,
    config: Any,
    engine: str | Engine | None = None,
    as_of: str | None = None,
    partitions: tuple[str, ...] = (),
    run_id: str | None = None,
    overrides: tuple[str, ...] = (),
    model: str | None = None,
    dry_run: bool = False,
) -> Run:
    """Run in ``mode`` run | fit | score.

    Parameters
    ----------
    config : path of a YAML file, or the tree itself
    engine : a name, or an engine that the caller opened and closes
    as_of : last day of the window, UTC; partitions : ``COLUMN=VALUE`` each

    Raises
    ------
    RunFailed
        For every failure; it holds the summary and the exit code, its cause is the error.
    """
    meter, notes, interrupts = Meter(), blank(mode), Interrupts()
    order = None
    try:
        with interrupts.watched():
            settings = _settings(config, engine, overrides)
            if run_id is not None:
                check_run_id(run_id)
            opened = None if engine is None or isinstance(engine, str) else engine
            order = Order(
                settings, mode, run_id or _new_id(), as_of, tuple(partitions), model, dry_run,
                opened, interrupts,
            )  # fmt: skip
            notes |= {"run_id": order.run_id, "job": settings.job, "engine": settings.engine.name}
            meter.context = {"run_id": order.run_id, "job": settings.job}
            step = palette.run_palette if settings.features.set == "pixels" else _run
            step(order, meter, notes)
            _close(order, meter, notes)
    except (Interrupted, KeyboardInterrupt) as stop:
        notes["status"] = "interrupted"
        _close(order, meter, notes)
        code = (stop if isinstance(stop, Interrupted) else Interrupted()).code
        raise RunFailed(strict(notes), code) from stop
    except Exception as error:
        notes["status"], notes["error"] = "failed", error_of(error)
        meter.say("error", notes["error"]["message"], hint=notes["error"]["hint"])
        _close(order, meter, notes)
        raise RunFailed(strict(notes), notes["error"]["code"]) from error
    return Run(strict(notes))


def _run(order: Order, meter: Meter, notes: dict[str, Any]) -> None:
    c, featureset = order.config, SETS[order.config.features.set]
    grouped, day = bool(featureset.keys), intake.parse_day(order.as_of)
    with meter.stage("scan"):
        target = open_target(c.target.uri, c.target.format)
        table = open_table(
            c.source.uri, c.source.format, _reading(c), c.source.where, order.partitions,
            c.source.columns,
        )  # fmt: skip
        if _nothing_to_do(order, target, table.snapshot, notes):
            return
    with _held(order, target, meter), _engine(order, meter) as engine:
        with meter.stage("contract"):
            table = engine.resolve(table) if c.source.format == "table" else table
            plan = intake.plan_for(engine, table, c.source, c.contract, c.features)
            carry = intake.carried_columns(table, _keep(c), grouped, c.target.partition_by, plan)
            terms = intake.compiled(table, plan, c.source, c.contract, day, carry)
            taken = intake.take_in(
                engine, table, plan, terms, day, c.contract.duplicates,
                c.contract.max_reject_share, grouped,
            )  # fmt: skip
            narrate.counts(notes, taken)
        with meter.stage("features"):
            built = intake.with_constants(
                engine, taken.build(engine, featureset), order.partitions, c.target.partition_by
            )
        job = Job(order, meter, notes, target, engine, taken, built)
        fitted, total = _reuse(job) if order.mode == "score" else _learn(job)
        if order.dry_run:
            notes["status"] = "dry_run"
        elif order.mode != "fit":
            _publish(job, fitted, total, day is not None)


def _learn(job: Job) -> tuple[Fitted, int]:
    """Fit on the sample, polish and count on all rows, name, and write model and report."""
    order, meter, notes, engine, built = job.order, job.meter, job.notes, job.engine, job.built
    c, featureset = order.config, SETS[order.config.features.set]
    with meter.stage("describe"):
        seen = learn.look(
            engine, built, featureset, c.features.scale, job.taken.plan.required,
            c.features.columns is not None, c.fit.sample_rows, c.seed,
        )  # fmt: skip
        notes["warnings"] = seen.warnings(notes["warnings"])
    with meter.stage("select"):
        decision = learn.choose(seen, c.fit, c.seed)
    with meter.stage("polish"):
        model = learn.settle(engine, built, seen, c.fit, decision, c.seed)
    with meter.stage("detect"):
        detector = learn.detect(
            seen, model, c.outliers.mass, _method(c), _collapse(c), c.fit.density_rows,
            c.fit.min_share, c.seed,
        )  # fmt: skip
    with meter.stage("count"):
        threshold = c.outliers.threshold.model_dump(exclude_none=True)
        tally, calibration = learn.count(engine, built, seen, model, detector, threshold)
    with meter.stage("profile"):
        told = narrate.told(seen, model, tally, built)
        narrate.learnt(notes, decision, model, c.fit.library, tally, seen, calibration)
        notes["segments"] = told.segments
        identity = register.model_id(_run_key(order, job.taken.table.snapshot, ""))
        fitted = register.fitted_of(
            identity, c.features.set, job.taken.plan, built, seen.scaler, model, detector,
            calibration, told.names, notes["quality"],
        )  # fmt: skip
    if order.dry_run:
        return fitted, tally.total
    with meter.stage("report"):
        uri, run_id = job.target.uri, order.run_id
        notes["model_uri"] = register.save_fitted(uri, fitted)
        notes["decision"] = record.write_json(uri, run_id, "decision", decision.evidence)
        notes["report"] = narrate.write_report(
            uri, run_id, notes, told, seen, built, tally, fitted, decision.evidence,
            c.report.min_group, c.source.uri,
        )  # fmt: skip
    notes["status"] = "done" if order.mode == "fit" else notes["status"]
    return fitted, tally.total


def _reuse(job: Job) -> tuple[Fitted, int]:
    """Take the fitted model as it is; one pass counts what it says of these rows."""
    with job.meter.stage("score"):
        place = str(job.order.model)
        fitted = register.load_fitted(place)
        register.check_same_features(fitted, job.order.config.features.set, job.built.schema.names)
        tally, flagged = learn.recount(job.engine, job.built, fitted)
        narrate.scored(job.notes, fitted, tally, flagged)
        job.notes["model_uri"] = absolute(place)
    return fitted, tally.total


def _publish(job: Job, fitted: Fitted, total: int, dated: bool) -> None:
    """Set rejected rows aside, write the label table's files, commit them in one step."""
    order, meter, notes, target = job.order, job.meter, job.notes, job.target
    c, by = order.config, order.config.target.partition_by
    with meter.stage("rejects"):
        place = record.rejects_folder(target.uri, order.run_id)
        writer = Writer(place, order.run_id, (), job.taken.contract.reject_schema)
        if job.taken.stage_rejects(job.engine, writer):
            notes["rejects"] |= {"uri": place, "format": "parquet"}
    with meter.stage("write"):
        present = publish.presenter(
            job.built, fitted, _keep(c), by, order.run_id, job.taken.as_of, dated or AS_OF in by
        )
        files = publish.write(job.engine, job.built, present, target, order.run_id, by)
        notes["rows_labelled"] = sum(f.rows for f in files)
        narrate.conserved(notes, total, not job.built.as_rows)
    _commit(order, meter, notes, target, files, present.schema, job.taken.table.snapshot, fitted)


def _commit(
    order: Order,
    meter: Meter,
    notes: dict[str, Any],
    target: Target,
    files: Sequence[StagedFile],
    schema: pa.Schema,
    snapshot: str,
    fitted: Fitted,
) -> None:
    with meter.stage("commit"):
        notes["record"] = _record(order, meter, notes, "committing")
        order.interrupts.hold()
        metadata = {
            "run_id": order.run_id,
            "run_key": _run_key(order, snapshot),
            "model_id": fitted.model_id,
        }
        done = target.commit(files, schema, order.config.target.partition_by, metadata)
        notes["labels"] = {"uri": target.uri, "format": target.format, "version": done.version}
        notes["status"] = "already_done" if done.already else "done"
        if done.already:  # another run of the same key was faster
            _record(order, meter, notes, notes["status"])
        target.clean(order.run_id, order.started)
        sweep(target.uri)


def _nothing_to_do(order: Order, target: Target, snapshot: str, notes: dict[str, Any]) -> bool:
    """Refuse a target that cannot take the labels; whether they are published already."""
    if order.dry_run:
        return False
    target.check(order.config.target.partition_by)
    if order.mode == "fit":
        return False
    return _already(order, target, _run_key(order, snapshot), notes)


def check(path: str, engine: str | None, overrides: tuple[str, ...]) -> list[tuple[int, str]]:
    """Every problem of a config with its source and target, as (exit code, sentence)."""
    found: list[tuple[int, str]] = []

    @contextlib.contextmanager
    def noting() -> Iterator[None]:
        try:
            yield
        except SegpipeError as error:
            found.append((error.code, str(error)))

    with noting():
        c = _settings(path, engine, overrides)
        with noting():
            open_target(c.target.uri, c.target.format).check(c.target.partition_by)
        with noting():
            if c.source.format == "image":
                palette.open_image(c.source.uri)
                return found
            table = open_table(
                c.source.uri, c.source.format, _reading(c), c.source.where, (), c.source.columns
            )
            if c.source.format == "table":
                return found  # the catalogue answers to its engine only
            with open_engine("local") as local:
                plan = intake.plan_for(local, table, c.source, c.contract, c.features)
            grouped = bool(SETS[c.features.set].keys)
            carry = intake.carried_columns(table, _keep(c), grouped, c.target.partition_by, plan)
            intake.compiled(table, plan, c.source, c.contract, None, carry)
    return found


def _settings(config: Any, engine: str | Engine | None, overrides: tuple[str, ...]) -> Config:
    name = engine if engine is None or isinstance(engine, str) else engine.name
    if isinstance(config, Mapping):
        tree = {k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}
        if name is not None:
            tree["engine"] = {**tree.get("engine", {}), "name": name}
        return configs.validate(tree)
    return configs.load(config, [*overrides, *([f"engine.name={name}"] if name else [])])


def _reading(c: Config) -> dict[str, Any]:
    # time_format belongs to the contract, which types the text; the reader would refuse it
    return {k: v for k, v in c.source.options.items() if k != "time_format"}


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"


def _keep(c: Config) -> str:
    if c.target.keep != "auto":
        return c.target.keep
    return "all" if c.features.set == "connections" else "features"


def _method(c: Config) -> str:
    if c.outliers.method != "auto":
        return c.outliers.method
    return "ensemble" if c.features.set == "connections" else "mass"


def _collapse(c: Config) -> str:
    if c.outliers.collapse != "auto":
        return c.outliers.collapse
    return "exact" if c.features.set == "connections" else "none"


def _run_key(order: Order, snapshot: str, engine: str | None = None) -> str:
    """What decides the labels; with ``engine`` "" what decides the model, wherever it is fitted."""
    c = order.config
    decides = {"source", "contract", "features", "fit", "outliers", "seed"}
    decides |= {"target"} if engine is None else set()
    held = c.model_dump(include=decides) | ({"mode": order.mode} if engine is None else {})
    if order.model:
        held["model"] = register.load_fitted(order.model).model_id
    where = c.engine.name if engine is None else engine
    return record.run_key(held, snapshot, order.as_of, order.partitions, where)


def _already(order: Order, target: Target, key: str, notes: dict[str, Any]) -> bool:
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
def _engine(order: Order, meter: Meter) -> Iterator[Engine]:
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
def _held(order: Order, target: Target, meter: Meter) -> Iterator[None]:
    """The run is alive; if it fails before its commit, it takes its unpublished files away."""
    if order.dry_run:
        yield
        return
    with lease(target.uri, order.run_id):
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


def _record(order: Order, meter: Meter, notes: Mapping[str, Any], status: str) -> str:
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


def _close(order: Order | None, meter: Meter, notes: dict[str, Any]) -> None:
    meter.close()
    notes["seconds"], notes["peak_rss_mb"] = dict(meter.seconds), meter.peak_mb
    if order is None or order.dry_run or notes["status"] == "already_done":
        return
    # A failure is recorded beside the labels where that is possible; the error itself matters more.
    if notes["status"] in ("done", "failed", "interrupted") and (
        notes["status"] == "done" or Path(order.config.target.uri).is_dir()
    ):
        with contextlib.suppress(SegpipeError, OSError):
            notes["record"] = _record(order, meter, notes, notes["status"])
