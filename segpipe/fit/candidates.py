"""The models that the rules never came to: what each would have been, and why it was not taken.

The rules (``family``) stop at the first model that describes the modes of the density. The others
are fitted here to the same few rows and measured by what the rules ask for: whether they give the
modes back, how many rows they leave apart, how valid their groups are. Nothing here changes the
choice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from segpipe.errors import DataError
from segpipe.fit import quality
from segpipe.fit.agglomerative import LINKAGES, cut, linkage_tree, ward
from segpipe.fit.bisecting import fit_bisecting
from segpipe.fit.condensed import clusters, linkage_of
from segpipe.fit.convex import AGREE, adjusted_rand
from segpipe.fit.decision import DENSITY_NOISE, Data, Decision, Request
from segpipe.fit.density import MIN_SAMPLES, knee
from segpipe.fit.evidence import as_json
from segpipe.fit.graph import GRAPH, neighbours
from segpipe.fit.kmeans import fit_kmeans
from segpipe.fit.modes import Modes, Seen
from segpipe.fit.sweep import Sweep, mixture_at
from segpipe.fit.thinning import distinct
from segpipe.fit.validity import dbcv
from segpipe.kernels import nearest as kernel
from segpipe.values import Block, Floats, Ints

ROWS, ROWS_EACH = 400, 20
"""Rows that all are compared on, or so many for each segment if that is more."""
MOST = 100
"""Segments up to which candidates are compared."""
MICRO = 120
"""Micro-clusters that the trees are of, a quarter of the rows at most."""
SMALLEST = 0.02
"""Share of the rows that a cluster of HDBSCAN has at least."""
SIMPLE = ("kmeans", "bisecting", "gmm", "merged", "agglomerative", "dbscan", "hdbscan")
"""The order in which models of the same segments go before one another."""


@dataclass(frozen=True, slots=True, eq=False)
class Tried:
    """One model on the compared rows."""

    kind: str
    label: Ints
    settings: dict[str, Any]

    @property
    def k(self) -> int:
        """Segments, noise not counted."""
        return len(np.unique(self.label[self.label >= 0]))


def with_candidates(
    decision: Decision, data: Data, asked: Request, seen: Seen | None, sweep: Sweep
) -> Decision:
    """The same decision; its evidence has ``candidates``, the choice first, and ``runner_up``.

    Each candidate: kind, k, settings, noise_share, silhouette, dbcv, modes_agreement (adjusted
    Rand index on the cores of as many modes as were chosen; None where modes did not decide),
    agreement with the choice (noise as one cluster), and ``why_not``. The runner-up is the best by
    what decides: the modes given back and noise within bounds, then density validity.
    """
    places, mass = distinct(data.few, data.few_w) if seen is None else (seen.x, seen.w)
    k = decision.k if decision.natural else sweep.k
    n = max(ROWS, ROWS_EACH * k)
    # In the order of a hash, so that the first rows are a sample.
    x, w = np.ascontiguousarray(places[:, :n]), mass[:n]
    if k > MOST or x.shape[1] <= max(GRAPH, MIN_SAMPLES, 2 * k):
        return decision  # too few places to tell
    modes = _modes_of(decision, seen)
    own = Tried(decision.kind, decision.model.label(x).segment, {})
    measure = _Measure(x, w, own.label, modes, asked.seed)
    chosen = measure(own)
    rows = [measure(tried) for tried in _tried(x, w, k, decision, asked, seen, sweep)]
    for row in rows:
        row["why_not"] = _why_not(row, decision, modes, chosen)
    rows.sort(key=_rank, reverse=True)
    if decision.kind != "gmm" and "gmm" not in decision.evidence and decision.natural:
        # Its loops are only loaded where the rules fit one.
        why = "not fitted: the clusters are round and of similar spread, as centres have them"
        rows.append({"kind": "gmm", "k": k, "why_not": why})
    evidence = {
        **decision.evidence,
        "candidates": as_json([{**chosen, "chosen": True}, *rows]),
        "runner_up": as_json(rows[0]),
    }
    return replace(decision, evidence=evidence)


def _modes_of(decision: Decision, seen: Seen | None) -> Modes | None:
    """The modes that are as many as the segments chosen; None where other evidence decided."""
    if seen is None or not decision.natural:
        return None
    return next((m for m in (seen.likely, seen.sure) if m.k == decision.k > 1), None)


def _tried(
    x: Block,
    w: Floats,
    k: int,
    decision: Decision,
    asked: Request,
    seen: Seen | None,
    sweep: Sweep,
) -> Iterator[Tried]:
    """Each kind at ``k``, or at the number that it finds itself; none that needs a library."""
    seed, kind = asked.seed, decision.kind if decision.natural else ""
    second = (sweep.runner_up or {}).get("k", k)
    for at in dict.fromkeys((k, sweep.k, second)):
        if not (kind == "kmeans" and at == decision.k):
            centres = fit_kmeans(x, w, at, 3, seed).centres
            yield Tried("kmeans", kernel.nearest(x, centres)[0], {})
    if kind != "gmm" and "gmm" in decision.evidence:
        cells = fit_kmeans(x, w, k, 3, seed).centres
        mixture = mixture_at(x, w, cells, asked.covariance, seed)
        if mixture.model is not None:
            settings = {"covariance": mixture.model.covariance_type}
            yield Tried("gmm", mixture.model.label(x).segment, settings)
    try:
        halves = fit_bisecting(x, w, k, 1, seed).centres
    except DataError:  # fewer distinct rows than k
        return
    yield Tried("bisecting", kernel.nearest(x, halves)[0], {})
    yield from _trees(x, w, k, seed)
    if kind != "merged" and seen is not None and seen.likely.k > 1:
        yield Tried("merged", seen.likely.label[: x.shape[1]], {})
    yield _dbscan(x, w, asked.min_share)
    if kind != "hdbscan":
        least = max(5, int(SMALLEST * x.shape[1]))
        label = clusters(linkage_of(x, MIN_SAMPLES), least)
        yield Tried("hdbscan", label, {"min_cluster_size": least, "min_samples": MIN_SAMPLES})


def _trees(x: Block, w: Floats, k: int, seed: int) -> Iterator[Tried]:
    """Ward, average, complete and single linkage of micro-clusters, cut at k."""
    m = max(k, min(MICRO, x.shape[1] // 4))
    micro = fit_kmeans(x, w, m, 1, seed).centres
    of, _, _ = kernel.nearest(x, micro)
    mass = np.asarray(np.bincount(of, w, m), np.float64)
    for linkage in LINKAGES:
        tree = ward(micro, mass) if linkage == "ward" else linkage_tree(micro, mass, linkage)
        yield Tried("agglomerative", cut(tree, k)[of], {"linkage": linkage})


def _dbscan(x: Block, w: Floats, min_share: float) -> Tried:
    """DBSCAN with the radius where the curve of the neighbours' distances bends.

    Ester, Kriegel, Sander, Xu 1996; weights count as rows. Border rows join the nearest core;
    clusters below ``min_share`` are noise.
    """
    n, d = x.shape[1], x.shape[0]
    need = min(max(MIN_SAMPLES, 2 * d), max(2, n // 2))
    mass = w / w.mean()
    near, far = neighbours(x, min(4 * need, n - 1))
    enough = np.cumsum(mass[near], axis=1) + mass[:, None] >= need
    first = np.where(enough.any(axis=1), enough.argmax(axis=1), far.shape[1] - 1)
    eps = knee(far[np.arange(n), first], w)
    apart = kernel.distances(x, x.T)
    inside = apart <= np.float32(eps * eps)
    core = np.flatnonzero(inside @ mass >= need)
    label = np.full(n, -1, np.int32)
    if len(core):
        from scipy.sparse import csr_matrix
        from scipy.sparse.csgraph import connected_components

        _, of = connected_components(csr_matrix(inside[np.ix_(core, core)]), directed=False)
        held = np.bincount(of, w[core])
        kept = held >= min_share * w.sum()
        name = np.where(kept, np.cumsum(kept) - 1, -1)
        closest = core[np.argmin(apart[core], axis=0)]
        label[core] = name[of]
        label = np.where(inside[closest, np.arange(n)], label[closest], np.int32(-1))
    return Tried("dbscan", label, {"eps": eps, "min_samples": need})


class _Measure:
    """What the rules ask of a model, on the compared rows; alike partitions are measured once."""

    def __init__(self, x: Block, w: Floats, own: Ints, modes: Modes | None, seed: int) -> None:
        self._x, self._w, self._own, self._modes, self._seed = x, w, own, modes, seed
        self._known: dict[bytes, tuple[float, float]] = {}

    def __call__(self, tried: Tried) -> dict[str, Any]:
        label, agreement = tried.label, None
        if self._modes is not None:
            core = self._modes.core[: len(label)]
            agreement = adjusted_rand(label[core], self._modes.label[: len(label)][core])
        silhouette, validity = self._quality(label) if tried.k > 1 else (None, None)
        return {
            "kind": tried.kind,
            "k": tried.k,
            **tried.settings,
            "noise_share": float(self._w[label < 0].sum() / self._w.sum()),
            "silhouette": silhouette,
            "dbcv": validity,
            "modes_agreement": agreement,
            "agreement": adjusted_rand(label, self._own),
        }

    def _quality(self, label: Ints) -> tuple[float, float]:
        """Silhouette and DBCV."""
        key = _canonical(label).tobytes()
        if key not in self._known:
            self._known[key] = (
                quality.silhouette(self._x, self._w, label),
                dbcv(self._x, label, self._w, seed=self._seed),
            )
        return self._known[key]


def _canonical(label: Ints) -> Ints:
    """The labels (n,) by first appearance; noise stays -1."""
    names, first, at = np.unique(label, return_index=True, return_inverse=True)
    rank = np.empty(len(names), np.int32)
    rank[np.argsort(np.where(names < 0, -1, first))] = np.arange(len(names)) - (names[0] < 0)
    return rank[at]


def _rank(row: dict[str, Any]) -> tuple[bool, float, float]:
    """How near a candidate came: the modes given back, then the density validity of its groups."""
    agreement = row["agreement"] if row["modes_agreement"] is None else row["modes_agreement"]
    sound = agreement >= AGREE and row["noise_share"] <= DENSITY_NOISE and row["k"] > 1
    value = -1.0 if row["dbcv"] is None else float(row["dbcv"])
    return (True, value, agreement) if sound else (False, agreement, value)


def _why_not(
    row: dict[str, Any], decision: Decision, modes: Modes | None, chosen: dict[str, Any]
) -> str:
    """The first rule that speaks against a candidate."""
    return next(_against(row, decision, modes, chosen))


def _against(
    row: dict[str, Any], decision: Decision, modes: Modes | None, chosen: dict[str, Any]
) -> Iterator[str]:
    kind, k, noise = row["kind"], row["k"], row["noise_share"]
    if k < 2:
        found = "one segment" if k else "no segment"
        yield f"finds {found}" if decision.natural else f"finds {found} as well"
    if not decision.natural:
        yield "no natural segments: any number of parts is a choice of yours"
    if noise > DENSITY_NOISE:
        yield f"sets {noise:.0%} of the rows aside, more than {DENSITY_NOISE:.0%}"
    if modes is not None and row["modes_agreement"] < AGREE:
        yield (
            f"does not give the {modes.k} modes of the density back (agreement "
            f"{row['modes_agreement']:.2f}, {AGREE} asked)"
        )
    if kind == decision.kind:
        yield f"{k} segments, silhouette {row['silhouette']:.2f}; {decision.k} have {_of(chosen)}"
    alike = "about the same" if row["agreement"] >= AGREE else "other"
    said = f"{alike} segments (agreement {row['agreement']:.2f})"
    if SIMPLE.index(kind) > SIMPLE.index(decision.kind):
        yield f"{said}, and {decision.kind} goes before"
    if chosen["dbcv"] is not None and row["dbcv"] < chosen["dbcv"]:
        yield f"{said}, density validity {row['dbcv']:.2f} against {chosen['dbcv']:.2f}"
    gain = decision.evidence.get("bic_gain_per_row")
    if decision.kind == "gmm" and gain is not None:
        yield f"{said}; Gaussians of their own shapes gain {gain:.2f} of BIC a row on equal balls"
    yield f"{said}; {decision.why}"


def _of(chosen: dict[str, Any]) -> str:
    """Silhouette of the choice; few rows need not show two of its segments."""
    value = chosen["silhouette"]
    return "none" if value is None else f"{value:.2f}"
