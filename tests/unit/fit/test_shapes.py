"""Groups of any shape, found again in other rows."""

import numpy as np
import pytest

from segpipe.fit.convex import adjusted_rand
from segpipe.fit.select import select
from segpipe.fit.shapes import regrouped


def arcs(n, seed):
    """Two half circles that reach into each other (2, n), and which of them each row is of."""
    rng = np.random.default_rng(seed)
    which = rng.integers(0, 2, n)
    turn = rng.uniform(0, np.pi, n) + np.pi * which
    x = np.stack([np.cos(turn) + which, np.sin(turn) + 0.5 * which])
    return (x + rng.normal(0, 0.06, x.shape)).astype(np.float32), which


def test_arcs_are_found_again_in_each_half():
    # Ward's tree, which is no method for shapes, cuts them across.
    x, which = arcs(2000, 3)
    for half in (slice(0, 1000), slice(1000, 2000)):
        rows = np.ascontiguousarray(x[:, half])
        model = regrouped(rows, np.ones(1000), 2, 0.005, 0)
        assert model.kind == "merged" and model.k == 2
        assert adjusted_rand(model.label(x).segment, which) > 0.98


def test_rows_too_few_for_modes_are_grouped_all_the_same():
    x = np.float32([[0, 0.1, 0.2, 9, 9.1, 9.2], [0, 0.1, 0, 9, 9.1, 9]])
    model = regrouped(x, np.ones(6), 2, 0.0, 0)
    label = model.label(x).segment
    assert len(set(label[:3])) == len(set(label[3:])) == 1 and label[0] != label[3]


def test_arms_of_a_spiral_are_not_cut_at_a_chance_gap():
    # By density validity alone four pieces of these two arms look better than the arms.
    rng = np.random.default_rng([21, 77])
    which = rng.integers(0, 2, 1000)
    turn = np.sqrt(rng.uniform(0.05, 1, 1000)) * 3 * np.pi
    x = np.stack([turn * np.cos(turn + np.pi * which), turn * np.sin(turn + np.pi * which)])
    x = (x + rng.normal(0, 0.35, x.shape)).astype(np.float32)
    found = select(x, np.ones(1000), seed=0)
    assert (found.kind, found.k) == ("merged", 2)
    assert adjusted_rand(found.model.label(x).segment, which) > 0.95


@pytest.mark.parametrize("seed", [7, 13])
def test_a_ring_around_a_blob_beside_a_box_stays_whole(seed):
    # Looked at by 56 neighbours its halves are no arcs, and a chance gap of it looks like a valley.
    rng = np.random.default_rng(seed)
    turn = rng.uniform(0, 2 * np.pi, 400)
    ring = 2 * np.stack([np.cos(turn), np.sin(turn)]) + rng.normal(0, 0.12, (2, 400))
    box = rng.uniform(-1, 1, (2, 300)) + np.array([[5], [0]])
    x = np.concatenate([rng.normal(0, 0.3, (2, 300)), ring, box], axis=1).astype(np.float32)
    order = rng.permutation(1000)
    found = select(np.ascontiguousarray(x[:, order]), np.ones(1000), seed=0)
    truth = np.repeat([0, 1, 2], [300, 400, 300])[order]
    label = found.model.label(np.ascontiguousarray(x[:, order])).segment
    assert found.k == 3
    assert adjusted_rand(label, truth) > 0.97


def test_one_bent_cloud_has_no_segments():
    rng = np.random.default_rng(12)
    a = rng.normal(size=2000)
    x = np.stack([a, 0.4 * a * a + 0.5 * rng.normal(size=2000)]).astype(np.float32)
    assert not select(x, np.ones(2000), seed=0).natural
