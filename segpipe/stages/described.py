"""Described: the table's facts, its scaled sample, and what outlier scores see of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from segpipe.engines.protocol import Engine
from segpipe.features.plan import Built
from segpipe.features.sets import FeatureSet
from segpipe.fit.describe import conclude
from segpipe.fit.look import Found, Look, look_for
from segpipe.fit.look import merge as merge_found
from segpipe.models.description import Description
from segpipe.models.scaler import Scaler, fit_scaler
from segpipe.values import Block, Floats, Sample, Weighing


@dataclass(frozen=True)
class Described:
    """The table's facts and its scaled sample."""

    description: Description
    scaler: Scaler
    x: Block
    w: Floats
    weighing: Weighing | None = None
    """How passes over all rows weigh them; None: all alike."""
    per_weight: float = 1.0
    """What one unit of weight in those passes is to the user."""
    weight_scale: float | None = None
    """See ``Weighing``; None where rows have no weights."""
    lens: Scaler | None = None
    """What the outlier scores see, where it is not what the segments see."""

    def head(self, rows: int) -> Described:
        """The same from the first ``rows`` of the sample, which are a sample too: hash order.

        Rows that stand for many would stand for too many there: then it stays whole.
        """
        if len(self.w) <= rows or self.w.max() > 2.0 * self.w.mean():
            return self
        sample = self.description.sample
        grown = float(self.w.sum() / self.w[:rows].sum())
        part = Sample(
            sample.batch.slice(0, rows), sample.weight[:rows] * grown, sample.count[:rows]
        )
        return Described(
            replace(self.description, sample=part),
            self.scaler,
            np.ascontiguousarray(self.x[:, :rows]),
            part.weight,
            self.weighing,
            self.per_weight,
            self.weight_scale,
            self.lens,
        )

    def warnings(self, earlier: Sequence[str]) -> list[str]:
        """``earlier`` ones, columns that were dropped, values that were filled; each once."""
        lost = tuple(f"column {name} " for name, _ in self.scaler.dropped)
        said = [text for text in earlier if not text.startswith(lost)]
        said += [f"column {name} is left out: {why}" for name, why in self.scaler.dropped]
        kept = {i.name for i in self.scaler.inputs}
        said += [
            f"{n.missing:,} missing or non-finite values of {n.name} are filled with the median"
            for n in self.description.numbers
            if n.missing and n.name in kept
        ]
        return said


def looking(built: Built, sample_rows: int, seed: int, rows: int | None) -> Look:
    """What the first pass describes; ``rows``: of the table, where the files tell.

    Columns that are shown but enter no distance are described too, for the profiles; but for
    ``built.aside``.
    """
    apart = {*built.categorical, *built.numeric, *built.aside}
    shown = [n for n in built.shown if n not in apart]
    numeric = (*built.numeric, *(n for n in shown if _is_number(built.schema.field(n).type)))
    return look_for(numeric, built.categorical, built.keys, sample_rows, seed, rows, built.weight)


def look(
    engine: Engine,
    built: Built,
    featureset: FeatureSet,
    scale: str,
    required: tuple[str, ...],
    chosen: bool,
    step: Look,
    found: Found | None,
) -> Described:
    """The table's facts, then the scaler; ``chosen``: the user named the columns.

    ``found``: what ``step`` found in an earlier pass; None takes a pass over the feature table.
    """
    found = engine.fold(built.frame, step, merge_found) if found is None else found
    description = conclude(engine, built.frame, step, found)
    entering = tuple(n for n in description.numbers if n.name in built.numeric)
    scaler = fit_scaler(
        replace(description, numbers=entering),
        featureset.auto_scale if scale == "auto" else scale,
        featureset.encoding,
        featureset.near_copies and not chosen,
        required,
        built.logs,
    )
    x = scaler.transform(description.sample.batch)
    lens = _lens(built, description, scale, featureset.encoding)
    weights = description.weights
    if weights is None or built.weight is None:
        return Described(description, scaler, x, description.sample.weight, lens=lens)
    factor = float(2.0 ** -np.ceil(np.log2(weights.mean)))
    if weights.low == weights.high:  # the same as no weights, to the bit
        weighing, each = None, weights.low
    else:
        weighing, each = Weighing(built.weight, factor, weights.high), 1.0 / factor
    return Described(
        description, scaler, x, description.sample.weight, weighing, each, factor, lens
    )


def _lens(built: Built, description: Description, scale: str, encoding: str) -> Scaler | None:
    """The scaler of the outlier scores, where they look at columns of their own."""
    if not built.unusual:
        return None
    numbers = tuple(n for n in description.numbers if n.name in built.unusual)
    wider = replace(description, numbers=numbers, categories=())
    return fit_scaler(wider, scale, encoding, near_copies=True)


def _is_number(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)
    )
