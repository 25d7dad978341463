"""How one raw column becomes one or more scaled features, and back."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from segpipe.kernels.cells import floats, numbers, texts
from segpipe.kernels.quantise import quantise
from segpipe.values import Block, Floats

OTHER = "(other)"


@dataclass(frozen=True)
class Input:
    """How one column enters the block."""

    name: str
    kind: str
    """number | category."""
    usual: float | str
    """Median or commonest level, in original units."""
    missing: int
    """Rows of the fitted table without a finite value."""
    log: bool = False
    """Numbers: log1p(|x| / offset) with the sign of x, before centring."""
    offset: float = 1.0
    """Median of the positive values, where ``log``."""
    centre: float = 0.0
    scale: float = 1.0
    fill: float = 0.0
    """Stands for a missing number, in original units."""
    low: float = float("nan")
    high: float = float("nan")
    encoding: str = ""
    """Categories: onehot | surprisal."""
    levels: tuple[str, ...] = ()
    surprisal: Floats | None = None
    """-log share of each level, nats; with one more entry for every other level."""
    other: bool = False
    """onehot: the last output gathers all other levels (otherwise they are all zeros)."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """Names of the features this column becomes."""
        if self.encoding != "onehot":
            return (self.name,)
        names = (*self.levels, OTHER) if self.other else self.levels
        return tuple(f"{self.name}={level}" for level in names)

    @cached_property
    def _lookup(self) -> Any:
        return pa.array(self.levels, pa.string())

    @cached_property
    def _scaled_levels(self) -> npt.NDArray[np.float32]:
        if self.surprisal is None:
            return np.zeros(0, np.float32)
        out = np.empty(len(self.surprisal), np.float32)
        quantise(self.surprisal, self.fill, self.centre, self.scale, out)
        return out

    @cached_property
    def _height(self) -> np.float32:
        """Of a one-hot feature: 1 / ``scale``, on the grid as every cell."""
        out = np.empty(1, np.float32)
        quantise(np.ones(1), 0.0, 0.0, self.scale, out)
        return np.float32(out[0])

    def write(self, column: Any, out: Block) -> None:
        """Fill ``out``, (outputs, n), from the raw column."""
        if self.kind == "number":
            if self.log:
                values = numbers(column)
                values = np.where(np.isfinite(values), values, self.fill)
                quantise(
                    signed_log(values, self.offset), self.fill, self.centre, self.scale, out[0]
                )
            else:
                quantise(floats(column), self.fill, self.centre, self.scale, out[0])
            return
        found = pc.index_in(texts(column), value_set=self._lookup)
        code = pc.fill_null(found, len(self.levels)).to_numpy(zero_copy_only=False)
        if self.encoding == "surprisal":
            out[0] = self._scaled_levels[code]
            return
        out[:] = 0.0
        rows = np.flatnonzero(code < len(out))
        out[code[rows], rows] = self._height

    def restore(self, scaled: Floats) -> npt.NDArray[Any]:
        """(k, outputs) scaled values in original units: floats, or the level that fits best."""
        if self.encoding == "onehot":
            names = np.array([*self.levels, OTHER] if self.other else self.levels, dtype=object)
            best: npt.NDArray[Any] = names[scaled.argmax(axis=1)]
            return best
        values = scaled[:, 0] * self.scale + self.centre
        if self.surprisal is not None:
            names = np.array([*self.levels, OTHER], dtype=object)
            nearest: npt.NDArray[Any] = names[
                np.abs(values[:, None] - self.surprisal).argmin(axis=1)
            ]
            return nearest
        if self.log:
            values = np.copysign(np.expm1(np.abs(values)) * self.offset, values)
        return values


def signed_log(x: Floats, offset: float) -> Floats:
    """log1p(|x| / offset) with the sign of x: odd, so it takes negative values too."""
    logged: Floats = np.copysign(np.log1p(np.abs(x) / offset), x)
    return logged
