"""What a published version says of the run that made it, and when it still is the newest."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from segpipe.lake.hive import Partition


@dataclass(frozen=True, slots=True)
class Publication:
    """One committed version; ``partitions`` None means that the whole table was replaced."""

    version: int
    run_id: str
    run_key: str
    partitions: tuple[Partition, ...] | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    already: bool = False
    """Not made by this call: an earlier run with the same key had published it."""

    def to_json(self) -> str:
        """For the commit's metadata (all but the version)."""
        return json.dumps(
            {
                "run_id": self.run_id,
                "run_key": self.run_key,
                "partitions": self.partitions,
                "metadata": dict(self.metadata),
            },
            sort_keys=True,
        )

    @classmethod
    def from_json(cls, version: int, text: str) -> Publication:
        """Read what ``to_json`` wrote."""
        held = json.loads(text)
        parts = held["partitions"]
        partitions = (
            None
            if parts is None
            else tuple(tuple((name, value) for name, value in part) for part in parts)
        )
        return cls(version, held["run_id"], held["run_key"], partitions, held["metadata"])


def still_current(
    history: Iterable[Publication | None], run_key: str, run_id: str | None = None
) -> Publication | None:
    """The publication of this key (or run), if nothing newer touched what it wrote.

    ``history``: newest first; None stands for a change by another program, which may have touched
    anything. So in A, B, A again over the same partitions, the second A is published anew.
    """
    touched: set[Partition] = set()
    for entry in history:
        if entry is None:
            return None
        if entry.run_key == run_key or (run_id is not None and entry.run_id == run_id):
            whole = entry.partitions is None and bool(touched)
            if whole or any(part in touched for part in entry.partitions or ()):
                return None
            return replace(entry, already=True)
        if entry.partitions is None:
            return None
        touched.update(entry.partitions)
    return None
