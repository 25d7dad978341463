"""One kernel of ours and the same work by a library, on the same rows, ready to be called.

Ours take feature-major float32 blocks on the 2^-20 grid, which is what the product gives them;
the libraries take what they are documented to be fastest with: row-major, float32 for Lloyd and
trees, float64 for mixtures (scikit-learn's computes them in the type it is given, and its own
defaults and papers are float64).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks import data

Singles = npt.NDArray[np.float32]
WORK = 2_000_000_000
"""Multiply-adds of one call at most: large shapes get fewer rows."""
MICRO_CLUSTERS, MASS = 128, 0.05
TREES, TREE_ROWS = 100, 256
FOREST_ROWS = 100_000
EM_STEPS = 5


@dataclass(frozen=True)
class Case:
    """What to time."""

    kernel: str
    d: int
    k: int
    rows: int
    """Of a call of ours."""
    ours: Callable[[], Any]
    against: str
    theirs: Callable[[], Any] | None = None
    theirs_rows: int = 0
    """Of a call of theirs; 0 = as ours."""
    agrees: Callable[[], tuple[str, float]] | None = None
    """(what is compared, by how much it differs)."""


def rows_of(n: int, d: int, k: int, seed: int = 1) -> tuple[Singles, Singles]:
    """(d, n) block of k blobs, scaled and on the grid, and (k, d) places near their centres."""
    rng = np.random.default_rng([seed, d, k])
    centres = rng.normal(0.0, data.SPREAD, (k, d)).astype(np.float32)
    scale = np.float32(np.sqrt(1.0 + data.SPREAD**2))
    label = rng.integers(0, k, n)
    block = np.empty((d, n), np.float32)
    for j in range(d):
        block[j] = (rng.standard_normal(n, dtype=np.float32) + centres[label, j]) / scale
    grid = np.float32(2.0**20)
    block = np.clip(np.rint(block * grid) / grid, -10, 10).astype(np.float32)
    near = centres / scale + rng.normal(0.0, 0.05, (k, d)).astype(np.float32)
    return np.ascontiguousarray(block), near.astype(np.float32)


def lloyd(d: int, k: int, n: int) -> Case:
    """One Lloyd step: labels and sums, ours and theirs; ours are exact, with the inertia."""
    from sklearn.cluster._k_means_lloyd import lloyd_iter_chunked_dense

    from segpipe.kernels import nearest

    n = max(10_000, min(n, WORK // (d * k)))
    block, centres = rows_of(n, d, k)
    x, w = np.ascontiguousarray(block.T), np.ones(n, np.float32)
    new, weight = np.zeros((k, d), np.float32), np.zeros(k, np.float32)
    label, shift = np.empty(n, np.int32), np.zeros(k, np.float32)
    wide = centres.astype(np.float64)

    def theirs() -> None:
        lloyd_iter_chunked_dense(x, w, centres, new, weight, label, shift, 1)

    def agrees() -> tuple[str, float]:
        theirs()
        return "labels that differ", float((nearest.step(block, wide)[0] != label).mean())

    against = "scikit-learn lloyd_iter_chunked_dense, float32"
    return Case("lloyd", d, k, n, lambda: nearest.step(block, wide), against, theirs, agrees=agrees)


def em(d: int, k: int, n: int, covariance: str) -> Case:
    """One E-step and one M-step from the same start."""
    from sklearn.mixture import GaussianMixture

    from segpipe.fit.mixture import maximise
    from segpipe.kernels import mixture as kernel
    from segpipe.models.mixture import MixtureModel

    n = max(10_000, min(n, WORK // (4 * k * d * d)))
    block, centres = rows_of(n, d, k)
    x = np.ascontiguousarray(block.T, np.float64)
    nearest = ((x[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    soft = np.full((n, k), 0.2 / k)
    soft[np.arange(n), nearest] += 0.8

    def start() -> Any:
        gm = GaussianMixture(k, covariance_type=covariance)
        gm._m_step(x, np.log(soft))
        return gm

    def model_of(gm: Any) -> MixtureModel:
        return MixtureModel(
            gm.weights_.copy(), gm.means_.copy(), gm.covariances_.copy(), covariance
        )

    def step(model: MixtureModel) -> tuple[MixtureModel, float]:
        const, factor = model.factors()
        sums, _ = kernel.em_step(block, None, const, model.means, factor, model.diagonal)
        return maximise(model, sums), sums.log_likelihood / sums.weight

    def their_step(gm: Any) -> float:
        level, resp = gm._e_step(x)
        gm._m_step(x, resp)
        return float(level)

    def agrees() -> tuple[str, float]:
        gm = start()
        model, worst = model_of(gm), 0.0
        for _ in range(EM_STEPS):
            theirs = their_step(gm)
            model, ours = step(model)
            worst = max(worst, abs(ours - theirs) / abs(theirs))
        return f"relative log-likelihood, worst of {EM_STEPS} steps", worst

    held = start()
    fixed = model_of(held)
    against = "scikit-learn GaussianMixture e + m step, float64"
    return Case(
        f"em {covariance}", d, k, n, lambda: step(fixed), against, lambda: their_step(held),
        agrees=agrees,
    )  # fmt: skip


def mass(d: int, n: int) -> Case:
    """Mass scores over 128 micro-clusters; no library has them."""
    from segpipe.kernels import mass as kernel

    block, centres = rows_of(n, d, MICRO_CLUSTERS)
    rng = np.random.default_rng(d)
    share = rng.dirichlet(np.full(MICRO_CLUSTERS, 5.0))
    spread = rng.uniform(0.2, 0.5, MICRO_CLUSTERS) * d
    wide = centres.astype(np.float64)
    return Case(
        "mass", d, MICRO_CLUSTERS, n,
        lambda: kernel.mean_square(block, wide, share, spread, MASS), "no peer",
    )  # fmt: skip


def forest(d: int, n: int) -> Case:
    """Isolation forest scores, the same trees."""
    from sklearn.ensemble import IsolationForest

    from segpipe.models.detectors import ForestDetector

    n = min(n, FOREST_ROWS)
    block, _ = rows_of(n, d, 8)
    x = np.ascontiguousarray(block.T)
    fitted = IsolationForest(n_estimators=TREES, max_samples=TREE_ROWS, random_state=0).fit(x)
    flat = ForestDetector.of(fitted)

    def agrees() -> tuple[str, float]:
        return "largest difference", float(
            np.abs(flat.score(block) + fitted.score_samples(x)).max()
        )

    return Case(
        "forest", d, TREES, n, lambda: flat.score(block),
        "scikit-learn IsolationForest.score_samples", lambda: fitted.score_samples(x),
        agrees=agrees,
    )  # fmt: skip


def lookup(d: int, n: int, sample: int) -> Case:
    """Nearest core by mutual reachability over ``sample`` cores; hdbscan's call does a row a time.

    hdbscan looks among 2 * min_samples nearest rows, ours among all: so a share of rows may differ.
    """
    from hdbscan import HDBSCAN, approximate_predict

    from segpipe.kernels.lookup import cells, nearest_core

    n = min(n, 200_000 if d <= 8 else 20_000)
    few = min(n, 1_000)
    block, _ = rows_of(n + sample, d, 8)
    train = np.ascontiguousarray(block[:, n:].T, np.float64)
    fitted = HDBSCAN(min_cluster_size=50, min_samples=10, prediction_data=True).fit(train)
    own = np.asarray(fitted.prediction_data_.core_distances)
    table = cells(train.astype(np.float32), own)
    x = np.ascontiguousarray(block[:, :n])
    rows = np.ascontiguousarray(x[:, :few].T, np.float64)

    def agrees() -> tuple[str, float]:
        at, _, _ = nearest_core(np.ascontiguousarray(x[:, :few]), table)
        theirs, _ = approximate_predict(fitted, rows)
        seen = theirs >= 0  # ours has no cut here: compare rows that both give a segment
        ours = fitted.labels_[at]
        both = seen & (ours >= 0)
        return "segments that differ", float((ours[both] != theirs[both]).mean())

    return Case(
        "lookup", d, sample, n, lambda: nearest_core(x, table), "hdbscan approximate_predict",
        lambda: approximate_predict(fitted, rows), few, agrees,
    )  # fmt: skip


def chosen(
    only: str, shapes: str, d: int, k: int, rows: int, sample: int
) -> Iterator[Callable[[], Case]]:
    """The cases asked for; each is built when its turn comes, so that memory is one case's."""
    names = only.split(",")
    unknown = set(names) - {"lloyd", "em", "mass", "forest", "lookup"}
    if unknown:
        raise SystemExit(f"bench: no kernel {', '.join(sorted(unknown))}")
    if "lloyd" in names:
        for shape in shapes.split(","):
            width, _, centres = shape.partition("x")
            yield lambda a=int(width), b=int(centres): lloyd(a, b, rows)
    if "em" in names:
        for kind in ("full", "diag"):
            yield lambda kind=kind: em(d, k, rows, kind)
    if "mass" in names:
        yield from (lambda a=a: mass(a, min(rows, 200_000)) for a in dict.fromkeys((d, 40)))
    if "forest" in names:
        yield from (lambda a=a: forest(a, rows) for a in dict.fromkeys((d, 40)))
    if "lookup" in names:
        yield from (lambda a=a: lookup(a, rows, sample) for a in (5, 40))
