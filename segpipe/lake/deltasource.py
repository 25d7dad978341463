"""Delta tables as sources: the files of one version, through ``deltalake``."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from segpipe.errors import ConfigError, DataError, InputMissing, said
from segpipe.lake import hive
from segpipe.lake.columnar import footer, fragments_of, plain
from segpipe.lake.uris import absolute, address, is_local, locate, reading
from segpipe.values import Fragment, Table


def open_delta(uri: str, options: Mapping[str, Any]) -> Table:
    """One version (``options.version``, else the newest) as a table; see ``tables.open_table``."""
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError, TableNotFoundError

    version = options.get("version")
    if version is not None and (isinstance(version, bool) or not isinstance(version, int)):
        raise ConfigError(f"source.options.version {version!r} is no whole number.")
    try:
        with reading(f"source {uri}"):
            table = DeltaTable(uri, version=version)
    except TableNotFoundError as error:
        raise InputMissing(
            f"source {uri} holds no Delta table.", "check source.uri and source.format."
        ) from error
    except DeltaError as error:
        raise InputMissing(
            f"source {uri} (version {version}) cannot be read: {said(error)}.",
            "check options.version.",
        ) from error
    _refuse_unread_features(table, uri)
    schema = pa.schema(table.schema().to_arrow())
    schema = pa.schema([pa.field(f.name, plain(f.type)) for f in schema])
    actions = pa.table(table.get_add_actions())
    keys = list(table.metadata().partition_columns)
    fragments = _fragments(uri, actions, keys)
    # Partition columns last, as in every other table.
    ordered = [f for f in schema if f.name not in keys] + [schema.field(name) for name in keys]
    name = f"{uri}@{table.version()}"
    return Table(uri, "delta", pa.schema(ordered), fragments, name, dict(options))


def _refuse_unread_features(table: Any, uri: str) -> None:
    mapping = table.metadata().configuration.get("delta.columnMapping.mode", "none")
    if mapping != "none":
        raise DataError(
            f"Delta table {uri} renames columns (columnMapping {mapping}), which is not read.",
            "rewrite it with delta.columnMapping.mode = none.",
        )
    if "deletionVectors" in (table.protocol().reader_features or ()):
        marked = sum(batch.num_rows for batch in table.deletion_vectors())
        if marked:
            raise DataError(
                f"Delta table {uri} has {marked} files with deletion vectors, which are not read.",
                "purge them: REORG TABLE ... APPLY (PURGE).",
            )


def _within(root: str, path: str, uri: str) -> str:
    if "://" in path or path.startswith("/"):
        if is_local(path) != is_local(uri):
            raise DataError(f"Delta table {uri} names a file elsewhere: {path}.", "copy the table.")
        return absolute(path).removeprefix("s3://")
    return f"{root}/{path}"


def _fragments(uri: str, actions: pa.Table, keys: list[str]) -> tuple[Fragment, ...]:
    if actions.num_rows == 0:
        return ()
    filesystem, root = locate(uri)
    paths = actions.column("path").to_pylist()
    values = actions.column("partition").to_pylist() if keys else [{}] * len(paths)
    files = []
    for path, held in zip(paths, values, strict=True):
        partition = tuple((name, hive.text_of(held.get(name))) for name in keys)
        # The log holds the URL-encoded form of the path on disk.
        inside = _within(root, unquote(path), uri)
        files.append((inside, address(uri, inside), partition))
    files.sort()
    with ThreadPoolExecutor(4 if is_local(uri) else 32) as pool:
        footers = list(pool.map(lambda file: footer(filesystem, file[0], file[1]), files))
    return tuple(
        fragment
        for (_, shown, partition), foot in zip(files, footers, strict=True)
        for fragment in fragments_of(shown, partition, foot)
    )
