"""Exact passes over all rows: Lloyd or EM steps from the sample's model, and its true inertia.

Every state is an exact sum (``kernels.nearest``), so that engine, partitioning and order of rows
cannot change a bit of the model.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.fit.mixture import expected_gain, maximise
from segpipe.kernels import nearest as kernel
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats, Ints, SegmentModel, Weighing

DIGITS = 10
TOL = 1e-4
"""Gain of a step (share of the inertia, or nats per row) that is not worth a pass."""


class Transform(Protocol):
    """What is needed of a scaler: raw feature batches to scaled blocks."""

    def transform(self, batch: pa.RecordBatch) -> Block:
        """(d, n) scaled features."""
        ...


class Watching(Protocol):
    """What else is noted of one part's rows while they pass."""

    def add(self, batch: pa.RecordBatch, x: Block, segment: Ints) -> None:
        """Take in a batch, its block and the labels that the pass gave it."""
        ...

    def noted(self) -> Any:
        """The state; states of parts are added (``+``)."""
        ...


class Watch(Protocol):
    """Something to note in passing (``scoring.tally.Watch``); picklable."""

    def begin(self, k: int) -> Watching:
        """For one part, labelled with ``k`` segments."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Polished:
    """A model and its exact numbers over all rows."""

    model: SegmentModel
    sums: kernel.Sums
    """Of the rows as the model labels them."""
    history: tuple[float, ...]
    """Per pass: inertia (centres), mean log likelihood in nats (mixtures)."""
    noted: tuple[Any, ...] = ()
    """Per pass: what its watch noted; None where none watched."""
    rows: npt.NDArray[np.int64] | None = None
    """(k,) rows per segment, where weights say something else."""

    @property
    def inertia(self) -> float:
        """Weighted squared distances of the rows to their own segment's centre; noise left out."""
        return self.sums.inertia

    @property
    def weight(self) -> float:
        """Rows (or their weight) in segments."""
        return float(self.sums.count.sum())


def moves(model: SegmentModel) -> bool:
    """Whether ``polish`` can improve a model of this kind; others are only measured."""
    return isinstance(model, MixtureModel) or (
        isinstance(model, KMeansModel) and model.kind == "kmeans"
    )


def polish(
    engine: Engine,
    frame: Frame,
    scaler: Transform,
    model: SegmentModel,
    passes: int,
    tol: float = TOL,
    weight: Weighing | None = None,
    watch: Callable[[int], Watch | None] = lambda _: None,
) -> Polished:
    """Improve ``model`` on all rows in at most ``passes`` passes; at least one measures it.

    Each pass measures the model it starts from, so a model moves at most ``passes - 1`` times and
    the numbers returned are always those of the model returned. It stops at once where a step
    could gain less than ``tol`` of the inertia (or ``tol`` nats per row): a sample that held
    every row has nothing left to gain. Only K-Means and mixtures move; others are measured.

    Parameters
    ----------
    weight : where row weights are, and their scale; None = 1 each. All sums are weighted by it
    watch : number of the pass -> what to note while its rows pass
    """
    sums: list[kernel.Sums] = []
    history: list[float] = []
    noted: list[Any] = []
    while True:
        step = _step_of(scaler, model, weight, watch(len(history)))
        state: _State = engine.fold(frame, step, operator.add)
        sums.append(state.sums)
        noted.append(state.noted)
        em = state.em
        history.append(
            state.sums.inertia if em is None else em.log_likelihood / max(em.weight, 1e-300)
        )
        better = model if len(history) >= passes else _moved(model, state, tol)
        if better is model:
            return Polished(model, sums[-1], tuple(history), tuple(noted), state.rows)
        model = better


def _moved(model: SegmentModel, state: _State, tol: float) -> SegmentModel:
    """The model after one exact step; the same one where the step could not gain ``tol``."""
    if isinstance(model, MixtureModel):
        if state.em is None or not state.em.weight > 0:
            return model
        new = maximise(model, state.em)
        if expected_gain(model, new, state.em) <= tol:
            return model
        return replace(
            new,
            weights=_rounded(new.weights),
            means=_rounded(new.means),
            covariances=_rounded(new.covariances),
        )
    if not moves(model):
        return model
    assert isinstance(model, KMeansModel)
    sums = state.sums
    used = sums.count[:, None] > 0
    means = np.divide(sums.linear, sums.count[:, None], out=model.centres.copy(), where=used)
    # Moving the centres to the means gains this much before any row changes its cluster.
    gain = float((sums.count * np.square(means - model.centres).sum(axis=1)).sum())
    return model if gain <= tol * sums.inertia else replace(model, centres=_rounded(means))


def exact_inertia(
    engine: Engine,
    frame: Frame,
    scaler: Transform,
    model: SegmentModel,
    weight: Weighing | None = None,
) -> float:
    """Squared distances of all rows to their segment's centre, whichever library fitted it."""
    return polish(engine, frame, scaler, model, 1, weight=weight).inertia


@dataclass(frozen=True, slots=True, eq=False)
class _State:
    sums: kernel.Sums
    em: Any
    """``kernels.mixture.EMSums`` of a mixture."""
    noted: Any
    rows: npt.NDArray[np.int64] | None
    """(k,); None where rows weigh 1 each and the sums count them."""

    def __add__(self, other: _State) -> _State:
        return _State(
            self.sums + other.sums,
            None if self.em is None else self.em + other.em,
            None if self.noted is None else self.noted + other.noted,
            None if self.rows is None or other.rows is None else self.rows + other.rows,
        )


Measured = tuple[Ints, kernel.Sums, Any]


@dataclass(frozen=True, slots=True, eq=False)
class _Step:
    """Fold step: labels every row and adds up what ``measure`` finds."""

    scaler: Transform
    measure: Callable[[Block, Floats | None], Measured]
    blank: _State
    weight: Weighing | None
    watch: Watch | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> _State:
        total = self.blank
        watching = None if self.watch is None else self.watch.begin(len(total.sums.count))
        for batch in batches:
            if not batch.num_rows:
                continue
            x = self.scaler.transform(batch)
            w = None if self.weight is None else self.weight.of(batch)
            label, sums, em = self.measure(x, w)
            rows = None if w is None else np.bincount(label[label >= 0], minlength=len(sums.count))
            total = total + _State(sums, em, None, rows)
            if watching is not None:
                watching.add(batch, x, label)
        return total if watching is None else replace(total, noted=watching.noted())


def _step_of(
    scaler: Transform, model: SegmentModel, weight: Weighing | None, watch: Watch | None
) -> _Step:
    k, d = model.centres.shape
    sums, em = kernel.Sums(np.zeros(k), np.zeros((k, d)), np.zeros((2, k))), None
    measure: Callable[[Block, Floats | None], Measured]
    if isinstance(model, MixtureModel):
        from segpipe.kernels import mixture

        const, factor = model.factors()
        measure = partial(_measure_mixture, const, factor, model)
        em = mixture.EMSums(np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)), 0.0, 0.0)
    elif moves(model):
        measure = partial(_measure_centres, np.asarray(model.centres))
    else:
        measure = partial(_measure_labels, model)
    rows = None if weight is None else np.zeros(k, np.int64)
    return _Step(scaler, measure, _State(sums, em, None, rows), weight, watch)


def _measure_centres(centres: Floats, x: Block, w: Floats | None) -> Measured:
    label, sums = kernel.step(x, centres, w)
    return label, sums, None


def _measure_mixture(
    const: Floats, factor: Floats, model: MixtureModel, x: Block, w: Floats | None
) -> Measured:
    from segpipe.kernels import mixture

    em, label = mixture.em_step(x, w, const, model.means, factor, model.diagonal)
    return label, kernel.add_up(x, w, label, model.means), em


def _measure_labels(model: SegmentModel, x: Block, w: Floats | None) -> Measured:
    label = model.label(x).segment
    return label, kernel.add_up(x, w, label, np.asarray(model.centres, np.float64)), None


def _rounded(values: Floats) -> Floats:
    """Ten significant digits: what is written, read back and compared is the same number."""
    flat = [float(f"{v:.{DIGITS}g}") for v in values.ravel()]
    return np.array(flat, np.float64).reshape(values.shape)
