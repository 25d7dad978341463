"""What passes between the pipeline and a feature set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from segpipe.engines.protocol import Frame, Scratch
from segpipe.schema import line_of
from segpipe.values import Column


@dataclass(frozen=True, slots=True)
class Request:
    """What the config asks of a feature set."""

    keys: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    """features.columns; None leaves the choice to the set."""
    categorical: str | tuple[str, ...] = "auto"
    """auto | none | names of columns to read as categories."""
    as_of_end_us: int | None = None
    """End of the last day of the window, microseconds UTC; ages count to it (rfm needs it)."""
    weight: str | None = None
    """features.weight: a column that is read, but is no feature."""
    scratch: Scratch | None = None
    """Where features that need all rows leave files for one another (windows need it)."""
    bursts: bool = False
    """outliers.collapse asks for the size of each row's burst, whatever the columns."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a set reads of one source, under which names."""

    columns: tuple[Column, ...]
    """What the contract must provide."""
    mapping: Mapping[str, str]
    """Ours to theirs, completed with the names the set knows by itself."""
    numeric: tuple[str, ...]
    """Feature columns that enter the distance as numbers (names in ``Built.frame``)."""
    categorical: tuple[str, ...]
    required: tuple[str, ...] = ()
    """Features the user named: constant or all-null ones are an error."""
    request: Request = field(default_factory=Request)
    warnings: tuple[str, ...] = ()
    derived_keys: tuple[str, ...] = ()
    """Keys that the set makes itself; the contract knows nothing of them."""
    lone_key: bool = False
    """A key of one single value is no mistake: a capture of one host."""
    shuffles: bool = False
    """A row's features depend on other rows: they are built before anything describes them."""


@dataclass(frozen=True, slots=True)
class Built:
    """Rows described by numbers: keys, raw features, and the columns that came along."""

    frame: Frame
    schema: pa.Schema
    keys: tuple[str, ...]
    numeric: tuple[str, ...]
    """Enter the distance."""
    categorical: tuple[str, ...]
    shown: tuple[str, ...]
    """All feature columns, for the label table and the profiles; includes those above."""
    as_rows: bool = True
    """Row-wise: one labelled row per accepted row (otherwise one per key)."""
    unusual: tuple[str, ...] = ()
    """Numbers that the outlier scores look at; none: those of the distance."""
    aside: tuple[str, ...] = ()
    """Of ``shown``: only written. Each column that is described and added up costs a pass its time,
    and the windows of a log are many."""
    logs: tuple[str, ...] = ()
    """Numbers of which the scaler takes the log however skewed they are."""
    weight: str | None = None
    """Column of row weights in ``frame``, float64 from 0 on; None: 1 each."""


def unmapped(schema: pa.Schema, mapping: Mapping[str, str]) -> dict[str, str]:
    """Every source column: mapped ones under our name, others under their own."""
    ours = {theirs: name for name, theirs in mapping.items() if theirs in schema.names}
    line = line_of(schema)
    return {ours.get(name, name): name for name in schema.names if name != line}
