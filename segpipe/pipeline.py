"""One run, from config to published labels: ``_run``, ``_learn``, ``deliver``.

Data flows one way: scan, judge and describe in one pass, select, detect, polish and tally,
calibrate, profile, write, commit. Nothing is visible before the commit; a failure at any point
leaves the last published state as it was.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

from segpipe import configfile
from segpipe.config import Config
from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.features.sets import SETS
from segpipe.interrupts import Interrupted, Interrupts
from segpipe.lake import record
from segpipe.lake.publish import open_target
from segpipe.lake.staging import check_run_id
from segpipe.lake.tables import count_rows, open_table
from segpipe.meter import Meter
from segpipe.models.fitted import Fitted
from segpipe.schema import AS_OF
from segpipe.scoring.calibrate import calibrate
from segpipe.scoring.tally import Tally
from segpipe.stages import (
    campaigns,
    deliver,
    described,
    intake,
    learn,
    narrate,
    orders,
    page,
    palette,
    proof,
    publish,
    register,
    rescore,
    stratum,
)
from segpipe.summary import blank, error_of, strict


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
            settings = settings_of(config, engine, overrides)
            if run_id is not None:
                check_run_id(run_id)
            opened = None if engine is None or isinstance(engine, str) else engine
            order = orders.Order(
                settings, mode, run_id or _new_id(), as_of, tuple(partitions), model, dry_run,
                opened, interrupts,
            )  # fmt: skip
            notes |= {"run_id": order.run_id, "job": settings.job, "engine": settings.engine.name}
            meter.context = {"run_id": order.run_id, "job": settings.job}
            step = palette.run_palette if settings.features.set == "pixels" else _run
            step(order, meter, notes)
            orders.close(order, meter, notes)
    except (Interrupted, KeyboardInterrupt) as stop:
        notes["status"] = "interrupted"
        orders.close(order, meter, notes)
        code = (stop if isinstance(stop, Interrupted) else Interrupted()).code
        raise RunFailed(strict(notes), code) from stop
    except Exception as error:
        notes["status"], notes["error"] = "failed", error_of(error)
        meter.say("error", notes["error"]["message"], hint=notes["error"]["hint"])
        orders.close(order, meter, notes)
        raise RunFailed(strict(notes), notes["error"]["code"]) from error
    return Run(strict(notes))


def _run(order: orders.Order, meter: Meter, notes: dict[str, Any]) -> None:
    c, featureset = order.config, SETS[order.config.features.set]
    grouped, day = bool(featureset.keys), intake.parse_day(order.as_of)
    with meter.stage("scan"):
        target = open_target(c.target.uri, c.target.format)
        table = open_table(
            c.source.uri, c.source.format, reading_of(c), c.source.where, order.partitions,
            c.source.columns,
        )  # fmt: skip
        if orders.nothing_to_do(order, target, table.snapshot, notes):
            return
    by = c.target.partition_by
    stamped = day is not None or AS_OF in by
    with orders.held(order, target, meter), orders.engine_of(order, meter) as engine:
        with meter.stage("contract"):
            table = engine.resolve(table) if c.source.format == "table" else table
            plan = orders.with_scratch(
                order, intake.plan_for(engine, table, c.source, c.contract, c.features)
            )
            carry = intake.carried_columns(
                table, orders.keep_of(c), grouped, orders.kept_of(c), plan
            )
            terms = intake.compiled(table, plan, c.source, c.contract, day, carry)
        if order.mode == "score" and rescore.at_once(
            terms, c.contract.duplicates, grouped or plan.shuffles, day, by
        ):
            rescore.rescore(
                order, meter, notes, target, engine, intake.unread(table, plan, terms, day)
            )
            return
        first = order.mode != "score" and not grouped and not plan.shuffles
        with meter.stage("describe" if first else "judge"):
            rows = None if table.filters else count_rows(table)
            looking = partial(
                described.looking, sample_rows=c.fit.sample_rows, seed=c.seed, rows=rows
            )
            taken = intake.take_in(
                engine, table, plan, terms, day, c.contract.duplicates, featureset,
                looking if first else None,
            )  # fmt: skip
            narrate.counts(notes, taken)
            intake.gates(taken, c.contract.max_reject_share, order.mode != "score" and not grouped)
        with meter.stage("features"):
            built = intake.with_constants(
                engine, taken.build(engine, featureset), order.partitions, c.target.partition_by
            )
            if stamped and taken.as_of is None:
                raise ConfigError(
                    "target.partition_by names as_of, but no day is known.",
                    "Give --as-of, or map a time column to ts under source.columns.",
                )
            publish.label_schema(built, orders.keep_of(c), c.target.partition_by, stamped)
        job = deliver.Job(order, meter, notes, target, engine, taken, built, rows)
        fitted, tally = rescore.reuse(job) if order.mode == "score" else _learn(job)
        if order.dry_run:
            notes["status"] = "dry_run"
        elif order.mode != "fit":
            deliver.deliver(job, fitted, tally, stamped)


def _learn(job: deliver.Job) -> tuple[Fitted, Tally]:
    """Fit on the sample, polish and count on all rows, name, and write model and report."""
    order, meter, notes, engine, built = job.order, job.meter, job.notes, job.engine, job.built
    c, featureset = order.config, SETS[order.config.features.set]
    column = stratum.column_of(built, c.outliers.stratum)
    with meter.stage("describe"):
        known = None if featureset.keys else job.rows
        step = described.looking(built, c.fit.sample_rows, c.seed, known)
        seen = described.look(
            engine, built, featureset, c.features.scale, job.taken.plan.required,
            c.features.columns is not None, step, job.taken.found,
        )  # fmt: skip
        notes["warnings"] = seen.warnings(notes["warnings"])
    with meter.stage("select"):
        decision = learn.choose(seen, c.fit, c.seed)
    method, threshold = orders.method_of(c), c.outliers.threshold.model_dump(exclude_none=True)
    detect = partial(
        learn.detect, seen, mass=c.outliers.mass,
        collapse=orders.collapse_of(c, built.schema.names),
        density_rows=c.fit.density_rows, min_share=c.fit.min_share, seed=c.seed,
    )  # fmt: skip
    spool = deliver.spool_for(job, seen.description.rows)
    # Only the segment score asks how the polished model labels; the others are ready before.
    early = "none" if method == "segment" else method
    with meter.stage("detect"):
        detector = detect(model=decision.model, method=early)
        watch = learn.watch_for(built, seen, detector, threshold, spool)
    with meter.stage("polish"):
        model, tally = learn.settle(engine, built, seen, c.fit, decision, watch, c.seed)
    if method == "segment":
        detector, tally = detect(model=model, method=method), None
        watch = learn.watch_for(built, seen, detector, threshold, spool)
    with meter.stage("count"):
        tally = learn.count(engine, built, seen, model, watch) if tally is None else tally
        calibration = (
            None if detector is None else calibrate(tally, watch.edges, threshold, detector.method)
        )
    with meter.stage("profile"):
        strata = stratum.fit_strata(
            engine, built, seen, detector, watch.edges, column, calibration, notes
        )
        told = narrate.told(seen, model, tally, built)
        notes["warnings"] += proof.doubts(c.fit, decision, tally)
        checked = proof.validated(seen, model, c.fit, decision.evidence, c.seed)
        checked |= narrate.ranking(told, seen, built)
        decision = replace(decision, evidence=decision.evidence | {"validation": checked})
        narrate.learnt(notes, decision, model, c.fit.library, tally, seen, calibration)
        stratum.narrate_strata(notes, strata)
        notes["segments"] = told.segments
        identity = register.model_id(orders.run_key(order, job.taken.table.snapshot, ""))
        fitted = register.fitted_of(
            identity, c.features.set, job.taken.plan, built, seen.scaler, model, detector,
            calibration, told.names, notes["quality"], seen.weight_scale,
            None if strata is None else strata.strata,
        )  # fmt: skip
    if order.dry_run:
        return fitted, tally
    with meter.stage("report"):
        uri, run_id = job.target.uri, order.run_id
        notes["seconds"] = dict(meter.seconds)  # so far: the page shows them
        notes["model_uri"] = register.save_fitted(uri, fitted)
        notes["decision"] = record.write_json(uri, run_id, "decision", decision.evidence)
        groups = campaigns.find(engine, built, fitted, tally.scores.spools, c.seed)
        if groups is not None:
            notes["campaigns"] = record.write_json(uri, run_id, "campaigns", groups)
        notes["report"] = page.write_report(
            uri, run_id, notes, told, seen, built, tally, fitted, decision.evidence,
            c.report.min_group, c.source.uri, () if groups is None else groups["campaigns"],
        )  # fmt: skip
    notes["status"] = "done" if order.mode == "fit" else notes["status"]
    return fitted, tally


def settings_of(config: Any, engine: str | Engine | None, overrides: tuple[str, ...]) -> Config:
    """The config from a path or a tree, with the caller's engine and overrides."""
    name = engine if engine is None or isinstance(engine, str) else engine.name
    if isinstance(config, Mapping):
        tree = {k: dict(v) if isinstance(v, Mapping) else v for k, v in config.items()}
        if name is not None:
            tree["engine"] = {**tree.get("engine", {}), "name": name}
        return configfile.validate(tree)
    return configfile.load(config, [*overrides, *([f"engine.name={name}"] if name else [])])


def reading_of(c: Config) -> dict[str, Any]:
    """source.options for the reader."""
    # time_format belongs to the contract, which types the text; the reader would refuse it
    return {k: v for k, v in c.source.options.items() if k != "time_format"}


def _new_id() -> str:
    return f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:8]}"
