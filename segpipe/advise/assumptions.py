"""What each algorithm assumes, and what the data say to it.

K-Means, a Gaussian mixture, DBSCAN and HDBSCAN are each fitted on the same bounded part of the
sample; their assumptions are then measured with the numbers that ``fit.select`` decides by.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from segpipe.fit import evidence as facts
from segpipe.fit import quality
from segpipe.fit.decision import DBCV_ERROR, ELONGATED, TAILED, UNEQUAL
from segpipe.fit.density import fit_density
from segpipe.fit.kmeans import fit_kmeans, subset
from segpipe.fit.select import Decision
from segpipe.fit.validate import validate
from segpipe.fit.validity import dbcv
from segpipe.kernels import nearest as kernel
from segpipe.models.weighted import quantiles
from segpipe.stages.described import Described
from segpipe.values import Block, Floats, Ints

ALGORITHMS = ("K-Means", "Mixture", "DBSCAN", "HDBSCAN")
"""Mixture: of Gaussians."""
SHAPED = ("merged", "hdbscan", "dbscan")
"""Kinds that are chosen where neither centres nor Gaussians describe the segments."""
OF_SEGMENTS = ("round clusters", "one centre each", "equal sizes", "equal spread", "equal density")
ROWS = 5_000
"""Rows that the four are compared on."""
NEIGHBOUR = 10
"""The k of the k-distance, DBSCAN's and HDBSCAN's min_samples."""
LOPSIDED = 10.0
"""Largest over smallest segment beyond which K-Means tends to cut the large one."""
WIDE = 12
"""Features beyond which neighbours are about as near as everybody else."""
TOO_WIDE = 30
"""Features beyond which a full covariance has more numbers than segments have rows."""


@dataclass(frozen=True, slots=True)
class Assumption:
    """One assumption, what was measured, and what it means for each of ``ALGORITHMS``."""

    name: str
    found: str
    fits: tuple[bool | None, bool | None, bool | None, bool | None]
    """True: holds or is not needed. False: broken. None: says nothing."""
    broken: str
    """What to say where it is broken."""


@dataclass(frozen=True, slots=True, eq=False)
class Clustering:
    """One of the four on the compared rows."""

    name: str
    k: int
    label: Ints
    noise: float
    silhouette: float
    validity: float
    """DBCV, -1..1: suits clusters of any shape."""
    settings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All that the table, the page and the sentences are made of."""

    x: Block
    w: Floats
    kmeans: Clustering
    density: tuple[Clustering, ...]
    """DBSCAN, and HDBSCAN where it is installed."""
    agreement: float
    """Adjusted Rand index of K-Means and DBSCAN, noise as one cluster."""
    distances: Floats
    """Rising distance of each row to its ``NEIGHBOUR``-th neighbour."""
    assumptions: tuple[Assumption, ...]


def measure(seen: Described, decision: Decision, raw: dict[str, float], seed: int) -> Measured:
    """Fit and measure; ``raw``: standard deviation per numeric column in its own unit."""
    rows = subset(seen.x.shape[1], ROWS, seed)
    x, w = (seen.x, seen.w) if rows is None else (seen.x[:, rows], seen.w[rows])
    x = np.ascontiguousarray(x)
    distinct = np.unique(x, axis=1).shape[1]
    k = min(_k_of(decision), distinct)
    model = fit_kmeans(x, w, k, 10, seed)
    cells, _, _ = kernel.nearest(x, model.centres)
    middle = _clustering("K-Means", cells, k, x, w, seed)
    density = tuple(_density(kind, x, w, seed) for kind in _installed())
    distances = _neighbours(x)
    agreement = _rand(cells, density[0].label)
    backed = validate(model, x, w, decision.evidence.get("kmeans", ()), None, seed)
    table = _table(
        seen, decision, raw, x, w, middle, model.centres, density, distances, backed, seed
    )
    return Measured(x, w, middle, density, agreement, np.sort(distances), table)


def _k_of(decision: Decision) -> int:
    """K-Means' own best K where the sweep found one, else that of the decision; 2 at least."""
    held = decision.evidence.get("k_star")
    return max(2, int(held) if held else decision.k)


def _installed() -> tuple[str, ...]:
    import importlib.util

    return ("dbscan", "hdbscan") if importlib.util.find_spec("hdbscan") else ("dbscan",)


def _clustering(
    name: str, label: Ints, k: int, x: Block, w: Floats, seed: int, **settings: float
) -> Clustering:
    rows = quality.silhouette_sample(label, 2_000, seed) if k > 1 else np.zeros(0, np.intp)
    weight = quality.stratum_weight(label, w, rows)
    value = quality.silhouette(np.ascontiguousarray(x[:, rows]), weight, label[rows])
    noise = float(w[label < 0].sum() / w.sum())
    valid = dbcv(x, label, w, seed=seed) if k > 1 else float("nan")
    return Clustering(name, k, label, noise, value, valid, settings)


def _density(kind: str, x: Block, w: Floats, seed: int) -> Clustering:
    model = fit_density(kind, x, w, rows=ROWS, seed=seed)
    settings = {
        n: float(v) for n, v in model.evidence if n in ("eps", "min_samples", "min_cluster_size")
    }
    label = model.label(x).segment
    return _clustering(kind.upper(), label, model.k, x, w, seed, **settings)


def _neighbours(x: Block) -> Floats:
    from sklearn.neighbors import NearestNeighbors

    near = min(NEIGHBOUR, x.shape[1] - 1)
    finder = NearestNeighbors(n_neighbors=near + 1).fit(x.T)
    return np.asarray(finder.kneighbors(x.T)[0][:, -1], np.float64)


def _rand(a: Ints, b: Ints) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(a, b))


def _table(
    seen: Described, decision: Decision, raw: dict[str, float], x: Block, w: Floats,
    middle: Clustering, centres: Floats, density: tuple[Clustering, ...], distances: Floats,
    backed: dict[str, Any], seed: int,
) -> tuple[Assumption, ...]:  # fmt: skip
    d, k = x.shape[0], middle.k
    apart, main = facts.structure_hint(x, w, seed)
    borders = facts.centre_borders(x, w, centres)
    valleys = sum(b.valley for b in borders)
    shape = facts.shapes(x, w, middle.label, k)
    mass = np.bincount(middle.label, w, k) / w.sum()
    sizes = float(mass.max() / max(mass.min(), 1e-12))
    dense = [
        quantiles(distances[middle.label == c], w[middle.label == c], (0.5,))[0]
        for c in range(k)
        if (middle.label == c).sum() >= NEIGHBOUR
    ]
    ratio = max(dense) / max(min(dense), 1e-12) if len(dense) > 1 else 1.0
    natural, best = decision.natural, max(density, key=lambda c: _finite(c.validity))
    bent = natural and decision.kind in SHAPED
    spread = max(raw.values(), default=1.0) / max(min(raw.values(), default=1.0), 1e-300)
    logged = [i.name for i in seen.scaler.inputs if i.log]
    free = ", ".join(f"{c.name} finds {c.k} without" for c in density)
    found = (
        Assumption(
            "natural segments",
            f"{'yes' if natural else 'no'}: dip p = {min(apart, main):.2g}, valleys at {valleys} "
            f"of {len(borders)} borders",
            (natural, natural, natural, natural),
            "no natural segments",
        ),
        Assumption(
            "K can be found",
            f"K = {k} ({', '.join(_of_k(middle, k, backed))}); {free}",
            (natural, natural, True, True),
            "no K stands out",
        ),
        Assumption(
            "round clusters",
            f"axes {np.sqrt(shape.elongation):.1f} : 1 at most "
            f"(round up to {np.sqrt(ELONGATED):.0f} : 1)",
            (shape.elongation <= ELONGATED, True, True, True),
            "clusters are elongated",
        ),
        Assumption(
            "one centre each",
            f"density validity {_said(middle.validity)} of K-Means, {_said(best.validity)} of "
            f"{best.name}, which follows any shape",
            (not bent, not bent, True, True),
            "clusters are bent or nested",
        ),
        Assumption(
            "equal sizes",
            f"{mass.min():.1%} to {mass.max():.1%} of the rows (equal up to {LOPSIDED:.0f} : 1)",
            (sizes <= LOPSIDED, True, True, True),
            "sizes differ much",
        ),
        Assumption(
            "equal spread",
            f"{shape.spread_ratio:.1f} : 1 (equal up to {UNEQUAL:.0f} : 1)",
            (shape.spread_ratio <= UNEQUAL, True, None, None),
            "some clusters spread far wider",
        ),
        Assumption(
            "equal density",
            f"distance to neighbour {NEIGHBOUR} {ratio:.1f} : 1 between clusters (one radius "
            f"serves up to {UNEQUAL:.0f} : 1)",
            (None, True, ratio <= UNEQUAL, True),
            "no single radius serves all densities",
        ),
        Assumption(
            "no background noise",
            f"{shape.tail:.1%} out of reach of every centre (calm up to {TAILED:.0%}); DBSCAN "
            f"sets {density[0].noise:.1%} aside",
            (shape.tail <= TAILED, shape.tail <= TAILED, True, True),
            "background noise would be forced into clusters",
        ),
        Assumption(
            "few features",
            f"{d} after encoding (neighbours mean something up to about {WIDE})",
            (True, d <= TOO_WIDE, d <= WIDE, d <= WIDE),
            "too many features",
        ),
        Assumption(
            "one scale, no heavy tails",
            f"{spread:,.3g} : 1 in original units"
            + (f", skewed: {_few(logged)}" if logged else "")
            + "; segpipe scales"
            + (" and takes logarithms" if logged else ""),
            (True, True, True, True),
            "columns are on different scales",
        ),
    )
    # Without segments there is no shape, size or density of segments to speak of.
    silent = (None, None, None, None)
    return (
        found
        if natural
        else tuple(replace(a, fits=silent) if a.name in OF_SEGMENTS else a for a in found)
    )


def _of_k(middle: Clustering, k: int, backed: dict[str, Any]) -> list[str]:
    """What speaks for K-Means' K."""
    said = [f"silhouette {_said(middle.silhouette)}"]
    held = [v for v in backed.get("stability") or () if v is not None]
    if held:
        said.append(f"least stable segment {min(held):.2f}")
    others = {"elbow": backed.get("elbow"), "gap": (backed.get("gap") or {}).get("k")}
    said += [f"{name} {'too' if at == k else at}" for name, at in others.items() if at]
    return said


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _finite(value: float) -> float:
    return value if np.isfinite(value) else -1.0


def _said(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "none"


def explained(measured: Measured, decision: Decision) -> list[str]:
    """K-Means against DBSCAN on these rows, in sentences with their numbers."""
    one, two = measured.kmeans, measured.density[0]
    eps = two.settings.get("eps")
    said = [
        f"K-Means cuts the rows into {one.k} parts around centres: every row belongs to its "
        f"nearest centre (silhouette {_said(one.silhouette)}, density validity "
        f"{_said(one.validity)}).",
        f"DBSCAN joins rows with at least {NEIGHBOUR} neighbours"
        + (f" within {eps:.2f}, the knee of the k-distance curve" if eps else "")
        + f", and finds {two.k} cluster{'' if two.k == 1 else 's'} and {two.noise:.0%} noise "
        f"(silhouette {_said(two.silhouette)}, density validity {_said(two.validity)}).",
        f"The two agree to {measured.agreement:.2f} (adjusted Rand index: 1 is the same, 0 is "
        "chance).",
    ]
    shown = decision.evidence.get("smallest_group")
    if shown:
        said.append(
            f"A group of fewer than about {shown:,.0f} rows of the table may not show in the rows "
            "that were compared."
        )
    against = {
        name: [a.broken for a in measured.assumptions if a.fits[ALGORITHMS.index(name)] is False]
        for name in ("K-Means", "DBSCAN")
    }
    for name, broken in against.items():
        if broken:
            said.append(f"Against {name}: " + "; ".join(broken) + ".")
    if not decision.natural:
        said.append(
            "Neither finds segments that the data have of their own: any K is a choice of yours."
        )
    elif not against["K-Means"] and _finite(two.validity) <= _finite(one.validity) + DBCV_ERROR:
        said.append("Nothing here asks for DBSCAN: K-Means is simpler, and labels every row.")
    return said


def as_json(measured: Measured, decision: Decision) -> dict[str, Any]:
    """Everything but the arrays, as plain JSON values."""

    def told(c: Clustering) -> dict[str, Any]:
        return {"algorithm": c.name, "k": c.k, "noise": c.noise, "silhouette": c.silhouette,
                "density_validity": c.validity, **c.settings}  # fmt: skip

    document: dict[str, Any] = facts.as_json(
        {
            "choice": {"kind": decision.kind, "k": decision.k, "natural": decision.natural},
            "why": decision.why,
            "assumptions": [
                {"assumption": a.name, "found": a.found,
                 "fits": dict(zip(ALGORITHMS, a.fits, strict=True))}
                for a in measured.assumptions
            ],
            "compared": [told(measured.kmeans), *(told(c) for c in measured.density)],
            "agreement": measured.agreement,
            "candidates": decision.evidence.get("candidates", ()),
            "rows_compared": measured.x.shape[1],
            "explained": explained(measured, decision),
        }
    )  # fmt: skip
    return document
