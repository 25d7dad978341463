"""What to bear in mind about a flagged row beside its reasons."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from segpipe.models.scaler import Scaler

SPENDING = frozenset({"monetary_total", "monetary_mean", "monetary_std", "basket_median"})
MOSTLY = 0.75
"""Part of the told reasons' shares that must be mere size."""


def note_of(reasons: Sequence[Mapping[str, Any]], scaler: Scaler) -> str:
    """A sentence where the row is merely large in columns of heavy tails, else nothing.

    A heavy tail is a column that the scaler took the log of: there the largest tenth of a percent
    is far out by nature, and no sign of anything wrong.
    """
    heavy = {item.name for item in scaler.inputs if item.kind == "number" and item.log}
    told = sum(r["share"] for r in reasons)
    large = [r for r in reasons if r["feature"] in heavy and _above(r)]
    if not large or sum(r["share"] for r in large) < MOSTLY * told:
        return ""
    names = {r["feature"] for r in large}
    if names <= SPENDING:
        return "merely a big spender: spending has a heavy tail, and little else is unusual"
    return f"merely large: {', '.join(sorted(names))} have heavy tails"


def _above(reason: Mapping[str, Any]) -> bool:
    try:
        return float(reason["value"]) > float(reason["usual"])
    except ValueError:  # a value that is missing
        return False
