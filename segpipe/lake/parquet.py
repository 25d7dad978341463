"""Plain Parquet targets on a mounted file system: one symlink is flipped per publication.

Layout below the table's root::

    labels -> _segpipe/versions/7        what generic readers open: hive folders of Parquet files
    _segpipe/versions/7/                 one whole state: hard links to the files
    _segpipe/versions/7.json             what the state is made of, and the runs that made it
    _segpipe/staging/<run_id>/           files of a run that has not published

A version is built completely beside the published one; replacing the link is the commit. Dataset
readers (pyarrow, pandas, Spark) that open the root skip ``_segpipe`` and follow ``labels``. The
version before the published one is kept for readers that are still at it.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.fs as pafs

from segpipe.errors import ConfigError, InputMissing, TemporaryError
from segpipe.lake.hive import Partition
from segpipe.lake.lease import exclusive, may_live
from segpipe.lake.publication import Publication, still_current
from segpipe.lake.staging import storable
from segpipe.lake.uris import is_local, listing, probe, storing
from segpipe.values import StagedFile

LINK = "labels"
LOCK_SECONDS = 60.0
READS = 10
HISTORY = 1000
"""Publications that a version remembers: a rerun of an older key publishes again."""


class _State(NamedTuple):
    """A version as its manifest tells it."""

    folder: Path
    version: int
    partition_by: tuple[str, ...]
    schema: pa.Schema
    files: tuple[tuple[str, Partition], ...]
    history: tuple[Publication, ...]


@dataclass(frozen=True, slots=True)
class ParquetTarget:
    """Parquet files at ``uri``; see ``publish.Target``."""

    uri: str

    def __post_init__(self) -> None:
        """ConfigError 78 on object stores: they have no link to flip."""
        if not is_local(self.uri):
            raise ConfigError(
                f"target.format parquet needs a mounted file system, target.uri is {self.uri}.",
                "use format delta on object stores.",
            )

    @property
    def format(self) -> str:
        """Parquet."""
        return "parquet"

    @property
    def _home(self) -> Path:
        return Path(self.uri) / "_segpipe"

    def stage_uri(self, run_id: str) -> str:
        """A folder of this run alone, on the table's own file system."""
        return str(self._home / "staging" / run_id)

    def _state(self) -> _State | None:
        for _ in range(READS):
            try:
                # The link is resolved once: a flip in between cannot mix two versions.
                folder = Path(self.uri) / (Path(self.uri) / LINK).readlink()
            except FileNotFoundError:
                return None
            try:
                held = json.loads(_manifest(folder).read_text())
                break
            except FileNotFoundError:
                # Two publications since the link was read: read it again.
                continue
        else:
            raise TemporaryError(f"target {self.uri} changes faster than it can be read.", "retry.")
        schema = pa.ipc.read_schema(pa.py_buffer(bytes.fromhex(held["schema"])))
        files = tuple((f["path"], tuple((n, v) for n, v in f["partition"])) for f in held["files"])
        history = tuple(Publication.from_json(e["version"], e["run"]) for e in held["history"])
        return _State(folder, held["version"], tuple(held["partition_by"]), schema, files, history)

    def check(self, partition_by: Sequence[str]) -> None:
        """See ``publish.Target.check``."""
        probe(self.uri)
        self._same_partitioning(self._state(), partition_by)

    def _same_partitioning(self, state: _State | None, partition_by: Sequence[str]) -> None:
        if state is not None and state.partition_by != tuple(partition_by):
            raise ConfigError(
                f"target {self.uri} is partitioned by {list(state.partition_by)}, "
                f"asked is {list(partition_by)}.",
                "choose another target.uri, or the table's own partitioning.",
            )

    def current(self, run_key: str, run_id: str | None = None) -> Publication | None:
        """See ``publish.Target.current``."""
        return still_current(self.history(), run_key, run_id)

    def history(self) -> list[Publication]:
        """See ``publish.Target.history``."""
        state = self._state()
        return [] if state is None else list(state.history)

    def labels(self) -> Mapping[str, Any]:
        """See ``publish.Target.labels``; ``path`` is what generic readers open."""
        state = self._state()
        version = None if state is None else state.version
        path = str(Path(self.uri) / LINK)
        return {"uri": self.uri, "format": self.format, "version": version, "path": path}

    def commit(
        self,
        files: Sequence[StagedFile],
        schema: pa.Schema,
        partition_by: Sequence[str],
        metadata: Mapping[str, Any],
        empty: Sequence[Partition] = (),
    ) -> Publication:
        """See ``publish.Target.commit``."""
        rest = {k: v for k, v in metadata.items() if k not in ("run_id", "run_key")}
        run_id, run_key = metadata["run_id"], metadata["run_key"]
        touched = (
            tuple(sorted({*(f.partition for f in files), *empty}, key=str))
            if partition_by
            else None
        )
        with exclusive(self.uri, LOCK_SECONDS), storing(self.uri):
            state = self._state()
            self._same_partitioning(state, partition_by)
            done = still_current(state.history if state else (), run_key, run_id)
            if done is not None:
                return done
            version = self._next_version(state)
            entry = Publication(version, run_id, run_key, touched, rest)
            stored = storable(schema)
            kept: list[tuple[str, Partition]] = []
            if state is not None and touched is not None:
                stored = _widened(self.uri, state.schema, stored)
                kept = [file for file in state.files if file[1] not in set(touched)]
            folder = self._home / "versions" / str(version)
            for path, _ in kept:
                assert state is not None
                _link(state.folder / path, folder / path)
            staging = Path(self.stage_uri(run_id))
            for staged in files:
                _link(_checked(staging, staged), folder / staged.path)
            history = (entry, *(state.history if state else ()))[:HISTORY]
            paths = [*kept, *((f.path, f.partition) for f in files)]
            _write_manifest(folder, version, partition_by, stored, paths, history)
            self._flip(version)
            self._drop_old(version, state)
        return entry

    def _next_version(self, state: _State | None) -> int:
        """One above the published; what a dead publisher left under that number goes."""
        version = 0 if state is None else state.version + 1
        shutil.rmtree(self._home / "versions" / str(version), ignore_errors=True)
        return version

    def _flip(self, version: int) -> None:
        folder = self._home / "versions" / str(version)
        folder.mkdir(parents=True, exist_ok=True)
        new = self._home / "labels.new"
        new.unlink(missing_ok=True)
        new.symlink_to(Path("_segpipe") / "versions" / str(version))
        new.replace(Path(self.uri) / LINK)

    def _drop_old(self, version: int, state: _State | None) -> None:
        before = -1 if state is None else state.version
        for path in (self._home / "versions").iterdir():
            if path.suffix == ".json" and path.stem not in (str(version), str(before)):
                shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                path.unlink()

    def clean(self, run_id: str, started: float) -> int:
        """See ``publish.Target.clean``: published files have links of their own, staging can go."""
        root = self._home / "staging"
        gone = 0
        for folder in root.iterdir() if root.exists() else ():
            found = listing(pafs.LocalFileSystem(), str(folder))
            files = [info for info in found if info.is_file]
            latest = max((info.mtime.timestamp() for info in files), default=0.0)
            if folder.name == run_id or (
                latest < started and not may_live(self.uri, folder.name, latest, time.time())
            ):
                gone += len(files)
                shutil.rmtree(folder, ignore_errors=True)
        return gone

    def dataset(self) -> Any:
        """See ``publish.Target.dataset``."""
        state = self._state()
        if state is None:
            raise InputMissing(f"nothing is published at {self.uri}.", "run the job first.")
        keys = pa.schema([state.schema.field(name) for name in state.partition_by])
        return ds.dataset(
            [str(state.folder / path) for path, _ in state.files],
            schema=state.schema,
            format="parquet",
            partitioning=ds.partitioning(keys, flavor="hive") if keys.names else None,
            partition_base_dir=str(state.folder),
        )


def _manifest(folder: Path) -> Path:
    # Beside the folder, not in it: Polars reads every file of a folder that it is given.
    return folder.with_name(f"{folder.name}.json")


def _checked(staging: Path, staged: StagedFile) -> Path:
    path = staging / staged.path
    if not path.exists() or path.stat().st_size != staged.bytes:
        raise TemporaryError(f"staged file {path} is gone or changed.", "retry the run.")
    return path


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        target.hardlink_to(source)
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise
        # Some network file systems know no hard links.
        shutil.copy2(source, target)


def _write_manifest(
    folder: Path,
    version: int,
    partition_by: Sequence[str],
    schema: pa.Schema,
    files: Sequence[tuple[str, Partition]],
    history: Sequence[Publication],
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    held = {
        "format": 1,
        "version": version,
        "partition_by": list(partition_by),
        "schema": schema.serialize().to_pybytes().hex(),
        "files": [{"path": path, "partition": partition} for path, partition in files],
        "history": [{"version": e.version, "run": e.to_json()} for e in history],
    }
    with _manifest(folder).open("w") as out:
        json.dump(held, out)
        out.flush()
        os.fsync(out.fileno())


def _widened(uri: str, held: pa.Schema, new: pa.Schema) -> pa.Schema:
    """The columns of both; ConfigError 78 if one has two types."""
    kinds = {f.name: f.type for f in held}
    for f in new:
        if kinds.get(f.name, f.type) != f.type:
            raise ConfigError(
                f"column {f.name!r} is {kinds[f.name]} in target {uri}, now {f.type}.",
                "publish to another target.uri, or replace the whole table (partition_by: []).",
            )
    return pa.schema([*held, *(f for f in new if f.name not in kinds)])
