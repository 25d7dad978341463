"""Groups of any shape, found again in other rows."""

import numpy as np

from segpipe.fit.convex import adjusted_rand
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
