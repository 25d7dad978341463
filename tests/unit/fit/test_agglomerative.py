import numpy as np
import pytest
from scipy.cluster.hierarchy import fcluster, linkage

from segpipe.errors import ConfigError, DataError
from segpipe.fit.agglomerative import chained_ward, cut, fit_agglomerative, linkage_tree, ward
from tests.unit.fit.blobs import blobs, block, same_partition


def test_three_points_by_hand():
    tree = ward(np.array([[0.0], [1.0], [4.0]]), np.ones(3))
    assert tree[0].tolist() == [0, 1, 1, 2]
    # sqrt(2 * 2 * 1 / 3) * |0.5 - 4|
    assert tree[1].tolist() == pytest.approx([2, 3, np.sqrt(4 / 3) * 3.5, 3])


def test_unit_masses_give_scipys_tree():
    points = np.random.default_rng(0).normal(size=(120, 3))
    ours, theirs = ward(points, np.ones(120)), linkage(points, "ward")
    assert np.allclose(ours, theirs)
    for k in (1, 2, 7, 120):
        assert same_partition(cut(ours, k), fcluster(theirs, k, "maxclust"))


def test_masses_are_repeated_points():
    points = np.random.default_rng(1).normal(size=(30, 2))
    mass = np.random.default_rng(2).integers(1, 5, 30)
    repeated = linkage(np.repeat(points, mass, axis=0), "ward")
    ours = ward(points, mass.astype(float))
    assert ours[:, 2] == pytest.approx(repeated[-29:, 2])


@pytest.mark.parametrize("kind", ["average", "complete", "single"])
def test_other_linkages_are_scipys_and_masses_are_repeated_points(kind):
    points = np.random.default_rng(3).normal(size=(80, 3))
    ours, theirs = linkage_tree(points, np.ones(80), kind), linkage(points, kind)
    assert np.allclose(ours, theirs)
    mass = np.random.default_rng(4).integers(1, 5, 80)
    repeated = linkage(np.repeat(points, mass, axis=0), kind)
    heavy = linkage_tree(points, mass.astype(float), kind)
    assert heavy[:, 2:] == pytest.approx(repeated[-79:, 2:])


def test_single_linkage_follows_a_chain_that_ward_cuts():
    x = block([[i / 4, 0.0] for i in range(40)] + [[i / 4, 0.75] for i in range(6)])
    single = fit_agglomerative(x, np.ones(46), 2, linkage="single").label(x).segment
    assert same_partition(single, np.repeat([0, 1], [40, 6]))
    assert not same_partition(fit_agglomerative(x, np.ones(46), 2).label(x).segment, single)
    with pytest.raises(ConfigError, match="'median' is unknown"):
        fit_agglomerative(x, np.ones(46), 2, linkage="median")


def test_blobs_through_micro_clusters_keep_the_tree():
    x, y = blobs([[0, 0], [4, 0], [0, 4]], [200, 400, 600])
    model = fit_agglomerative(x, np.ones(1200), 3, micro=40)
    assert same_partition(model.label(x).segment, y)
    assert model.kind == "agglomerative" and model.height.shape == (39, 4)
    assert same_partition(cut(model.height, 3), model.group)


def test_fewer_distinct_rows_than_k():
    x = block([[0, 0]] * 5 + [[1, 1]] * 5)
    assert fit_agglomerative(x, np.ones(10), 2).k == 2
    with pytest.raises(DataError, match="only 2 distinct rows"):
        fit_agglomerative(x, np.ones(10), 3)


def test_chains_of_neighbours_give_the_same_tree():
    points = np.random.default_rng(5).normal(size=(400, 3))
    mass = np.random.default_rng(6).integers(1, 5, 400).astype(float)
    chained, plain = chained_ward(points, mass), ward(points, mass)
    assert chained[:, 2:] == pytest.approx(plain[:, 2:])
    for k in (2, 5, 40):
        assert same_partition(cut(chained, k), cut(plain, k))


def test_ward_of_up_to_20_000_rows_is_of_the_rows_themselves():
    rows = np.random.default_rng(7).uniform(size=(1500, 2))
    x = block(rows)
    found = fit_agglomerative(x, np.ones(1500), 4).label(x).segment
    theirs = fcluster(linkage(x.T.astype(float), "ward"), 4, "maxclust")
    assert same_partition(found, theirs)
