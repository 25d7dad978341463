"""What text columns hold: numbers, a few categories, or too many different values.

Sources without types (csv) need one pass before the contract can be compiled; typed sources need
it for their text columns only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from segpipe.engines.protocol import Engine, Frame
from segpipe.kernels.cells import plain

MOST_LEVELS = 30
"""Text columns with more distinct values are no categories by default (interface.md)."""

_NUMBER = r"^[+-]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,3})?$"
"""Leading zeros mean an identifier: "0001" stays text."""

_BLANK = r"(?i)^(nan|na|n/a|#n/a|null|none|-|\?|[+-]?inf(inity)?)?$"
"""Spellings of a missing value; the contract reads them as null in number columns."""


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What was found in one text column."""

    filled: int = 0
    """Cells that hold a value."""
    numeric: bool = True
    """Every filled cell reads as a number."""
    levels: frozenset[str] | None = frozenset()
    """Distinct filled cells; None once there are more than ``MOST_LEVELS``."""

    @property
    def is_number(self) -> bool:
        """Numbers, and at least one of them."""
        return self.numeric and self.filled > 0

    @property
    def is_category(self) -> bool:
        """At most ``MOST_LEVELS`` distinct values, and not numbers."""
        return self.levels is not None and not self.is_number

    def merged(self, other: TextFacts) -> TextFacts:
        """Facts of both parts, in whatever order."""
        return TextFacts(
            self.filled + other.filled,
            self.numeric and other.numeric,
            _bounded(self.levels, other.levels),
        )


def sniff(engine: Engine, frame: Frame, columns: Sequence[str]) -> dict[str, TextFacts]:
    """Facts of the text ``columns`` of ``frame``, by one fold whose state is 31 values a column."""
    if not columns:
        return {}
    found = engine.fold(frame, partial(_step, tuple(columns)), _merge)
    return dict(zip(columns, found, strict=True))


def facts(column: Any) -> TextFacts:
    """Facts of one text array."""
    column = plain(column)
    text = pc.utf8_trim_whitespace(column.cast(pa.string()))
    text = text.filter(pc.fill_null(pc.invert(pc.match_substring_regex(text, _BLANK)), False))
    distinct = text.unique()
    if not len(distinct):
        return TextFacts()
    numeric = pc.all(pc.match_substring_regex(distinct, _NUMBER)).as_py()
    levels = frozenset(distinct.to_pylist()) if len(distinct) <= MOST_LEVELS else None
    return TextFacts(len(text), bool(numeric), levels)


def _step(columns: tuple[str, ...], batches: Iterator[pa.RecordBatch]) -> list[TextFacts]:
    found = [TextFacts() for _ in columns]
    for batch in batches:
        for i, name in enumerate(columns):
            found[i] = found[i].merged(facts(batch.column(name)))
    return found


def _merge(a: list[TextFacts], b: list[TextFacts]) -> list[TextFacts]:
    return [x.merged(y) for x, y in zip(a, b, strict=True)]


def _bounded(a: frozenset[str] | None, b: frozenset[str] | None) -> frozenset[str] | None:
    if a is None or b is None:
        return None
    both = a | b
    return both if len(both) <= MOST_LEVELS else None
