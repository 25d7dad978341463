"""When centres are kept though a border shows no valley."""

import numpy as np
import pytest

from segpipe.fit.convex import Centres
from segpipe.fit.evidence import Border, Shapes
from segpipe.fit.family import BEYOND_DOUBT, _beyond_doubt, _steady
from segpipe.fit.sweep import Sweep


def sweep(stability, p):
    """Five clusters whose Jaccard on halves and borders' dip p are given."""
    borders = [Border(i, i + 1, 1000, value) for i, value in enumerate(p)]
    table = [{"k": 4, "stability": [0.1] * 4}, {"k": 5, "stability": stability}]
    shape = Shapes(1.0, 1.0, 0.0)
    return Sweep(5, np.zeros((5, 2)), 0.5, 0.9, borders, shape, table, None)


@pytest.mark.parametrize(
    ("stability", "p", "steady"),
    [
        ([0.96] * 5, [0.001] * 4, True),
        ([0.96] * 5, [0.001] * 3 + [0.9], True),  # one border of four looks level
        ([0.96] * 5, [0.001] * 2 + [0.9] * 2, False),
        ([0.96] * 4 + [0.9], [0.001] * 4, False),  # one cluster is not found again
    ],
)
def test_clusters_found_again_may_have_a_quarter_of_level_borders(stability, p, steady):
    assert _steady(sweep(stability, p)) is steady


@pytest.mark.parametrize(("features", "sure"), [(1, True), (4, True), (5, False), (12, False)])
def test_of_many_features_one_has_a_dent_by_chance(features, sure):
    borders = [Border(0, 1, 500, 0.9), Border(1, 2, 500, BEYOND_DOUBT / 4)]
    at = Centres(np.zeros((3, features)), borders, Shapes(1.0, 1.0, 0.0), 1.0, 0)
    assert _beyond_doubt(at) is sure
