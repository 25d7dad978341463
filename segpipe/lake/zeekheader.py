"""Zeek's log header: which columns a line holds, and the type that each is declared to have."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.lake.convert import Mask, mask, to_number, to_time

BAD_LINE = "bad_line"
"""Why the contract rejects a line with too few or too many values, or that is no JSON object."""
DECLARED = b"zeek"
"""Key of a text column's metadata: the type that the log declares."""
MISSING = ("-", "(empty)", "")
"""Zeek's marks of an unset field and of an empty set or text."""
CONN: Mapping[str, str] = {
    "ts": "time",
    "uid": "string",
    "id.orig_h": "addr",
    "id.orig_p": "port",
    "id.resp_h": "addr",
    "id.resp_p": "port",
    "proto": "enum",
    "service": "string",
    "duration": "interval",
    "orig_bytes": "count",
    "resp_bytes": "count",
    "conn_state": "string",
    "local_orig": "bool",
    "local_resp": "bool",
    "missed_bytes": "count",
    "history": "string",
    "orig_pkts": "count",
    "orig_ip_bytes": "count",
    "resp_pkts": "count",
    "resp_ip_bytes": "count",
    "tunnel_parents": "set[string]",
}
"""Fields of conn.log (base/protocols/conn/main.zeek): JSON lines declare nothing."""
GAP = "   "
"""IoT-23 hung its labels on the last field, behind three blanks instead of the separator."""
_TIME = pa.timestamp("us", "UTC")
_KINDS: Mapping[str, pa.DataType] = {
    "time": _TIME,
    "interval": pa.float64(),
    "double": pa.float64(),
    "count": pa.int64(),
    "int": pa.int64(),
    "port": pa.int64(),
    "bool": pa.bool_(),
}


@dataclass(frozen=True, slots=True)
class Header:
    """What the lines below a header hold."""

    separator: str = "\t"
    sets: str = ","
    """Between the elements of a set or vector."""
    missing: tuple[str, ...] = MISSING
    path: str | None = None
    """Which log it is: conn, dns, ..."""
    names: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    last: int = 1
    """Columns that share the last field, parted by ``GAP``."""

    def told(self, lines: Iterable[str]) -> Header:
        """The header after these ``#`` lines; unknown ones say nothing.

        Raises
        ------
        pa.ArrowInvalid
            The separator is no single character.
        """
        header = self
        for line in lines:
            header = header._told(line.rstrip("\r\n"))
        return header

    def _told(self, line: str) -> Header:
        word, _, rest = line.partition(" ")
        if word == "#separator":
            return replace(self, separator=_separator(rest))
        word, *values = line.split(self.separator)
        if not values:
            return self
        *before, final = values
        tail = [name.strip() for name in final.split(GAP)]
        told: Mapping[str, Mapping[str, Any]] = {
            "#set_separator": {"sets": _unescaped(final)},
            "#empty_field": {"missing": tuple(dict.fromkeys([*self.missing, final]))},
            "#unset_field": {"missing": tuple(dict.fromkeys([*self.missing, final]))},
            "#path": {"path": tail[0]},
            "#fields": {"names": (*before, *tail), "types": (), "last": len(tail)},
            "#types": {"types": (*before, *tail)},
        }
        return replace(self, **told.get(word, {}))

    def fields(self) -> list[pa.Field]:
        """The columns as text, each with its declared type."""
        types = self.types if len(self.types) == len(self.names) else ("string",) * len(self.names)
        return [declared(name, kind) for name, kind in zip(self.names, types, strict=True)]


def _unescaped(text: str) -> str:
    r"""Text in which ``\x09`` stands for a tab."""
    return re.sub(r"\\x([0-9a-fA-F]{2})", lambda code: chr(int(code[1], 16)), text) or " "


def _separator(text: str) -> str:
    found = _unescaped(text)
    if len(found) != 1 or not found.isascii():
        raise pa.ArrowInvalid(f"its #separator {text!r} is no single ASCII character")
    return found


def declared(name: str, kind: str) -> pa.Field:
    """A text column that a log declares to be of Zeek's type ``kind``."""
    return pa.field(name, pa.string(), metadata={DECLARED: kind.encode()})


def arrow_type(field: pa.Field) -> pa.DataType:
    """What a source column becomes where it is kept: the declared type, else its own.

    time: timestamp UTC in microseconds; interval: seconds; counts and ports: int64; sets and
    vectors: lists of text.
    """
    kind = (field.metadata or {}).get(DECLARED, b"").decode()
    if kind.startswith(("set[", "vector[")):
        return pa.list_(pa.string())
    return _KINDS.get(kind, field.type)


def as_declared(text: pa.Array, kind: pa.DataType) -> pa.Array:
    """``text`` as ``kind`` of ``arrow_type``; null where it cannot be read so."""
    if text.type == kind:
        return text
    if pa.types.is_timestamp(kind):
        return to_time(text).values.cast(pa.timestamp("us")).cast(kind)
    if pa.types.is_boolean(kind):
        known: Mask = mask(pc.is_in(text, pa.array(["T", "F"])))
        return pc.if_else(pa.array(known), pc.equal(text, "T"), pa.scalar(None, pa.bool_()))
    if pa.types.is_integer(kind):
        whole = pc.match_substring_regex(text, r"^-?[0-9]{1,18}$")
        return pc.if_else(whole, text, pa.scalar(None, pa.string())).cast(kind)
    if pa.types.is_floating(kind):
        return to_number(text).values
    return pc.split_pattern(text, ",")
