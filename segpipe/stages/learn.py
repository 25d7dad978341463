"""Learn: describe the table, choose and fit the segment model, fit and calibrate the scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from segpipe.config import Fit
from segpipe.engines.protocol import Engine
from segpipe.errors import ConfigError
from segpipe.features.plan import Built
from segpipe.features.sets import FeatureSet
from segpipe.fit import polish
from segpipe.fit.density import fit_density
from segpipe.fit.describe import conclude
from segpipe.fit.kmeans import fit_kmeans, kmeans_starts
from segpipe.fit.library import LibrarySpec
from segpipe.fit.look import Found, Look, look_for
from segpipe.fit.look import merge as merge_found
from segpipe.fit.order import order_of, ordered
from segpipe.fit.select import Decision, select
from segpipe.models.description import Description
from segpipe.models.lens import LensDetector, block_for
from segpipe.models.scaler import Scaler, fit_scaler
from segpipe.scoring.calibrate import score_edges
from segpipe.scoring.collapse import reference_weights
from segpipe.scoring.outliers import fit_detector
from segpipe.scoring.tally import Tally, TallyStep, merge_tallies, tally_of, top_size
from segpipe.scoring.watch import Spool, Watch, no_scores
from segpipe.values import Block, Detector, Floats, Sample, SegmentModel, Weighing

WARM = ("kmeans", "gmm")
TELLING = ("ts", "src", "src_port", "dst", "dst_port", "proto", "service")
"""Columns that say which log row it was, where rows have no key."""


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
