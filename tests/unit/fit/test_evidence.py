import json

import numpy as np
import pytest

from segpipe.fit import evidence
from segpipe.fit.evidence import Border, centre_borders, groups, shapes, structure_hint
from segpipe.fit.mixture import fit_mixture
from tests.unit.fit.blobs import blobs, block

RNG = np.random.default_rng(0)


def test_two_blobs_have_a_valley_and_two_halves_of_one_have_none():
    x, _ = blobs([[0, 0], [4, 0]], [300, 300], 0.7)
    (border,) = centre_borders(x, np.ones(600), np.array([[0.0, 0], [4, 0]]))
    assert (border.i, border.j, border.rows) == (0, 1, 600) and border.shown
    one = block(RNG.normal(size=(600, 2)))
    (border,) = centre_borders(one, np.ones(600), np.array([[-0.8, 0.0], [0.8, 0]]))
    assert not border.valley


def test_a_small_cluster_beside_a_large_one_has_a_valley():
    x, _ = blobs([[0, 0], [6, 0]], [2940, 60], 0.7)
    (border,) = centre_borders(x, np.ones(3000), np.array([[0.0, 0], [6, 0]]))
    assert border.shown
    tail = block(RNG.normal(size=(3000, 1)))  # the same cut through one mode
    (border,) = centre_borders(tail, np.ones(3000), np.array([[0.0], [4]]))
    assert not border.shown


def test_few_rows_need_more_to_deny_a_valley():
    assert Border(0, 1, 100, 0.051).valley is False
    assert Border(0, 1, 30, 0.79).valley and not Border(0, 1, 30, 0.79).shown


def test_groups_merge_across_borders_without_valley():
    borders = [Border(0, 3, 500, 0.9), Border(1, 2, 500, 0.001), Border(3, 4, 500, 0.5)]
    assert groups(5, borders).tolist() == [0, 1, 2, 0, 0]


def test_overlapping_bands_are_told_apart_along_fishers_direction():
    rows = RNG.normal(size=(1000, 2)) * [5, 0.3]
    rows[500:, 1] += 2
    x = block(rows @ [[0.7, 0.7], [-0.7, 0.7]])
    (border,) = evidence.mixture_borders(x, np.ones(1000), fit_mixture(x, np.ones(1000), 2, "full"))
    assert border.shown


def test_hint_sees_structure_and_none():
    x, _ = blobs([[0, 0], [4, 4]], [400, 400], 0.5)
    assert 2 * min(structure_hint(x, np.ones(800), 0)) < evidence.HINT_P
    one = block(RNG.normal(size=(800, 3)))
    assert 2 * min(structure_hint(one, np.ones(800), 0)) > evidence.HINT_P


def test_shapes_by_construction():
    rows = np.r_[RNG.normal(size=(4000, 2)) * [3, 1], RNG.normal(size=(4000, 2)) * 0.5]
    label = np.repeat(np.array([0, 1], np.int32), 4000)
    found = shapes(block(rows), np.ones(8000), label, 2)
    assert found.elongation == pytest.approx(9, rel=0.1)
    assert found.spread_ratio == pytest.approx(np.sqrt(10 / 0.5), rel=0.05)
    assert found.tail < 0.01


def test_tail_counts_background():
    rows = np.r_[RNG.normal(size=(3000, 2)) * 0.5, RNG.uniform(-8, 8, (1000, 2))]
    found = shapes(block(rows), np.ones(4000), np.zeros(4000, np.int32), 1)
    assert 0.15 < found.tail < 0.25


def test_evidence_is_strict_json():
    value = {"a": np.float64("nan"), "b": [np.int64(3), 1 / 3], 5: Border(0, 1, 30, 0.5)}
    text = json.dumps(evidence.as_json(value), allow_nan=False)
    assert json.loads(text) == {
        "a": None,
        "b": [3, 0.333333],
        "5": {"i": 0, "j": 1, "rows": 30, "p": 0.5},
    }


def test_modes_inside_a_cluster_are_seen():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2, 1200)).astype(np.float32)
    x[0, 600:] += 12
    halves = (np.arange(1200) >= 600).astype(np.int32)
    mixed = (np.arange(1200) % 2).astype(np.int32)  # two modes in each
    w = np.ones(1200)
    assert not evidence.has_inner_structure(x, w, halves, 2, 0)
    assert evidence.has_inner_structure(x, w, mixed, 2, 0)
    few = slice(None, None, 11)  # 55 rows a cluster say nothing
    assert not evidence.has_inner_structure(x[:, few], w[few], mixed[few], 2, 0)
