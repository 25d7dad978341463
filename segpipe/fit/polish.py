"""Exact passes over all rows: Lloyd or EM steps from the sample's model, and its true inertia.

Every state is an exact sum (``kernels.nearest``), so that engine, partitioning and order of rows
cannot change a bit of the model.
"""

from __future__ import annotations

import operator
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol, cast

import numpy as np
import pyarrow as pa

from segpipe.engines.protocol import Engine, Frame
from segpipe.fit.mixture import expected_gain, maximise
from segpipe.kernels import nearest as kernel
from segpipe.models.kmeans import KMeansModel
from segpipe.models.mixture import MixtureModel
from segpipe.values import Block, Floats, SegmentModel

DIGITS = 10


class Transform(Protocol):
    """What is needed of a scaler: raw feature batches to scaled blocks."""

    def transform(self, batch: pa.RecordBatch) -> Block:
        """(d, n) scaled features."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Polished:
    """A model and its exact numbers over all rows."""

    model: SegmentModel
    inertia: float
    """Weighted squared distances of the rows to their own segment's centre; noise left out."""
    weight: float
    """Rows (or their weight) in segments."""
    history: tuple[float, ...]
    """Per pass: inertia (centres), mean log likelihood in nats (mixtures)."""


def polish(
    engine: Engine,
    frame: Frame,
    scaler: Transform,
    model: SegmentModel,
    passes: int,
    tol: float = 1e-4,
    weight: str | None = None,
) -> Polished:
    """Improve ``model`` on all rows in at most ``passes`` passes; at least one measures it.

    Each pass measures the model it starts from, so a model moves at most ``passes - 1`` times and
    the numbers returned are always those of the model returned. It stops at once where a step
    could gain less than ``tol`` of the inertia (or ``tol`` nats per row): a sample that held
    every row has nothing left to gain. Only K-Means and mixtures move; others are measured.

    Parameters
    ----------
    weight : column of row weights; None = 1 each
    """
    if isinstance(model, MixtureModel):
        return _polish_mixture(engine, frame, scaler, model, passes, tol, weight)
    if isinstance(model, KMeansModel) and model.kind == "kmeans":
        return _polish_centres(engine, frame, scaler, model, passes, tol, weight)
    sums = _measure(engine, frame, scaler, model, weight)
    return Polished(model, sums.inertia, float(sums.count.sum()), (sums.inertia,))


def exact_inertia(
    engine: Engine, frame: Frame, scaler: Transform, model: SegmentModel, weight: str | None = None
) -> float:
    """Squared distances of all rows to their segment's centre, whichever library fitted it."""
    return _measure(engine, frame, scaler, model, weight).inertia


@dataclass(frozen=True, slots=True, eq=False)
class _Measure:
    """Fold step: Lloyd sums of the rows as ``model`` labels them."""

    scaler: Transform
    model: SegmentModel
    centres: Floats
    weight: str | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> kernel.Sums:
        k, d = self.centres.shape
        total = kernel.Sums(np.zeros(k), np.zeros((k, d)), np.zeros((2, k)))
        for batch in batches:
            if batch.num_rows:
                x, w = _block(self.scaler, batch, self.weight)
                total = total + kernel.add_up(x, w, self.model.label(x).segment, self.centres)
        return total


@dataclass(frozen=True, slots=True, eq=False)
class _LloydStep:
    """Fold step: sums of one Lloyd step, without the confidences that ``label`` would add."""

    scaler: Transform
    centres: Floats
    weight: str | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> kernel.Sums:
        k, d = self.centres.shape
        total = kernel.Sums(np.zeros(k), np.zeros((k, d)), np.zeros((2, k)))
        for batch in batches:
            if batch.num_rows:
                x, w = _block(self.scaler, batch, self.weight)
                total = total + kernel.lloyd_sums(x, w, self.centres)
        return total


@dataclass(frozen=True, slots=True, eq=False)
class _EMState:
    em: Any
    hard: kernel.Sums

    def __add__(self, other: _EMState) -> _EMState:
        return _EMState(self.em + other.em, self.hard + other.hard)


@dataclass(frozen=True, slots=True, eq=False)
class _EMStep:
    """Fold step: sums of one EM step, and of the hard labels for the inertia."""

    scaler: Transform
    model: MixtureModel
    weight: str | None

    def __call__(self, batches: Iterator[pa.RecordBatch]) -> _EMState:
        from segpipe.kernels import mixture

        model = self.model
        const, factor = model.factors()
        k, d = model.means.shape
        em = mixture.EMSums(np.zeros(k), np.zeros((k, d)), np.zeros((k, d, d)), 0.0, 0.0)
        hard = kernel.Sums(np.zeros(k), np.zeros((k, d)), np.zeros((2, k)))
        for batch in batches:
            if batch.num_rows:
                x, w = _block(self.scaler, batch, self.weight)
                em = em + mixture.em_sums(x, w, const, model.means, factor, model.diagonal)
                label, _, _ = mixture.posterior(x, const, model.means, factor, model.diagonal)
                hard = hard + kernel.add_up(x, w, label, model.means)
        return _EMState(em, hard)


def _polish_centres(
    engine: Engine,
    frame: Frame,
    scaler: Transform,
    model: KMeansModel,
    passes: int,
    tol: float,
    weight: str | None,
) -> Polished:
    history: list[float] = []
    while True:
        step = _LloydStep(scaler, model.centres, weight)
        sums = cast(kernel.Sums, engine.fold(frame, step, operator.add))
        history.append(sums.inertia)
        used = sums.count[:, None] > 0
        means = np.divide(sums.linear, sums.count[:, None], out=model.centres.copy(), where=used)
        # Moving the centres to the means gains this much before any row changes its cluster.
        gain = float((sums.count * np.square(means - model.centres).sum(axis=1)).sum())
        if len(history) >= passes or gain <= tol * sums.inertia:
            return Polished(model, sums.inertia, float(sums.count.sum()), tuple(history))
        model = replace(model, centres=_rounded(means))


def _polish_mixture(
    engine: Engine,
    frame: Frame,
    scaler: Transform,
    model: MixtureModel,
    passes: int,
    tol: float,
    weight: str | None,
) -> Polished:
    history: list[float] = []
    while True:
        state = engine.fold(frame, _EMStep(scaler, model, weight), operator.add)
        history.append(state.em.log_likelihood / max(state.em.weight, 1e-300))
        done = len(history) >= passes or not state.em.weight > 0
        new = model if done else maximise(model, state.em)
        if done or expected_gain(model, new, state.em) <= tol:
            hard = state.hard
            return Polished(model, hard.inertia, float(hard.count.sum()), tuple(history))
        model = replace(
            new,
            weights=_rounded(new.weights),
            means=_rounded(new.means),
            covariances=_rounded(new.covariances),
        )


def _measure(
    engine: Engine, frame: Frame, scaler: Transform, model: SegmentModel, weight: str | None
) -> kernel.Sums:
    step = _Measure(scaler, model, np.asarray(model.centres, np.float64), weight)
    return cast(kernel.Sums, engine.fold(frame, step, operator.add))


def _block(scaler: Transform, batch: pa.RecordBatch, weight: str | None) -> tuple[Block, Floats]:
    x = scaler.transform(batch)
    if weight is None:
        return x, np.ones(x.shape[1])
    return x, batch.column(weight).cast(pa.float64()).to_numpy(zero_copy_only=False)


def _rounded(values: Floats) -> Floats:
    """Ten significant digits: what is written, read back and compared is the same number."""
    flat = [float(f"{v:.{DIGITS}g}") for v in values.ravel()]
    return np.array(flat, np.float64).reshape(values.shape)
