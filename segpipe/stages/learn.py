"""Learn: choose and fit the segment model, fit the outlier reference, count all rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from segpipe.config import Fit
from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.features.plan import Built
from segpipe.fit import polish
from segpipe.fit.density import fit_density
from segpipe.fit.kmeans import fit_kmeans, kmeans_starts
from segpipe.fit.library import LibrarySpec
from segpipe.fit.order import order_of, ordered
from segpipe.fit.select import Decision, select
from segpipe.models.lens import LensDetector, block_for
from segpipe.models.scaler import Scaler
from segpipe.scoring.calibrate import score_edges
from segpipe.scoring.collapse import reference_weights
from segpipe.scoring.outliers import fit_detector
from segpipe.scoring.tally import Tally, TallyStep, merge_tallies, tally_of, top_size
from segpipe.scoring.watch import Spool, Watch, no_scores
from segpipe.stages.described import Described
from segpipe.values import Detector, Floats, SegmentModel

WARM = ("kmeans", "gmm")
TELLING = ("ts", "src", "src_port", "dst", "dst_port", "proto", "service")
"""Columns that say which log row it was, where rows have no key."""


def choose(seen: Described, fit: Fit, seed: int) -> Decision:
    """Model family and K, on the sample alone."""
    warm = _warm_start(fit.warm_start, seen.scaler)
    decision = select(
        seen.x,
        seen.w,
        model=fit.model,
        k=fit.k,
        k_max=fit.k_max,
        covariance=fit.covariance,
        n_init=fit.n_init,
        min_share=fit.min_share,
        density_rows=fit.density_rows,
        warm_start=warm,
        seed=seed,
        unit=seen.scaler.unit,
    )
    used = None if warm is None else decision.kind in WARM and decision.k == len(warm)
    started = {"centres": None if warm is None else len(warm), "used": used}
    return replace(decision, evidence=decision.evidence | {"warm_start": started})


def settle(
    engine: Engine,
    built: Built,
    seen: Described,
    fit: Fit,
    decision: Decision,
    watch: Watch,
    seed: int,
) -> tuple[SegmentModel, Tally | None]:
    """The chosen model, polished on all rows, or fitted by the engine's library; ids in order.

    The passes that polish also tally: None where no pass was needed, so that ``count`` takes one.
    """
    if fit.library != "native":
        model = _by_library(engine, built, seen, fit, decision, seed)
        return ordered(model, seen.x, seen.w), None
    if not polish.moves(decision.model):
        return ordered(decision.model, seen.x, seen.w), None
    # Totals are noted in the pass that is likely the last: a step gains about k / rows of the
    # sample, nothing if the sample is the table. A wrong guess costs one more pass, no more.
    known = int(seen.description.sample.count.sum()) == seen.description.rows
    still = known or decision.model.k < polish.TOL * len(seen.w)
    first = watch if still or fit.polish_passes == 1 else watch.scores_only()
    done = polish.polish(
        engine, built.frame, seen.scaler, decision.model, fit.polish_passes,
        watch=lambda number: first if number == 0 else watch.totals_only(),
        weight=seen.weighing,
    )  # fmt: skip
    scores, totals = done.noted[0].scores or no_scores(), done.noted[-1].totals
    if totals is None:
        step = TallyStep(seen.scaler, done.model, watch.totals_only())
        totals = engine.fold(built.frame, step, merge_tallies).totals
    tally = tally_of(done.sums, totals, scores, done.rows)
    if done.model.k < 2:
        return done.model, tally
    order = order_of(done.model, seen.x, seen.w)
    return done.model.reordered(order), tally.reordered(order)


def _by_library(
    engine: Engine, built: Built, seen: Described, fit: Fit, decision: Decision, seed: int
) -> SegmentModel:
    """The library's own fit at the chosen K: it is compared, so it is not polished."""
    if decision.kind not in ("kmeans", "gmm", "bisecting") or decision.k < 2:
        raise ConfigError(
            f"fit.library {fit.library} cannot fit {decision.kind} with k = {decision.k}, "
            "which the data ask for.",
            "Take library native, or name fit.model and fit.k.",
        )
    covariance = getattr(decision.model, "covariance_type", fit.covariance)
    if fit.library == "mllib":
        covariance = "full" if fit.covariance == "auto" else fit.covariance
    spec = LibrarySpec(fit.library, decision.kind, decision.k, covariance, fit.n_init, seed)
    starts = kmeans_starts(seen.x, seen.w, decision.k, fit.n_init, seed)
    found: SegmentModel = engine.library_fit(built.frame, seen.scaler.transform, spec, starts)
    return found


def _warm_start(folder: str | None, scaler: Scaler) -> Floats | None:
    """Centres of an earlier model in the new scaler's block space."""
    if folder is None:
        return None
    from segpipe.stages.register import load_fitted, rescaled

    return rescaled(load_fitted(folder), scaler)


def detect(
    seen: Described,
    model: SegmentModel,
    mass: float,
    method: str,
    collapse: str,
    density_rows: int,
    min_share: float,
    seed: int,
) -> Detector | None:
    """The outlier reference, fitted on the weighted sample."""
    sample = seen.description.sample
    lens = None if method == "segment" else seen.lens
    x = seen.x if lens is None else lens.transform(sample.batch)
    detector = fit_detector(
        method,
        x,
        reference_weights(sample, collapse, x),
        mass=mass,
        model=model if lens is None else None,
        micro=lambda x, v, k: fit_kmeans(x, v, k, n_init=1, seed=seed).centres,
        density=lambda kind, x, v: fit_density(
            kind, x, v, rows=density_rows, min_share=min_share, seed=seed, unit=seen.scaler.unit
        ),
        seed=seed,
    )
    return detector if lens is None or detector is None else LensDetector(detector, lens)


def told_by(built: Built) -> tuple[str, ...]:
    """Columns by which people find a row again: its key, else when and between whom it was."""
    return built.keys or tuple(name for name in TELLING if name in built.schema.names)


def watch_for(
    built: Built,
    seen: Described,
    detector: Detector | None,
    threshold: Mapping[str, float],
    spool: Spool | None,
) -> Watch:
    """What is noted of all rows while they pass: sums, scores, the most unusual of them."""
    edges = (
        np.empty(0)
        if detector is None
        else score_edges(
            detector.score(block_for(detector, seen.description.sample.batch, seen.x)),
            seen.description.sample.weight,
        )
    )
    magnitudes = {
        n.name: float(np.nanmax(np.abs([n.low, n.high, 0.0]))) for n in seen.description.numbers
    }
    return Watch(
        tuple(magnitudes),
        np.array(list(magnitudes.values())),
        detector,
        edges,
        top_size(threshold, seen.description.rows),
        tuple(dict.fromkeys([*told_by(built), *built.shown])),
        spool,
        seen.weighing,
    )


def count(
    engine: Engine, built: Built, seen: Described, model: SegmentModel, watch: Watch
) -> Tally:
    """One pass over all rows: sizes, sums, inertia, score histogram."""
    step = TallyStep(seen.scaler, model, watch)
    tally: Tally = engine.fold(built.frame, step, merge_tallies)
    return tally
