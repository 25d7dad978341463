import numpy as np
import pytest

from segpipe.fit.condensed import Linkage, clusters, linkage_of
from segpipe.fit.convex import adjusted_rand

# Rows 0..2 join at density 4 and 2, rows 3..5 likewise; both trios at density 1; row 6 at .5.
SEVEN = Linkage(
    left=[0, 3, 7, 8, 9, 11],
    right=[1, 4, 2, 5, 10, 6],
    density=[4.0, 4.0, 2.0, 2.0, 1.0, 0.5],
    size=[1] * 7 + [2, 2, 3, 3, 6, 7],
)


def test_two_trios_and_a_row_apart_by_hand():
    label = clusters(SEVEN, 3)
    assert label[6] == -1
    assert label[0] == label[1] == label[2] != label[3] == label[4] == label[5] != -1
    # Clusters of four rows do not exist below the root, which is none.
    assert (clusters(SEVEN, 4) == -1).all()


def test_a_pair_within_a_trio_is_not_worth_more_than_the_trio():
    # Pairs begin at density 2 and end at 4: excess 2 each (4 - 2) * 2 = 4 against that of the
    # trio, (2 - 1) * 3 = 3 for all that leave it at density 2: a pair alone splits nothing, since
    # the third row is below the least size.
    assert clusters(SEVEN, 2).tolist() == clusters(SEVEN, 3).tolist()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_agrees_with_the_library(seed):
    hdbscan = pytest.importorskip("hdbscan")
    rng = np.random.default_rng(seed)
    spots = [rng.normal(at, 0.5, (150, 2)) for at in ((0, 0), (6, 0), (2, 7))]
    rows = np.concatenate([*spots, rng.uniform(-4, 10, (90, 2))]).astype(np.float32)
    ours = clusters(linkage_of(np.ascontiguousarray(rows.T), 10), 30)
    theirs = hdbscan.HDBSCAN(min_cluster_size=30, min_samples=10, core_dist_n_jobs=1)
    theirs = theirs.fit(rows.astype(np.float64)).labels_
    assert ours.max() == theirs.max() == 2
    assert adjusted_rand(ours, theirs) > 0.9
