import pickle

import numpy as np
import pytest

from segpipe.scoring.calibrate import score_edges
from segpipe.scoring.tally import Tally, TallyStep, merge_tallies, top_size
from segpipe.scoring.watch import SHOWN, Watch

from .tables import customers, fitted, pieces


def step_of(batch, top=50):
    scaler, model, detector, x = fitted(batch)
    edges = score_edges(detector.score(x)[:100], np.ones(100))
    watch = Watch(
        ("spend", "visits"),
        np.array([4000.0, 15.0]),
        detector,
        edges,
        top,
        ("id", "spend", "visits", "region"),
    )
    return TallyStep(scaler, model, watch)


def same(a: Tally, b: Tally) -> bool:
    return all(
        np.array_equal(getattr(a, name), getattr(b, name))
        for name in ("rows", "linear", "squared", "raw_sums", "present", "histogram", "top")
    ) and [(u.score, u.content) for u in a.unusual] == [(u.score, u.content) for u in b.unusual]


def test_numbers_are_those_of_the_whole_table():
    batch = customers()
    step = step_of(batch)
    _, model, detector, x = fitted(batch)
    said, score = model.label(x), detector.score(x)
    tally = step(iter([batch]))
    assert tally.total == 500 and tally.rows[1:].tolist() == np.bincount(said.segment).tolist()
    assert tally.inertia(model, 1.0) == pytest.approx((said.distance**2).sum(), rel=1e-9)
    assert tally.inertia(model, 2.0) == pytest.approx(4 * (said.distance**2).sum(), rel=1e-9)
    spend = batch["spend"].to_numpy()
    by = [spend[said.segment == g].sum() for g in range(3)]
    # half a grid step a value: 2^-37 of the power of two above the largest
    assert tally.raw_sums[1:, 0] == pytest.approx(by, abs=500 * 4096 * 2.0**-37)
    assert tally.present.sum(axis=0).tolist() == [500, 499]
    assert tally.linear[1:].sum(axis=0) == pytest.approx(x.astype(float).sum(axis=1), abs=0)
    assert np.array_equal(tally.top, np.sort(score)[-50:])
    below = np.cumsum(tally.histogram)[:-1]
    assert below.tolist() == [(score < e).sum() for e in step.watch.edges]
    assert len(tally.unusual) == SHOWN
    assert dict(tally.unusual[0].values)["spend"] == 4000.0
    assert [u.score for u in tally.unusual] == np.sort(score)[::-1][:SHOWN].tolist()


def test_any_partitioning_and_order_gives_the_same_bits():
    batch = customers()
    step = step_of(batch)
    whole = step(iter([batch]))
    for ends in ([1], [7, 8, 300], [499], list(range(50, 500, 50))):
        parts = [step(iter([piece])) for piece in pieces(batch, *ends)]
        forwards = backwards = step(iter([]))
        for part in parts:
            forwards = merge_tallies(forwards, part)
        for part in reversed(parts):
            backwards = merge_tallies(part, backwards)
        one_partition = step(iter(pieces(batch, *ends)))
        assert same(whole, forwards) and same(whole, backwards) and same(whole, one_partition)


def test_ties_among_the_most_unusual_are_broken_by_content():
    batch = customers(60)
    flood = batch.take([5] * 3 + list(range(60)) + [5] * 40)
    step = step_of(batch)
    parts = pieces(flood, 20, 61)
    merged = merge_tallies(step(iter(parts[2:])), step(iter(parts[:2])))
    assert same(step(iter([flood])), merged)


def test_step_is_picklable_and_an_empty_partition_is_neutral():
    batch = customers()
    step = pickle.loads(pickle.dumps(step_of(batch)))
    empty = step(iter([batch.slice(0, 0)]))
    assert empty.total == 0 and empty.unusual == ()
    assert same(merge_tallies(empty, step(iter([batch]))), step(iter([batch])))


def test_without_a_detector_nothing_is_scored():
    batch = customers(50)
    scaler, model, _, _ = fitted(batch)
    step = TallyStep(scaler, model, Watch((), np.empty(0), None, np.empty(0), 10, ()))
    tally = step(iter([batch]))
    assert tally.total == 50 and len(tally.top) == 0 and tally.unusual == ()


def test_top_size_covers_the_threshold_within_bounds():
    assert top_size({"contamination": 0.01}, 1000) == 100_000
    assert top_size({"contamination": 0.01}, 20_000_000) == 200_001
    assert top_size({"top_n": 300_000}, 10**9) == 300_001
    assert top_size({"contamination": 0.5}, 10**9) == 1_000_000
