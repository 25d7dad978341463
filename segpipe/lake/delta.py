"""Delta targets: one ``deltalake`` transaction per publication.

All publications carry one application transaction, so that two at once always conflict: one wins,
the other starts again on the fresh version. Idempotency is not left to that transaction (deltalake
accepts the same one again from a fresh handle): the commit's own metadata names run, key and
partitions, and ``current`` reads them back.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from segpipe.errors import ConfigError, InputMissing, TemporaryError, said
from segpipe.lake import hive
from segpipe.lake.files import hidden
from segpipe.lake.hive import Partition
from segpipe.lake.lease import may_live
from segpipe.lake.publication import Publication, still_current
from segpipe.lake.staging import STAGED, storable
from segpipe.lake.uris import is_local, listing, locate, probe, storing
from segpipe.values import StagedFile

APP = "segpipe"
ATTEMPTS = 8
_UNCHANGED = ("OPTIMIZE", "VACUUM START", "VACUUM END", "SET TBLPROPERTIES", "ADD COLUMN", "FSCK")
"""Operations by others that leave the rows as they were."""


@dataclass(frozen=True, slots=True)
class DeltaTarget:
    """A Delta table at ``uri``; see ``publish.Target``."""

    uri: str

    @property
    def format(self) -> str:
        """Delta."""
        return "delta"

    def stage_uri(self, run_id: str) -> str:
        """The table's root: Delta readers see only files that the log names."""
        del run_id
        return self.uri

    def exists(self) -> bool:
        """Whether a Delta table is there."""
        from deltalake import DeltaTable

        return bool(DeltaTable.is_deltatable(self.uri))

    def _open(self, version: int | None = None) -> Any:
        from deltalake import DeltaTable
        from deltalake.exceptions import TableNotFoundError

        try:
            return DeltaTable(self.uri, version=version)
        except TableNotFoundError:
            return None

    def check(self, partition_by: Sequence[str]) -> None:
        """See ``publish.Target.check``."""
        probe(self.uri)
        table = self._open()
        if table is not None:
            _same_partitioning(self.uri, table, partition_by)

    def current(self, run_key: str, run_id: str | None = None) -> Publication | None:
        """See ``publish.Target.current``."""
        table = self._open()
        return None if table is None else still_current(_entries(self.uri, table), run_key, run_id)

    def history(self) -> list[Publication]:
        """See ``publish.Target.history``."""
        table = self._open()
        return [] if table is None else [e for e in _entries(self.uri, table) if e is not None]

    def labels(self) -> Mapping[str, Any]:
        """See ``publish.Target.labels``."""
        table = self._open()
        version = None if table is None else table.version()
        return {"uri": self.uri, "format": self.format, "version": version}

    def commit(
        self,
        files: Sequence[StagedFile],
        schema: pa.Schema,
        partition_by: Sequence[str],
        metadata: Mapping[str, Any],
        empty: Sequence[Partition] = (),
    ) -> Publication:
        """See ``publish.Target.commit``."""
        from deltalake.exceptions import CommitFailedError, DeltaError

        rest = {k: v for k, v in metadata.items() if k not in ("run_id", "run_key")}
        touched = (
            tuple(sorted({*(f.partition for f in files), *empty}, key=str))
            if partition_by
            else None
        )
        asked = Publication(-1, metadata["run_id"], metadata["run_key"], touched, rest)
        self._verify(files)
        failure: Exception | None = None
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(min(0.05 * 2**attempt, 1.0))
            # One snapshot for the check and the commit: whoever comes between makes it fail.
            table = self._open()
            if table is not None:
                _same_partitioning(self.uri, table, partition_by)
                # An error may have hidden a commit that landed: this finds it.
                done = still_current(_entries(self.uri, table), asked.run_key, asked.run_id)
                if done is not None:
                    return replace(done, already=attempt == 0 or done.run_id != asked.run_id)
            try:
                with storing(self.uri):
                    if self._commit_once(table, files, storable(schema), partition_by, asked):
                        return self._landed(asked)
            except CommitFailedError as error:
                failure = error
            except DeltaError as error:
                failure = error
                if table is not None or not self.exists():
                    raise _refused(self.uri, error) from error
        raise TemporaryError(
            f"Delta table {self.uri} is being changed by others: {ATTEMPTS} attempts failed, "
            f"last: {failure}.",
            "retry.",
        ) from failure

    def _verify(self, files: Sequence[StagedFile]) -> None:
        filesystem, root = locate(self.uri)
        infos = filesystem.get_file_info([f"{root}/{f.path}" for f in files])
        for staged, info in zip(files, infos, strict=True):
            if info.type != pafs.FileType.File or info.size != staged.bytes:
                raise TemporaryError(
                    f"staged file {staged.path} of {self.uri} is gone or changed.", "retry the run."
                )

    def _commit_once(
        self,
        table: Any,
        files: Sequence[StagedFile],
        schema: pa.Schema,
        partition_by: Sequence[str],
        asked: Publication,
    ) -> bool:
        """False if the table had to be widened first: look at the fresh version again."""
        from deltalake import CommitProperties, Schema, Transaction
        from deltalake.transaction import AddAction, create_table_with_add_actions

        now = int(time.time() * 1000)
        adds = [AddAction(f.path, f.bytes, dict(f.partition), now, True, f.stats) for f in files]
        properties = CommitProperties(
            custom_metadata={APP: asked.to_json()},
            app_transactions=[Transaction(APP, now)],
            # Our own retries look at the fresh version first; deltalake's would not.
            max_commit_retries=0,
        )
        delta_schema = Schema.from_arrow(schema)
        keys = list(partition_by)
        if table is None:
            create_table_with_add_actions(
                self.uri,
                delta_schema,
                adds,
                mode="error",
                partition_by=keys,
                commit_properties=properties,
            )
        elif asked.partitions is None:
            table.create_write_transaction(
                adds, "overwrite", delta_schema, keys, commit_properties=properties
            )
        else:
            if _widen(self.uri, table, schema):
                return False
            removes = _removes(table, asked.partitions, now)
            table.create_write_transaction(
                [*adds, *removes], "append", delta_schema, keys, commit_properties=properties
            )
        return True

    def _landed(self, asked: Publication) -> Publication:
        for entry in _entries(self.uri, self._open()):
            if entry is not None and (entry.run_id, entry.run_key) == (asked.run_id, asked.run_key):
                return entry
        raise TemporaryError(f"the commit of run {asked.run_id} is not in the log.", "retry.")

    def clean(self, run_id: str, started: float) -> int:
        """See ``publish.Target.clean``; never a file that a version still in the log names."""
        table = self._open()
        filesystem, root = locate(self.uri)
        entries = [] if table is None else [e for e in _entries(self.uri, table) if e is not None]
        published = {entry.run_id for entry in entries}
        named = set() if table is None else _paths(table)
        for entry in entries:
            if entry.run_id == run_id:
                named |= _paths(self._open(entry.version))
        orphans: dict[str, list[pafs.FileInfo]] = {}
        for info in listing(filesystem, root):
            relative = info.path.removeprefix(root + "/")
            ours = STAGED.fullmatch(relative.rsplit("/", 1)[-1])
            if ours and relative not in named and not hidden(relative):
                orphans.setdefault(ours.group(1), []).append(info)
        gone = 0
        for owner, infos in orphans.items():
            # Files of other published runs stay: an older version may name them (time travel).
            latest = max(info.mtime.timestamp() for info in infos)
            if owner == run_id or (
                owner not in published
                and latest < started
                and not may_live(self.uri, owner, latest, time.time())
            ):
                for info in infos:
                    with suppress(FileNotFoundError):  # another run may clean here, too
                        filesystem.delete_file(info.path)
                        gone += 1
        return gone

    def dataset(self) -> Any:
        """See ``publish.Target.dataset``."""
        from segpipe.lake.deltasource import open_delta

        if not self.exists():
            raise InputMissing(f"nothing is published at {self.uri}.", "run the job first.")
        table = open_delta(self.uri, {})
        filesystem, _ = locate(self.uri)
        keys = [name for name in table.schema.names if name in dict(_first(table.fragments))]
        format = ds.ParquetFileFormat()
        fragments = []
        for path in dict.fromkeys(f.path for f in table.fragments):
            held = next(f.partition for f in table.fragments if f.path == path)
            typed = {n: hive.column([v], table.schema.field(n).type, self.uri)[0] for n, v in held}
            guarantee = _guarantee(typed) if keys else None
            inside = path if is_local(path) else path.removeprefix("s3://")
            fragments.append(
                format.make_fragment(inside, filesystem, partition_expression=guarantee)
            )
        return ds.FileSystemDataset(fragments, table.schema, format, filesystem)


def _first(fragments: Sequence[Any]) -> Partition:
    return fragments[0].partition if fragments else ()


def _guarantee(values: Mapping[str, Any]) -> Any:
    expression = None
    for name, value in values.items():
        one = ds.field(name) == value if value.is_valid else ds.field(name).is_null()
        expression = one if expression is None else expression & one
    return expression


def _commits(uri: str, table: Any) -> list[dict[str, Any]]:
    """What the log says of each commit, newest first.

    deltalake counts the versions down from the newest that it saw just before it listed the log:
    with a commit in between all would be one too low.
    """
    from deltalake import DeltaTable

    for _ in range(ATTEMPTS):
        before = DeltaTable(uri).version()
        commits: list[dict[str, Any]] = table.history()
        if DeltaTable(uri).version() == before:
            return commits
    raise TemporaryError(
        f"Delta table {uri} is being changed by others: its log changed {ATTEMPTS} times while it "
        "was read.",
        "retry.",
    )


def _entries(uri: str, table: Any) -> Iterator[Publication | None]:
    """Newest first; None for changes by other programs."""
    for entry in _commits(uri, table):
        text = entry.get(APP)
        if text is not None:
            yield Publication.from_json(entry["version"], text)
        elif entry.get("operation") not in _UNCHANGED:
            yield None


def _paths(table: Any) -> set[str]:
    return {unquote(path) for path in pa.table(table.get_add_actions()).column("path").to_pylist()}


def _same_partitioning(uri: str, table: Any, partition_by: Sequence[str]) -> None:
    held = list(table.metadata().partition_columns)
    if held != list(partition_by):
        raise ConfigError(
            f"Delta table {uri} is partitioned by {held}, asked is {list(partition_by)}.",
            "choose another target.uri, or the table's own partitioning.",
        )


def _refused(uri: str, error: Exception) -> ConfigError | TemporaryError:
    if "ermission denied" in str(error):
        return ConfigError(
            f"Delta table {uri} cannot be written: {said(error)}.", "grant write permission."
        )
    return TemporaryError(f"Delta table {uri} could not be committed: {said(error)}.", "retry.")


def _widen(uri: str, table: Any, schema: pa.Schema) -> bool:
    """Add the new columns of ``schema`` (null in old rows); whether there were any."""
    from deltalake import Schema

    held = {f.name: f for f in storable(pa.schema(table.schema().to_arrow()))}
    for f in schema:
        if f.name in held and held[f.name].type != f.type:
            raise ConfigError(
                f"column {f.name!r} is {held[f.name].type} in Delta table {uri}, now {f.type}.",
                "publish to another target.uri, or replace the whole table (partition_by: []).",
            )
    new = [f for f in schema if f.name not in held]
    if new:
        table.alter.add_columns(list(Schema.from_arrow(pa.schema(new)).fields))
    return bool(new)


def _removes(table: Any, partitions: Sequence[Partition], now: int) -> list[Any]:
    """The files that lie in ``partitions`` now."""
    from deltalake.transaction import RemoveAction

    wanted = set(partitions)
    actions = pa.table(table.get_add_actions())
    if actions.num_rows == 0:
        return []
    keys = list(table.metadata().partition_columns)
    out = []
    for row in actions.select(["path", "size_bytes", "partition"]).to_pylist():
        spelled = tuple((name, hive.text_of(row["partition"][name])) for name in keys)
        if spelled in wanted:
            held = dict(spelled)
            out.append(RemoveAction(unquote(row["path"]), True, now, row["size_bytes"], held))
    return out
