"""Hive folders (``column=value``): their spelling in paths and their types."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.errors import DataError, said

NULL = "__HIVE_DEFAULT_PARTITION__"
Partition = tuple[tuple[str, str | None], ...]
_WHOLE = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


def from_path(path: str) -> Partition:
    """The ``column=value`` folders directly above the file; a null is None."""
    found: list[tuple[str, str | None]] = []
    for part in reversed(path.split("/")[:-1]):
        name, equals, value = part.partition("=")
        if not equals or not name:
            break
        found.append((unquote(name), None if value in (NULL, "") else unquote(value)))
    return tuple(reversed(found))


def folder(partition: Partition) -> str:
    """The folders of ``partition`` with a last '/', '' for none; values are URL-encoded."""
    return "".join(
        f"{quote(name, safe='')}={NULL if value in (None, '') else quote(str(value), safe='')}/"
        for name, value in partition
    )


def text_of(value: Any) -> str | None:
    """A partition value as Delta and hive spell it; '' and None are the null partition."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f" if value.microsecond else "%Y-%m-%d %H:%M:%S")
    return value.isoformat() if isinstance(value, date) else str(value)


def _is_day(text: str) -> bool:
    if not _DAY.fullmatch(text):
        return False
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def infer(values: Iterable[str | None]) -> pa.DataType:
    """int64 if all are whole numbers without leading zeros, date32 if all ISO days, else text."""
    known = {value for value in values if value is not None}
    if known and all(_WHOLE.fullmatch(value) for value in known):
        return pa.int64()
    if known and all(_is_day(value) for value in known):
        return pa.date32()
    return pa.string()


def schema_of(partitions: Sequence[Partition], files: Sequence[str]) -> pa.Schema:
    """Typed partition columns; DataError 65 if files disagree on which there are."""
    names = [tuple(name for name, _ in partition) for partition in partitions]
    for path, mine in zip(files, names, strict=True):
        if mine != names[0]:
            raise DataError(
                f"file {path} has partition folders {list(mine)}, {files[0]} has {list(names[0])}.",
                "keep one folder layout per table.",
            )
    if not names:
        return pa.schema([])
    by_name: Mapping[str, list[str | None]] = {
        name: [partition[i][1] for partition in partitions] for i, name in enumerate(names[0])
    }
    return pa.schema([(name, infer(values)) for name, values in by_name.items()])


def column(values: Sequence[str | None], kind: pa.DataType, where: str) -> pa.Array:
    """Partition texts as a typed array; DataError 65 if one does not fit."""
    text = pa.array(values, pa.string())
    try:
        if pa.types.is_binary(kind):
            return text.cast(pa.binary())
        if pa.types.is_timestamp(kind) and kind.tz is not None:
            zoneless = pc.replace_substring_regex(text, pattern=r"(Z|\+00:00)$", replacement="")
            return zoneless.cast(pa.timestamp(kind.unit)).cast(kind)
        return text.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"a partition value of {where} is no {kind}: {said(error)}.", "rename the folder."
        ) from error
