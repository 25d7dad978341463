"""Fits of the views that a blended score looks through; all on the weighted sample."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from segpipe.kernels import tails
from segpipe.kernels.nearest import Singles
from segpipe.models.blend import BlendDetector, EllipsoidDetector, TailDetector
from segpipe.models.detectors import ForestDetector, search_length
from segpipe.models.weighted import quantiles
from segpipe.values import Block, Detector, Floats, Ints

TREES, TREE_ROWS = 100, 256
AT_ONCE = 1 << 22
"""Values of the trees that grow together: 16 MB."""
LEAST_SHARE = 1e-4
"""Smallest tail share: one feature alone says at most 9.2 nats, whatever the sample's size."""
KEPT, STEPS, SHRINK = 0.75, 5, 0.05
"""The ellipsoid: share of the rows it is fitted to, fits, part of the mean variance added to each
axis, so that near-constant combinations of features do not outweigh all others."""
ELLIPSOID_ROWS = 1 << 15


def fit_tails(x: Block, w: Floats) -> TailDetector:
    """Shares of the reference at or below, and at or above, each cell of each feature."""
    table: Singles = np.empty((x.shape[0], tails.WIDTH), np.float32)
    total = float(w.sum())
    for row, steps in zip(x, table, strict=True):
        held = np.bincount(tails.cells(row), w, tails.WIDTH) / total
        up_to = np.cumsum(held)
        down_to = np.cumsum(held[::-1])[::-1]
        smaller = np.maximum(np.minimum(up_to, down_to), LEAST_SHARE)
        steps[:] = -np.log(np.minimum(smaller, 1.0))
    return TailDetector(table)


def fit_ellipsoid(x: Block, w: Floats) -> EllipsoidDetector:
    """Mean and shrunk covariance of the most usual ``KEPT`` of the rows, by refitting.

    The concentration steps of the fast minimum covariance determinant (Rousseeuw, van Driessen
    1999) from the whole reference: a fifth of outliers does not bend it.
    """
    rows, w = x[:, :ELLIPSOID_ROWS].astype(np.float64), w[:ELLIPSOID_ROWS]
    used, fitted = w, _ellipsoid(rows, w)
    head: Block = np.ascontiguousarray(x[:, :ELLIPSOID_ROWS])
    for _ in range(STEPS):
        score = fitted.score(head)
        limit = quantiles(score, w, (KEPT,))[0]
        inside = np.where(score <= limit, w, 0.0)
        if np.array_equal(inside, used):
            break
        used, fitted = inside, _ellipsoid(rows, inside)
    return fitted


def _ellipsoid(rows: Floats, w: Floats) -> EllipsoidDetector:
    share = w / w.sum()
    mean = rows @ share
    centred = rows - mean[:, None]
    covariance = (centred * share) @ centred.T
    spread = max(float(np.trace(covariance)) / len(mean), 1e-12)
    root = np.linalg.cholesky(covariance + SHRINK * spread * np.eye(len(mean)))
    return EllipsoidDetector(mean.astype(np.float32), np.linalg.inv(root).astype(np.float32))


def grow_forest(x: Block, seed: int, trees: int = TREES, rows: int = TREE_ROWS) -> ForestDetector:
    """Isolation forest on (d, n) rows: Liu, Ting, Zhou 2008; every tree on its own ``rows``.

    A node takes a feature that varies in it and a threshold uniform between its least and largest
    value there; rows of one place are a leaf.
    """
    random = np.random.default_rng(seed)
    size = min(rows, x.shape[1])
    group = max(1, AT_ONCE // (x.shape[0] * size))
    grown = [_grow(x, random, min(group, trees - done), size) for done in range(0, trees, group)]
    feature, threshold, length = (np.concatenate(part) for part in zip(*grown, strict=True))
    norm = float(trees * search_length(np.array([size]))[0])
    return ForestDetector(feature, threshold, length, norm)


def _grow(
    x: Block, random: np.random.Generator, trees: int, size: int
) -> tuple[Ints, Singles, Floats]:
    """Feature, threshold and path lengths of so many trees, all grown a level at a time."""
    depth = max(1, int(np.ceil(np.log2(size))))
    drawn = np.concatenate([random.choice(x.shape[1], size, replace=False) for _ in range(trees)])
    value: Block = np.ascontiguousarray(x[:, drawn])
    tree = np.repeat(np.arange(trees), size)
    inner = 2**depth - 1
    feature = np.zeros((trees, inner), np.int32)
    threshold = np.full((trees, inner), np.inf, np.float32)
    node = np.zeros(trees * size, np.int64)
    steps = np.zeros(trees * size)
    for level in range(depth):
        width = 2**level
        code = tree * width + (node - (width - 1))
        order = np.argsort(code, kind="stable")
        at, first = np.unique(code[order], return_index=True)
        chosen, cut, splits = _splits(value[:, order], first, random)
        owner, place = at // width, at % width + width - 1
        feature[owner[splits], place[splits]] = chosen[splits]
        threshold[owner[splits], place[splits]] = cut[splits]
        steps += splits[np.searchsorted(at, code)]
        right = value[feature[tree, node], np.arange(len(node))] > threshold[tree, node]
        node = 2 * node + 1 + right
    leaf = node - inner
    flat = tree * (inner + 1) + leaf
    count = np.bincount(flat, minlength=trees * (inner + 1))
    length: Floats = np.zeros(trees * (inner + 1))
    length[flat] = steps
    # A leaf above the last level has only left turns below it: all its rows are in one place, and
    # no row ever gets to the empty ones.
    length += search_length(count.astype(np.float64))
    return feature, threshold, length.reshape(trees, inner + 1)


def _splits(
    value: Block, first: npt.NDArray[np.intp], random: np.random.Generator
) -> tuple[Ints, Singles, npt.NDArray[np.bool_]]:
    """Feature, threshold and whether it splits at all, of nodes whose rows begin at ``first``."""
    low = np.minimum.reduceat(value, first, axis=1)
    high = np.maximum.reduceat(value, first, axis=1)
    varies = high > low
    draw = np.where(varies, random.random(varies.shape), -1.0)
    chosen = draw.argmax(axis=0)
    nodes = np.arange(len(first))
    splits = varies[chosen, nodes]
    least, most = low[chosen, nodes], high[chosen, nodes]
    part = random.random(len(first))
    cut = (least + part * (most.astype(np.float64) - least)).astype(np.float32)
    # Rounding must not push all rows to one side.
    cut = np.where(cut >= most, np.nextafter(most, np.float32(-np.inf)), np.maximum(cut, least))
    return chosen.astype(np.int32), cut.astype(np.float32), splits


def blend(method: str, parts: tuple[tuple[Detector, float], ...], x: Block, w: Floats) -> Detector:
    """The weighted views, standardised on the reference."""
    where = [_location(view.score(x), w) for view, _ in parts]
    whole = sum(weight for _, weight in parts)
    return BlendDetector(
        tuple(view for view, _ in parts),
        tuple(middle for middle, _ in where),
        tuple(spread for _, spread in where),
        tuple(weight / whole for _, weight in parts),
        method,
    )


def _location(score: Floats, w: Floats) -> tuple[float, float]:
    """Median and q90 - median; the standard deviation, or 1, where more than 40 % are equal."""
    middle, high = quantiles(score, w, (0.5, 0.9))
    if high > middle:
        return middle, high - middle
    mean = float((score * w).sum() / w.sum())
    spread = float(np.sqrt((w * (score - mean) ** 2).sum() / w.sum()))
    return middle, spread if spread > 0 else 1.0
