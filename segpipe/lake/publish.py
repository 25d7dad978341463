"""Publishing: files that tasks staged become the table's new version in one step, or not at all.

A target is opened, asked for an earlier publication of the same run key, given the staged files
and, afterwards, cleaned of what dead runs left. At any moment readers see one whole version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import pyarrow as pa

from segpipe.errors import ConfigError
from segpipe.lake.hive import Partition
from segpipe.lake.publication import Publication
from segpipe.lake.uris import absolute
from segpipe.values import StagedFile


class Target(Protocol):
    """A label table in one format."""

    @property
    def uri(self) -> str:
        """The table's root."""
        ...

    @property
    def format(self) -> str:
        """Delta or parquet."""
        ...

    def stage_uri(self, run_id: str) -> str:
        """Where ``staging.Writer`` of this run writes."""
        ...

    def check(self, partition_by: Sequence[str]) -> None:
        """ConfigError 78 without write permission, or if the table is partitioned otherwise."""
        ...

    def current(self, run_key: str, run_id: str | None = None) -> Publication | None:
        """The earlier publication of this key, if it still is the newest of its partitions."""
        ...

    def commit(
        self,
        files: Sequence[StagedFile],
        schema: pa.Schema,
        partition_by: Sequence[str],
        metadata: Mapping[str, Any],
        empty: Sequence[Partition] = (),
    ) -> Publication:
        """Replace exactly the partitions of ``files`` and ``empty``; all rows if not partitioned.

        ``metadata`` holds run_id and run_key and whatever else to keep beside the version. If the
        key is already published and current, that publication comes back, marked ``already``.
        TemporaryError 75 when other writers win too often.
        """
        ...

    def labels(self) -> Mapping[str, Any]:
        """``uri``, ``format`` and ``version`` for the run summary."""
        ...

    def history(self) -> list[Publication]:
        """Publications by segpipe, newest first."""
        ...

    def clean(self, run_id: str, started: float) -> int:
        """Remove unpublished files of this run and of dead runs older than ``started``; how many.

        ``started``: seconds since 1970. Files of runs that may still be alive stay.
        """
        ...

    def dataset(self) -> Any:
        """The published rows as a pyarrow dataset; InputMissing 66 if nothing is published."""
        ...


def open_target(uri: str, format: str) -> Target:
    """The target at ``uri``; nothing is created. ConfigError 78 for an unknown format."""
    from segpipe.lake.delta import DeltaTarget
    from segpipe.lake.parquet import ParquetTarget

    place = absolute(uri)
    known: dict[str, type[DeltaTarget] | type[ParquetTarget]] = {
        "delta": DeltaTarget,
        "parquet": ParquetTarget,
    }
    if format in known:
        return known[format](place)
    if format == "iceberg":
        raise ConfigError(
            "target.format 'iceberg' is not in this version.", "use delta or parquet."
        )
    raise ConfigError(f"target.format {format!r} is unknown.", "use delta or parquet.")


def read_labels(uri: str, format: str | None = None) -> Any:
    """The published rows of a target as a pyarrow dataset; the format is found if not given.

    InputMissing 66 if nothing is published there.
    """
    from segpipe.lake.delta import DeltaTarget

    place = absolute(uri)
    if format is None:
        format = "delta" if DeltaTarget(place).exists() else "parquet"
    return open_target(place, format).dataset()
