"""Gaussian mixtures on the sample: EM from several starts over exact additive sums."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from segpipe.errors import ConfigError
from segpipe.fit.kmeans import fit_kmeans, in_threads, lloyd, subset
from segpipe.fit.overlap import classification
from segpipe.kernels import nearest
from segpipe.models.mixture import COVARIANCES, MixtureModel
from segpipe.values import Block, Floats

if TYPE_CHECKING:
    from segpipe.kernels.mixture import EMSums

START_ROWS = 8_192
"""Rows on which starts compete; the best few converge on MIDDLE_ROWS, the best one on all."""
MIDDLE_ROWS = 32_768
FINALISTS = 3
REG_COVAR = 1e-6
"""Added to every variance, as scikit-learn does, in units of the scaled features."""
START_TOL, TOL = 2e-4, 1e-5
"""Gain of mean log likelihood (nats per row and step) that ends EM."""
SLOW = 1e-3
"""The gain at which EM is looked at a first time: where scikit-learn ends it."""
MAX_STEPS = 200
LEAST = 1e-5
"""Share of the rows below which a component keeps its shape: its sums are mostly rounding."""
START_STEPS, LAST_STEPS = 60, 30
TRIALS = 3
"""Starts of every covariance type before the hopeless types are dropped."""
HOPELESS, BEHIND = 0.5, 0.02
"""Nats per row of the BIC by which a type falls out after the starts, and before all rows."""
CATCH_UP = 0.1
"""Nats per row behind the best start that a finalist may be."""
SAME = 0.05
"""Root mean squared difference of the means, and of the covariances, of one optimum's runs."""
EQUAL = 0.015
"""Nats per row by which another start must beat the run from the best K-Means partition, and an
earlier stage of a run its end."""
THIN = 2.0
"""A component is nearly singular if its least variance is below this times REG_COVAR, which is
then most of it."""
PART = 16_384


def fit_mixture(
    x: Block,
    w: Floats,
    k: int,
    covariance: str = "auto",
    n_init: int = 10,
    seed: int = 0,
    init: Floats | None = None,
) -> MixtureModel:
    """The likeliest of ``n_init`` EM runs; covariance ``auto`` is the type of the best BIC.

    ``init`` (k, d) means replace the starts. The first is the best K-Means partition;
    of the others half are partitions by random rows, half those after Lloyd steps. These win
    only by a clear gain (EQUAL), and nearly singular runs only where there are no others. A run
    ends early where going on would only make its components overlap (``_ended``).

    Raises
    ------
    ConfigError
        Unknown covariance type.
    DataError
        Fewer distinct rows than k.
    """
    if covariance not in (*COVARIANCES, "auto"):
        raise ConfigError(
            f"covariance {covariance!r} is unknown.", f"use auto or one of {', '.join(COVARIANCES)}"
        )
    types = COVARIANCES if covariance == "auto" else (covariance,)
    # Runs are threads themselves: BLAS threads for tiny eigenproblems cost thrice their work.
    with threadpool_limits(1, user_api="blas"):
        means = _start_means(x, w, k, n_init, seed) if init is None else [np.asarray(init, float)]
        fitted = _best_runs(x, w, means, types, seed)
        if len(fitted) == 1:
            return fitted[0]
        rows = float(w.sum())
        bic = [model.bic(total_log_likelihood(model, x, w), rows) for model in fitted]
    return fitted[int(np.argmin(bic))]


def total_log_likelihood(model: MixtureModel, x: Block, w: Floats) -> float:
    """Weighted sum of log densities, exact in any order of the rows."""
    return em_sums(model, x, w).log_likelihood


def em_sums(model: MixtureModel, x: Block, w: Floats) -> EMSums:
    """Sums of one EM step; threads over parts, which cannot change exact sums."""
    from segpipe.kernels import mixture as kernel

    const, factor = model.factors()

    def part(lo: int) -> EMSums:
        block = np.ascontiguousarray(x[:, lo : lo + size])
        return kernel.em_sums(block, w[lo : lo + size], const, model.means, factor, model.diagonal)

    n, cores = x.shape[1], min(len(os.sched_getaffinity(0)), 8)
    size = max(PART, -(-n // cores))
    starts = range(0, max(n, 1), size)
    if len(starts) == 1:
        return part(0)
    with ThreadPoolExecutor(cores) as pool:
        sums = list(pool.map(part, starts))
    total = sums[0]
    for s in sums[1:]:
        total = total + s
    return total


def maximise(model: MixtureModel, sums: EMSums) -> MixtureModel:
    """M-step: the model that the sums of an E-step ask for."""
    d = model.means.shape[1]
    alive = sums.count > LEAST * sums.weight
    count = np.where(alive, sums.count, 1.0)
    shift = np.where(alive[:, None], sums.linear / count[:, None], 0.0)
    lower = sums.quadratic / count[:, None, None]
    full = np.tril(lower) + np.swapaxes(np.tril(lower, -1), 1, 2)
    full = full - shift[:, :, None] * shift[:, None, :]
    # A component that lost its rows keeps its shape and has next to no weight.
    full[~alive] = model.full_covariances()[~alive]
    share = np.maximum(sums.count / sums.weight, 1e-12)
    share = share / share.sum()
    return replace(
        model,
        weights=share,
        means=model.means + shift,
        covariances=_shape(full, share, model.covariance_type, d),
    )


def expected_gain(old: MixtureModel, new: MixtureModel, sums: EMSums) -> float:
    """Nats per row that the M-step from ``old`` to ``new`` gains at least (EM's lower bound).

    ``sums`` are those of the E-step with ``old``.
    """

    def level(model: MixtureModel) -> float:
        const, factor = model.factors()
        shift = model.means - old.means
        total = 0.0
        for c in range(model.k):
            lower = np.tril(sums.quadratic[c])
            scatter = lower + np.tril(lower, -1).T
            cross = np.outer(shift[c], sums.linear[c])
            scatter = scatter - cross - cross.T + sums.count[c] * np.outer(shift[c], shift[c])
            if model.diagonal:  # only squares were summed
                scatter = np.diag(np.diagonal(scatter))
            spread = float(np.einsum("ij,jk,ik->", factor[c], scatter, factor[c]))
            total += float(sums.count[c]) * float(const[c]) - 0.5 * spread
        return total

    return (level(new) - level(old)) / sums.weight


def _shape(full: Floats, share: Floats, kind: str, d: int) -> Floats:
    """Covariances of the type asked for, from the full ones and the weights."""
    if kind == "full":
        return _positive(full) + REG_COVAR * np.eye(d)
    if kind == "tied":
        tied = np.asarray((share[:, None, None] * full).sum(axis=0))
        return np.asarray(_positive(tied) + REG_COVAR * np.eye(d))
    diag = np.maximum(np.diagonal(full, axis1=1, axis2=2), 0.0) + REG_COVAR
    return diag if kind == "diag" else np.asarray(diag.mean(axis=1))


def _positive(full: Floats) -> Floats:
    """Symmetric matrices without the negative eigenvalues that rounded sums may leave."""
    values, vectors = np.linalg.eigh(full)
    if values.min() >= 0:
        return full
    return np.asarray((vectors * np.maximum(values, 0.0)[..., None, :]) @ vectors.swapaxes(-1, -2))


def _start_means(x: Block, w: Floats, k: int, n_init: int, seed: int) -> list[Floats]:
    few = subset(x.shape[1], max(START_ROWS, 64 * k), seed)
    xs, ws = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    best = fit_kmeans(xs, ws, k, n_init, seed).centres
    means = [best]
    for i in range(1, n_init):
        # Rows drawn evenly fall into dense parts, where components may overlap; Lloyd steps then
        # lead to local optima that greedy k-means++ would miss and EM may prefer.
        rng = np.random.default_rng([seed, k, 1000 + i])
        rows = rng.choice(xs.shape[1], k, replace=False, p=ws / ws.sum())
        start = np.asarray(xs[:, rows].T, np.float64)
        if i % 2 == 1:
            start = lloyd(xs, ws, start, 1e-3)
        means.append(start)
    return means


class Run(NamedTuple):
    """A model and its mean log likelihood on the rows it was fitted to."""

    model: MixtureModel
    level: float
    early: MixtureModel | None = None
    """The same run where its steps first gained less than SLOW."""
    tol: float = TOL
    """Gain per step below which it was ended."""


def _best_runs(
    x: Block, w: Floats, means: Sequence[Floats], types: Sequence[str], seed: int
) -> list[MixtureModel]:
    """The best run of each covariance type that may still have the best BIC."""
    n, k = x.shape[1], len(means[0])
    few, more = subset(n, max(START_ROWS, 64 * k), seed), subset(n, MIDDLE_ROWS, seed)
    xs, ws = (x, w) if few is None else (np.ascontiguousarray(x[:, few]), w[few])
    xm, wm = (x, w) if more is None else (np.ascontiguousarray(x[:, more]), w[more])

    def starts(kind: str, centres: Sequence[Floats]) -> list[Run]:
        def start(place: Floats) -> Run:
            early = _run(xs, ws, _partition_model(xs, ws, place, kind), SLOW, START_STEPS).model
            return _run(xs, ws, early, START_TOL, START_STEPS)._replace(early=early)

        return in_threads(start, centres, xs.size * k * x.shape[0])

    rows = float(w.sum())
    runs = {kind: starts(kind, means[:TRIALS]) for kind in types}
    for kind in _contenders(runs, xs.shape[1], rows, HOPELESS):
        runs[kind] += starts(kind, means[TRIALS:])
    ends = {
        kind: [_ended(xm, wm, run) for run in _finalists(runs[kind])]
        for kind in _contenders(runs, xs.shape[1], rows, HOPELESS)
    }
    best = [_chosen(ends[kind]) for kind in _contenders(ends, xm.shape[1], rows, BEHIND)]
    if more is None:
        return [end.model for end in best]
    return [_run(x, w, end.model, end.tol, LAST_STEPS).model for end in best]


def _ended(x: Block, w: Floats, start: Run) -> Run:
    """Where EM ends from a start, or where it slowed down if that parts the rows clearly better.

    A long way of small gains may end with one component under others: on s4 of the SIPU sets 150
    steps gain .018 nats of likelihood a row and lose .054 of the classification likelihood.
    """
    late = _run(x, w, start.model, TOL, MAX_STEPS)
    if start.early is None:
        return late
    early = _run(x, w, start.early, SLOW, MAX_STEPS)
    gain = classification(early.model, x, w) - classification(late.model, x, w)
    return early._replace(tol=SLOW) if gain > EQUAL else late


def _contenders(runs: dict[str, list[Run]], fitted: int, rows: float, margin: float) -> list[str]:
    """Types whose best run is at most ``margin`` nats per row behind the best type's.

    By BIC of all rows, where a run on few rows overstates its likelihood by about half a nat per
    parameter on them and as much on others (Akaike).
    """

    def score(model: MixtureModel, level: float) -> float:
        return level - model.parameters * (0.5 * math.log(rows) / rows + 1.0 / fitted)

    best = {kind: max(score(run.model, run.level) for run in found) for kind, found in runs.items()}
    return [kind for kind, found in best.items() if found >= max(best.values()) - margin]


def _finalists(runs: Sequence[Run]) -> list[Run]:
    """The FINALISTS likeliest runs that lead to different optima, none of them far behind.

    The first run, that of the K-Means partition, is among them as the first if it is close.
    """
    runs = _sound(runs)
    best = max(run.level for run in runs)
    kept: list[Run] = []
    for run in [runs[0], *sorted(runs[1:], key=lambda run: -run.level)]:
        # The worse a start the slower it ends, and it seldom makes up for more than this.
        close = run.level >= best - CATCH_UP and len(kept) < FINALISTS
        if close and not any(_same(run.model, other.model) for other in kept):
            kept.append(run)
    return kept


def _sound(runs: Sequence[Run]) -> Sequence[Run]:
    """The runs without nearly singular components; all runs if each has some.

    The likelihood has no bound where a component shrinks onto a few rows or onto a plane
    (Day 1969), so that the likeliest of many starts tends to be such a one.
    """

    def least(model: MixtureModel) -> float:
        return float(np.linalg.eigvalsh(model.full_covariances()).min())

    return [run for run in runs if least(run.model) >= THIN * REG_COVAR] or runs


def _chosen(ends: Sequence[Run]) -> Run:
    """The likeliest sound run, but the first where it is as good as equal.

    Optima so close in likelihood may part the rows in quite different ways; the one next to the
    K-Means partition has components that are seldom slivers inside of others.
    """
    ends = _sound(ends)
    best = max(ends, key=lambda end: end.level)
    return ends[0] if ends[0].level >= best.level - EQUAL else best


def _same(a: MixtureModel, b: MixtureModel) -> bool:
    """Whether each component of either has one of the other near it in place and shape."""
    place = np.square(a.means[:, None] - b.means[None]).mean(axis=2)
    shapes = a.full_covariances()[:, None] - b.full_covariances()[None]
    apart = np.maximum(place, np.square(shapes).mean(axis=(2, 3)))
    return bool(max(apart.min(axis=0).max(), apart.min(axis=1).max()) < SAME**2)


def _run(x: Block, w: Floats, model: MixtureModel, tol: float, steps: int) -> Run:
    """EM until the gain per row is below tol; the model and its mean log likelihood."""
    last = -np.inf
    for _ in range(steps):
        sums = em_sums(model, x, w)
        level = sums.log_likelihood / sums.weight
        if level - last < tol:
            return Run(model, level)
        model, last = maximise(model, sums), level
    return Run(model, last)


def _partition_model(x: Block, w: Floats, centres: Floats, kind: str) -> MixtureModel:
    """One Gaussian per nearest-centre cell."""
    k, d = centres.shape
    label, _, _ = nearest.nearest(x, centres)
    count, linear = nearest.moments(x, w, label, k)
    whole = np.cov(x.astype(np.float64), aweights=w, ddof=0).reshape(d, d)
    means, full = centres.copy(), np.empty((k, d, d))
    for c in range(k):
        member = label == c
        if member.sum() <= d:  # too few rows for a shape of its own
            full[c] = whole
            continue
        means[c] = linear[c] / count[c]
        full[c] = np.cov(x[:, member].astype(np.float64), aweights=w[member], ddof=0).reshape(d, d)
    share = np.maximum(count, 1e-12 * count.sum()) / count.sum()
    return MixtureModel(share / share.sum(), means, _shape(full, share, kind, d), kind)
