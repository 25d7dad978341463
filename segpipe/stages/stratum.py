"""Thresholds of their own for the values of one column (``outliers.stratum``)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.features.plan import Built
from segpipe.lake.contract import CARRIED
from segpipe.models.calibration import Calibration
from segpipe.models.strata import Strata
from segpipe.scoring.strata import (
    LEAST_ROWS,
    MOST_VALUES,
    CountLevels,
    ScoreLevels,
    limits,
    merge_levels,
    own_levels,
    stratify,
)
from segpipe.stages.described import Described
from segpipe.values import Detector, Floats


@dataclass(frozen=True, slots=True, eq=False)
class Stratified:
    """The strata, and what is told of them."""

    strata: Strata
    others: int
    """Rows of levels without a calibration of their own."""
    others_flagged: int

    @property
    def flagged(self) -> int:
        """Rows at or above their own threshold."""
        return sum(c.flagged for c in self.strata.calibrations) + self.others_flagged


def column_of(built: Built, name: str | None) -> str | None:
    """The stratum's column in the feature table.

    Raises
    ------
    ConfigError
        There is none of that name, or its values cannot be told as groups.
    """
    if name is None:
        return None
    found = next((n for n in (name, CARRIED + name) if n in built.schema.names), None)
    if found is not None:
        kind = built.schema.field(found).type
        if pa.types.is_nested(kind) or pa.types.is_binary(kind):
            raise ConfigError(
                f"outliers.stratum: {name} is {kind}, whose values name no groups.",
                "name a column of texts, numbers or dates",
            )
        return found
    known = sorted({n.removeprefix(CARRIED) for n in built.schema.names})
    raise ConfigError(
        f"outliers.stratum names {name!r}; the feature table has {', '.join(known)}.",
        "name one of these columns",
    )


def fit_strata(
    engine: Engine,
    built: Built,
    seen: Described,
    detector: Detector | None,
    edges: Floats,
    column: str | None,
    whole: Calibration | None,
    notes: dict[str, Any],
) -> Stratified | None:
    """Calibrations by level, from two more passes; None where no stratum is asked.

    Levels of fewer than ``LEAST_ROWS`` rows go by the whole table's calibration, and a warning
    says how many rows that are.
    """
    if column is None or detector is None or whole is None:
        return None
    levels = engine.fold(built.frame, CountLevels(column), merge_levels)
    if levels is None:
        raise ConfigError(
            f"outliers.stratum: {column.removeprefix(CARRIED)} has more than {MOST_VALUES:,} "
            "different values.",
            "name a column of few values",
        )
    own = own_levels(levels)
    threshold = dict(whole.asked)
    step = ScoreLevels(
        seen.scaler, detector, edges, column, own,
        limits(levels, own, threshold.get("contamination", 0.0)), whole.threshold,
    )  # fmt: skip
    scores, flagged = engine.fold(built.frame, step, step.merge)
    others = sum(levels.values()) - sum(levels[name] for name in own)
    if others:
        notes["warnings"].append(
            f"outliers.stratum: {others:,} rows of {len(levels) - len(own):,} values of "
            f"{column.removeprefix(CARRIED)} go by the whole table's threshold; a value needs "
            f"{LEAST_ROWS:,} rows for its own"
        )
    return Stratified(stratify(column, own, scores, edges, threshold, whole), others, flagged)


def narrate_strata(notes: dict[str, Any], found: Stratified | None) -> None:
    """Rows flagged in all, and each level's threshold."""
    if found is None:
        return
    told: Mapping[str, Any] = {
        level: {"rows": c.rows, "flagged": c.flagged, "threshold": c.threshold}
        for level, c in zip(found.strata.levels, found.strata.calibrations, strict=True)
    }
    notes["outliers"] |= {
        "flagged": found.flagged,
        "stratum": found.strata.column.removeprefix(CARRIED),
        "strata": told,
    }
