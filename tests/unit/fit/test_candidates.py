"""The models that the rules did not take: measured alike, and each with its reason."""

import numpy as np
import pytest
from sklearn.cluster import DBSCAN
from sklearn.datasets import make_moons

from segpipe.fit import candidates
from segpipe.fit.candidates import _canonical, _dbscan
from segpipe.fit.select import select
from tests.unit.fit.blobs import blobs, block

KINDS = {"kmeans", "gmm", "bisecting", "agglomerative", "merged", "dbscan", "hdbscan"}
LINKAGES = {"ward", "average", "complete", "single"}


def moons(n=600):
    rows, _ = make_moons(n, noise=0.05, random_state=3)
    return block((rows - rows.mean(axis=0)) / rows.std(axis=0))


def shuffled(x, seed=0):
    return np.ascontiguousarray(x[:, np.random.default_rng(seed).permutation(x.shape[1])])


def of(found, kind, **settings):
    held = [
        r
        for r in found.evidence["candidates"]
        if r["kind"] == kind and settings.items() <= r.items() and "chosen" not in r
    ]
    assert len(held) >= 1
    return held[0]


def test_every_kind_is_there_with_a_reason():
    for x in (moons(), shuffled(blobs([[0, 0], [6, 0], [0, 6]], [150, 150, 150], 0.8)[0])):
        found = select(x, np.ones(x.shape[1]))
        rows = found.evidence["candidates"]
        assert {row["kind"] for row in rows} == KINDS
        assert {r["linkage"] for r in rows if r["kind"] == "agglomerative"} == LINKAGES
        chosen, *others = rows
        assert chosen["chosen"] and (chosen["kind"], chosen["k"]) == (found.kind, found.k)
        assert chosen["agreement"] == 1.0 and "why_not" not in chosen
        assert all(row["why_not"] and "chosen" not in row for row in others)
        assert found.evidence["runner_up"] == others[0]


def test_moons_are_given_back_by_links_and_not_by_centres():
    found = select(moons(), np.ones(600))
    assert found.kind == "merged"
    for lost in (of(found, "kmeans", k=2), of(found, "agglomerative", linkage="ward")):
        assert lost["modes_agreement"] < 0.9
        assert lost["why_not"].startswith("does not give the 2 modes of the density back")
    link = of(found, "agglomerative", linkage="single")
    assert link["modes_agreement"] > 0.95 and link["agreement"] > 0.95
    assert link["why_not"].endswith("and merged goes before")
    second = found.evidence["runner_up"]
    assert second["modes_agreement"] >= 0.9 and second["kind"] in {
        "agglomerative", "dbscan", "hdbscan"
    }  # fmt: skip


def test_blobs_are_found_by_all_and_centres_are_the_simplest():
    x = shuffled(blobs([[0, 0], [9, 0], [0, 9]], [150, 150, 150], 0.7)[0])
    found = select(x, np.ones(450))
    assert (found.kind, found.k) == ("kmeans", 3)
    for kind in ("bisecting", "merged", "dbscan", "hdbscan"):
        row = of(found, kind)
        assert row["k"] == 3 and row["agreement"] > 0.95
        assert row["why_not"].endswith("and kmeans goes before")
    assert "round and of similar spread" in of(found, "gmm")["why_not"]
    other = of(found, "kmeans")  # the second best of the sweep
    assert other["k"] != 3 and other["modes_agreement"] < 0.9
    assert other["silhouette"] < found.evidence["candidates"][0]["silhouette"]


def test_without_natural_segments_no_number_is_a_finding():
    x = block(np.random.default_rng(1).uniform(size=(800, 2)))
    found = select(x, np.ones(800))
    assert not found.natural and found.k == 1
    for row in found.evidence["candidates"][1:]:
        if row["k"] > 1:
            assert row["why_not"].startswith("no natural segments")
        else:
            assert row["why_not"].endswith("as well")


def test_they_change_no_choice(monkeypatch):
    for x in (moons(), shuffled(blobs([[0, 0], [6, 0], [0, 6]], [150, 150, 150], 0.8)[0])):
        with_ = select(x, np.ones(x.shape[1]))
        with monkeypatch.context() as patch:
            patch.setattr("segpipe.fit.select.with_candidates", lambda *given: given[0])
            without = select(x, np.ones(x.shape[1]))
        assert (with_.kind, with_.k, with_.why) == (without.kind, without.k, without.why)
        assert np.array_equal(with_.model.label(x).segment, without.model.label(x).segment)
        assert "candidates" not in without.evidence


def test_a_model_that_was_named_has_none():
    x = shuffled(blobs([[0, 0], [9, 0]], [150, 150], 0.7)[0])
    for asked in ({"k": 2}, {"model": "bisecting"}, {"model": "dbscan"}):
        assert "candidates" not in select(x, np.ones(300), **asked).evidence


def test_many_segments_of_few_rows_are_not_compared(monkeypatch):
    x = shuffled(blobs([[0, 0], [9, 0], [0, 9]], [150, 150, 150], 0.7)[0])
    monkeypatch.setattr(candidates, "MOST", 2)
    found = select(x, np.ones(450))
    assert found.k == 3 and "candidates" not in found.evidence


@pytest.mark.parametrize("make", [moons, lambda: blobs([[0, 0], [7, 0]], [300, 200], 0.9)[0]])
def test_dbscan_is_scikit_learns(make):
    x = make()
    ours = _dbscan(x, np.ones(x.shape[1]), 0.0)
    theirs = DBSCAN(eps=ours.settings["eps"], min_samples=10).fit(x.T.astype(float))
    core = theirs.core_sample_indices_
    assert np.array_equal(_canonical(ours.label[core]), _canonical(theirs.labels_[core]))
    assert np.array_equal(ours.label < 0, theirs.labels_ < 0)
    assert 0 < (ours.label < 0).sum() < 0.1 * x.shape[1]


def test_rows_of_weight_count_as_rows():
    x = block(np.r_[np.zeros((5, 2)), np.eye(2) * 9, np.random.default_rng(0).normal(size=(60, 2))])
    x[:, :5] += np.float32(30) + np.arange(5, dtype=np.float32) * np.float32(0.01)
    w = np.ones(67)
    alone = _dbscan(x, w, 0.0).label
    w[:5] = 40.0
    many = _dbscan(x, w, 0.0).label
    assert (alone[:5] < 0).all() and (many[:5] >= 0).all()


def test_partitions_alike_have_one_name():
    a, b = np.array([2, 2, -1, 0, 5], np.int32), np.array([0, 0, -1, 7, 3], np.int32)
    assert _canonical(a).tolist() == _canonical(b).tolist() == [0, 0, -1, 1, 2]
    assert _canonical(np.array([3, 1, 3], np.int32)).tolist() == [0, 1, 0]
