"""Publish: label every row, stage the files, commit them in one step."""

from __future__ import annotations

import operator
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import pyarrow as pa

from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.features.plan import Built
from segpipe.lake.contract import CARRIED
from segpipe.lake.publication import Publication
from segpipe.lake.publish import Target
from segpipe.lake.spool import Spooled
from segpipe.lake.staging import Writer, check_partition_by
from segpipe.lake.stats import INDEXED
from segpipe.models.fitted import Fitted
from segpipe.scoring.label import Labeller, Said, output_schema
from segpipe.values import Floats, Labels, StagedFile


@dataclass(frozen=True, slots=True, eq=False)
class Presented:
    """Labelled rows under the names that readers see; picklable."""

    label: Labeller
    schema: pa.Schema

    def __call__(self, batch: pa.RecordBatch, score: Floats | None = None) -> pa.RecordBatch:
        """The label table's rows; ``score``: of the batch's rows, if it is known."""
        return self.table(batch, self.say(batch, score))

    def say(
        self, batch: pa.RecordBatch, score: Floats | None = None, labels: Labels | None = None
    ) -> Said:
        """What is said of the batch's rows; ``labels``: the model's, if they are known."""
        return self.label.say(batch, score, labels)

    def table(self, batch: pa.RecordBatch, said: Said) -> pa.RecordBatch:
        """The label table's rows, from what is said of them."""
        return pa.RecordBatch.from_arrays(self.label.table(batch, said).columns, schema=self.schema)


@dataclass(frozen=True, slots=True, eq=False)
class WriteStep:
    """Fold step: labels the rows of one part and writes them; picklable."""

    present: Presented
    writer: Writer

    def __call__(
        self, batches: Iterator[pa.RecordBatch], spool: str | None = None
    ) -> list[StagedFile]:
        """The part's files; ``spool``: where an earlier pass left the scores of its rows."""
        return self.writer(self._labelled(batches, None if spool is None else Spooled(spool)))

    def _labelled(
        self, batches: Iterator[pa.RecordBatch], scores: Spooled | None
    ) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            if scores is None:
                yield self.present(batch)
                continue
            n = batch.num_rows
            said = self.present.say(batch, scores.take(n), scores.labels(n))
            yield self.present.table(batch, said)


def label_schema(
    built: Built, keep: str, partition_by: Sequence[str], stamped: bool
) -> tuple[pa.Schema, pa.Schema]:
    """How the label table looks (as labelled, as read): keys, labels, features, kept columns, run.

    A kept source column stands for the feature of the same name: it has the source's own type.

    Raises
    ------
    ConfigError
        Two columns that differ by case at most, a partition column that is absent or not flat.
    """
    prefixed = {n.removeprefix(CARRIED): n for n in built.schema.names if n.startswith(CARRIED)}
    carried = [n for name, n in prefixed.items() if name not in built.keys]
    features = [n for n in built.shown if n not in prefixed] if keep != "keys" else []
    wanted = output_schema(
        built.schema,
        keys=built.keys,
        features=features,
        carried=carried,
        partition_by=[prefixed.get(n, n) if n not in built.keys else n for n in partition_by],
        as_of=stamped,
    )
    seen = pa.schema([f.with_name(f.name.removeprefix(CARRIED)) for f in wanted])
    lower = [name.lower() for name in seen.names]
    doubles = sorted(n for n in seen.names if lower.count(n.lower()) > 1)
    if doubles:
        raise ConfigError(
            f"the label table would have columns {doubles}, which differ by case at most.",
            "Rename them under source.columns, or keep fewer with target.keep.",
        )
    check_partition_by(tuple(partition_by), seen)
    return wanted, seen


def presenter(
    built: Built,
    fitted: Fitted,
    keep: str,
    partition_by: Sequence[str],
    run_id: str,
    as_of: date | None,
    stamped: bool,
) -> Presented:
    """The labeller of this run's label table."""
    wanted, seen = label_schema(built, keep, partition_by, stamped)
    label = Labeller(
        fitted.scaler,
        fitted.model,
        fitted.detector,
        fitted.calibration,
        fitted.names,
        wanted,
        run_id,
        fitted.model_id,
        as_of,
        fitted.strata,
    )
    return Presented(label, seen)


def writer_of(
    target: Target, run_id: str, partition_by: Sequence[str], present: Presented
) -> Writer:
    """Writes label rows below the target."""
    indexed = INDEXED if target.format == "delta" else 0
    return Writer(target.stage_uri(run_id), run_id, tuple(partition_by), present.schema, indexed)


def write(
    engine: Engine, built: Built, present: Presented, writer: Writer, spools: Sequence[str]
) -> list[StagedFile]:
    """Tasks write the label table's files; nobody can see them yet."""
    return engine.fold(built.frame, WriteStep(present, writer), operator.add, beside=spools)


def commit(
    target: Target,
    files: Sequence[StagedFile],
    present: Presented,
    partition_by: Sequence[str],
    metadata: Mapping[str, Any],
) -> Publication:
    """The new version, in one step."""
    return target.commit(files, present.schema, partition_by, metadata)
