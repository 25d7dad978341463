"""From raw feature columns to scaled blocks and back: one frozen value, fitted on a description."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.errors import DataError
from segpipe.kernels.cells import MISSING, numbers, texts
from segpipe.kernels.quantise import BOUND
from segpipe.models.description import Category, Description, Number
from segpipe.models.inputs import Input, signed_log
from segpipe.models.weighted import correlations, moments, quantiles
from segpipe.values import Block, Floats

__all__ = ["MISMATCH", "Input", "Scaler", "fit_scaler"]

ONEHOT_LEVELS = 30
SURPRISAL_LEVELS = 10_000
"""Rarer levels share one surprisal: a look-up table must stay small in every task."""
MISMATCH = 0.5
"""Squared distance between two levels of a one-hot column, in units of a numeric column's
variance: gamma of Huang 1998 (k-prototypes), half of the numeric scale."""
SKEWED, FEW_VALUES = 3.0, 10
HEAVY = 10.0
"""Excess kurtosis above which the interquartile range replaces the standard deviation ..."""
CLIPPED = 0.02
"""Share of the rows beyond the bound above which they are no tail but groups, which clipping would
join in one corner."""
LARGEST_STD = 3.0
"""... unless the clipped column then spreads wider than this (a Cauchy column has 2.9): a column
that is mostly constant has a tiny IQR, and by it would outweigh all others."""
LEAST = 1e-300
"""Smallest divisor: grid steps per unit must stay finite."""
NEAR_COPY = 0.98
HEADROOM = 4.0
"""scale=none: new rows may lie this many times farther out than the fitted ones."""


@dataclass(frozen=True)
class Scaler:
    """Raw batches to blocks; row i of a block depends on row i of the batch alone."""

    inputs: tuple[Input, ...]
    unit: float = 1.0
    """Distance in scaled space = distance in the block * ``unit`` (not 1 for scale=none only)."""
    dropped: tuple[tuple[str, str], ...] = ()
    """(column, reason) of the columns that do not enter a distance."""

    @property
    def width(self) -> int:
        """Number of features, d."""
        return len(self.names)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the d features; a one-hot column gives ``column=level``."""
        return tuple(name for item in self.inputs for name in item.outputs)

    @cached_property
    def source(self) -> npt.NDArray[np.intp]:
        """(d,) index into ``inputs`` of the column that each feature comes from."""
        return np.repeat(np.arange(len(self.inputs)), [len(i.outputs) for i in self.inputs])

    def transform(self, batch: pa.RecordBatch) -> Block:
        """(d, n) float32, C-contiguous, within +-10, on the 2^-20 grid; missing cells filled."""
        block: Block = np.empty((self.width, batch.num_rows), np.float32)
        first = 0
        for item in self.inputs:
            last = first + len(item.outputs)
            item.write(batch.column(item.name), block[first:last])
            first = last
        return block

    def restore(self, centres: Floats) -> dict[str, npt.NDArray[Any]]:
        """Each input's value at (k, d) scaled points: (k,) floats in original units, or levels."""
        result, first = {}, 0
        for item in self.inputs:
            last = first + len(item.outputs)
            result[item.name] = item.restore(np.asarray(centres)[:, first:last])
            first = last
        return result


def fit_scaler(
    description: Description,
    scale: str = "auto",
    encoding: str = "onehot",
    near_copies: bool = False,
    required: Collection[str] = (),
    logs: Collection[str] = (),
) -> Scaler:
    """Choose log, centre and scale per column from the sample, counts and ranges from the table.

    Parameters
    ----------
    scale
        auto (log of skewed columns, robust scale for heavy tails), standard, robust (median and
        IQR / 1.349), none (original units: one divisor for all columns, see ``Scaler.unit``).
    encoding
        onehot (a mismatch costs ``MISMATCH``) or surprisal (-log share: one output a column).
    near_copies
        Drop columns that correlate above .98 with an earlier one; otherwise they weigh double.
    required
        Columns whose all-null or constant state is an error, not a warning.
    logs
        Columns that ``auto`` takes the log of however skewed they are.

    Raises
    ------
    DataError
        A required column carries no information, or no column is left.
    """
    if scale not in ("auto", "standard", "robust", "none"):
        raise ValueError(f"scale {scale!r}")
    inputs: list[Input] = []
    dropped: list[tuple[str, str]] = []
    for number in description.numbers:
        reason = _useless_number(number)
        # One entity alone differs from nobody: it is described, at distance 0 from itself.
        if reason and (description.rows > 1 or np.isnan(number.low)):
            dropped.append((number.name, reason))
        else:
            inputs.append(_number(number, description, scale, number.name in logs))
    for category in description.categories:
        item, reason = _category(category, description, encoding, scale)
        if item is None:
            dropped.append((category.name, reason))
        else:
            inputs.append(item)
    lost = [f"{name} ({why})" for name, why in dropped if name in required]
    if lost:
        raise DataError(
            f"required columns carry no information: {', '.join(lost)}.",
            hint="leave them out of features.columns, or repair the source",
        )
    unit = 1.0
    if scale == "none":
        inputs, unit = _common_unit(inputs, description)
    if near_copies and inputs:
        inputs, copies = _without_copies(inputs, description)
        dropped += copies
    if not inputs:
        found = ", ".join(f"{name} ({why})" for name, why in dropped) or "no column at all"
        raise DataError(
            f"no column is left to compare rows by; found {found}.",
            hint="name columns that vary in features.columns",
        )
    return Scaler(tuple(inputs), unit, tuple(dropped))


def _short(value: float) -> float:
    """8 significant digits: sums that differ in the last bits still give one constant (law 2)."""
    return float(f"{value:.7e}")


def _useless_number(number: Number) -> str:
    if np.isnan(number.low):
        return "no finite value"
    return f"constant {number.low:.6g}" if number.low == number.high else ""


def _number(number: Number, description: Description, scale: str, log: bool) -> Input:
    x = numbers(description.sample.batch.column(number.name))
    seen = np.isfinite(x)
    x, weight = x[seen], description.sample.weight[seen]
    if not len(x):  # all missing in the sample, not in the table
        x, weight = np.array([number.low]), np.ones(1)
    median = _short(quantiles(x, weight, (0.5,))[0])
    base = Input(
        number.name,
        "number",
        median,
        number.missing,
        fill=median,
        low=number.low,
        high=number.high,
    )
    if scale == "none":
        return base
    shape = moments(x, weight)
    if shape.std == 0.0:  # constant in the sample, not in the table
        return replace(base, centre=median, scale=_short(max(number.high - number.low, LEAST)))
    # The log is odd, so a few negative values (net sales of a returner) do not forbid it.
    skewed = shape.skew > SKEWED and len(np.unique(x)) > FEW_VALUES and median >= 0
    if scale == "auto" and (skewed or (log and (x > 0).any())):
        offset = _short(quantiles(x[x > 0], weight[x > 0], (0.5,))[0])
        x = signed_log(x, offset)
        shape = moments(x, weight)
        base = replace(base, log=True, offset=offset)
    centre, spread = shape.mean, shape.std
    if scale == "robust" or (scale == "auto" and shape.kurtosis > HEAVY):
        low, middle, high = quantiles(x, weight, (0.25, 0.5, 0.75))
        # 1.349 standard deviations lie between the quartiles of a Gaussian.
        narrow = (high - low) / 1.349
        if narrow > 0 and (scale == "robust" or _bounded(x, weight, middle, narrow)):
            centre, spread = middle, narrow
    return replace(base, centre=_short(centre), scale=_short(max(spread, LEAST)))


def _bounded(x: Floats, weight: Floats, centre: float, spread: float) -> bool:
    z = (x - centre) / spread
    beyond = float(weight[np.abs(z) > BOUND].sum() / weight.sum())
    return beyond <= CLIPPED and moments(np.clip(z, -BOUND, BOUND), weight).std <= LARGEST_STD


def _category(
    category: Category, description: Description, encoding: str, scale: str
) -> tuple[Input | None, str]:
    levels, counts = category.levels, category.counts.astype(np.float64)
    if category.overflow:
        levels, counts = _sampled_levels(category.name, description)
    if len(levels) < 2:
        whole = category.missing == description.rows
        return None, "no value" if whole else f"constant {levels[0] if levels else ''!r}"
    base = Input(
        category.name,
        "category",
        levels[0] if levels[0] != MISSING else levels[1],
        category.missing,
        encoding=encoding,
    )
    if encoding == "onehot":
        # Two one-hot vectors of height h differ by 2 h^2 = MISMATCH.
        height = np.sqrt(MISMATCH / 2)
        kept = levels[:ONEHOT_LEVELS]
        item = replace(
            base, levels=kept, other=len(levels) > len(kept), scale=_short(1.0 / float(height))
        )
        return item, ""
    total = counts.sum()
    kept, rest = levels[:SURPRISAL_LEVELS], counts[SURPRISAL_LEVELS:]
    # An unseen level counts as half a row; rare ones beyond the table as their mean count.
    unseen = max(0.5, rest.mean() if len(rest) else 0.5)
    table = -np.log(np.append(counts[: len(kept)], unseen) / total)
    shape = moments(table, np.append(counts[: len(kept)], rest.sum()))
    if shape.std == 0.0:
        return None, "all levels are equally common"
    centre, spread = (0.0, 1.0) if scale == "none" else (shape.mean, shape.std)
    table = np.array([_short(v) for v in table])
    return replace(
        base, levels=kept, surprisal=table, centre=_short(centre), scale=_short(spread)
    ), ""


def _sampled_levels(name: str, description: Description) -> tuple[tuple[str, ...], Floats]:
    encoded = texts(description.sample.batch.column(name)).dictionary_encode()
    counts = np.bincount(encoded.indices.to_numpy(), weights=description.sample.weight)
    pairs = sorted(zip(-counts, encoded.dictionary.to_pylist(), strict=True))
    return tuple(level for _, level in pairs), np.array([-count for count, _ in pairs])


def _common_unit(inputs: list[Input], description: Description) -> tuple[list[Input], float]:
    """Centres moved to the middle of each range, one power of two as everybody's divisor."""
    spans, typical = [0.0], []
    for item in inputs:
        if item.kind == "number":
            spans.append(item.high - item.low)
            x = numbers(description.sample.batch.column(item.name))
            seen = np.isfinite(x)
            if seen.any():
                typical.append(moments(x[seen], description.sample.weight[seen]).std)
        elif item.surprisal is not None:
            spans.append(2 * float(item.surprisal.max()))
    # A one-hot mismatch costs MISMATCH of the mean variance of the numeric columns.
    std = float(np.sqrt(np.mean(np.square(typical)))) if typical and max(typical) > 0 else 1.0
    span = max(spans) or std
    unit = float(2.0 ** np.ceil(np.log2(HEADROOM * span / (2 * BOUND))))
    result = []
    for item in inputs:
        if item.kind == "number":
            middle = _short(item.low / 2 + item.high / 2)
            result.append(replace(item, centre=middle, scale=unit))
        elif item.encoding == "onehot":
            result.append(replace(item, scale=_short(item.scale * unit / std)))
        else:
            result.append(replace(item, scale=unit))
    return result, unit


def _without_copies(
    inputs: list[Input], description: Description
) -> tuple[list[Input], list[tuple[str, str]]]:
    single = [item for item in inputs if item.encoding != "onehot"]
    if len(single) < 2:
        return inputs, []
    block = Scaler(tuple(single)).transform(description.sample.batch).astype(np.float64)
    r = np.abs(correlations(block, description.sample.weight))
    kept: list[int] = []
    copies: list[tuple[str, str]] = []
    for j, item in enumerate(single):
        twin = next((i for i in kept if r[i, j] > NEAR_COPY), None)
        if twin is None:
            kept.append(j)
        else:
            copies.append((item.name, f"near copy of {single[twin].name} (|r| = {r[twin, j]:.3f})"))
    gone = {name for name, _ in copies}
    return [item for item in inputs if item.name not in gone], copies
