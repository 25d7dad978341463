"""What to bear in mind about a flagged row beside its reasons."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from segpipe.models.calibration import Calibration
from segpipe.models.scaler import Scaler

SPENDING = frozenset({"monetary_total", "monetary_mean", "monetary_std", "basket_median"})
MOSTLY = 0.75
"""Part of the told reasons' shares that must be mere size."""


SHIFTED = 5.0
"""Times as many flagged rows as in the fit: the model's usual is no longer these rows'."""
CHANCE = 10.0
"""Standard deviations of a count: few rows say nothing of a share."""


def shift_of(flagged: int, rows: int, known: Calibration) -> str:
    """A sentence where a frozen threshold flags far more of other rows than of those it was set on.

    Parameters
    ----------
    flagged, rows : of the rows that an earlier model scores now
    known : the model's calibration
    """
    usual = rows * max(known.flagged, 1) / known.rows
    if flagged <= max(SHIFTED * usual, usual + CHANCE * math.sqrt(usual + 1.0)):
        return ""
    return (
        f"{flagged:,} of {rows:,} rows are beyond the model's threshold, where about {usual:,.0f} "
        "would be like the rows that it was fitted on: the rows have changed, or stand for another "
        "span of time; look at outlier_reasons, or fit again"
    )


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
