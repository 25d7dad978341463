"""Deliver: a job's rejected rows, label files and commit; where its scores wait meanwhile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from segpipe.engines.protocol import Engine
from segpipe.features.plan import Built
from segpipe.lake import record
from segpipe.lake.publish import Target
from segpipe.lake.spool import Spool, spool_folder
from segpipe.lake.staging import Writer
from segpipe.meter import Meter
from segpipe.models.fitted import Fitted
from segpipe.scoring.tally import Tally
from segpipe.stages import narrate, orders, publish
from segpipe.stages.intake import Intake
from segpipe.values import StagedFile

SPOOLED_ROWS = 1_000_000
"""Smaller tables are scored again while they are written: it takes a second at most."""


@dataclass(frozen=True)
class Job:
    """An order at work: its rows are judged and described."""

    order: orders.Order
    meter: Meter
    notes: dict[str, Any]
    target: Target
    engine: Engine
    taken: Intake
    built: Built
    rows: int | None
    """Of the source, where the files tell and nothing filters them."""


def spool_for(job: Job, rows: int) -> Spool | None:
    """Where the scores of a large table wait for the pass that writes them."""
    order = job.order
    if order.dry_run or order.mode == "fit" or rows < SPOOLED_ROWS:
        return None
    if not job.engine.parts(job.built.frame):
        return None  # a query may bring its rows in another order next time
    return Spool(spool_folder(job.target.uri, order.run_id))


def deliver(job: Job, fitted: Fitted, tally: Tally, stamped: bool) -> None:
    """Set rejected rows aside, write the label table's files, commit them in one step."""
    order, by = job.order, job.order.config.target.partition_by
    set_aside(job)
    with job.meter.stage("write"):
        present = publish.presenter(
            job.built, fitted, orders.keep_of(order.config), by, order.run_id, job.taken.as_of,
            stamped,
        )  # fmt: skip
        writer = publish.writer_of(job.target, order.run_id, by, present)
        files = publish.write(job.engine, job.built, present, writer, tally.scores.spools)
    commit(job, fitted, tally, files, present)


def set_aside(job: Job) -> None:
    """Write the rejected rows with their reasons beside the labels."""
    with job.meter.stage("rejects"):
        place = record.rejects_folder(job.target.uri, job.order.run_id)
        writer = Writer(place, job.order.run_id, (), job.taken.contract.reject_schema)
        if job.taken.stage_rejects(job.engine, writer):
            job.notes["rejects"] |= {"uri": place, "format": "parquet"}


def commit(
    job: Job, fitted: Fitted, tally: Tally, files: list[StagedFile], present: publish.Presented
) -> None:
    """Publish the files if no row was lost on the way."""
    job.notes["rows_labelled"] = sum(f.rows for f in files)
    narrate.conserved(job.notes, tally.total, not job.built.as_rows)
    orders.commit(
        job.order, job.meter, job.notes, job.target, files, present.schema,
        job.taken.table.snapshot, fitted,
    )  # fmt: skip
