import numpy as np
import pytest

from segpipe.models.calibration import Tail
from segpipe.scoring.calibrate import BINS, calibrate, score_edges
from segpipe.scoring.tally import Tally
from segpipe.scoring.watch import Scores, Totals


def tally(score, edges, top):
    n = len(score)
    histogram = np.bincount(np.searchsorted(edges, score, side="right"), minlength=len(edges) + 1)
    return Tally(
        np.array([0, n]),
        np.zeros((2, 1)),
        np.zeros((2, 1)),
        Totals(np.zeros((2, 2, 0)), np.zeros((2, 0), np.int64)),
        Scores(histogram.astype(np.int64), np.sort(score)[-top:], top, ()),
    )


def calibrated(score, threshold, top=100_000, sample=20_000):
    part = score[:sample]
    edges = score_edges(part, np.ones(len(part)))
    return calibrate(tally(score, edges, top), edges, threshold, "mass")


def mixture(n=300_000, odd=0.03, seed=0):
    rng = np.random.default_rng(seed)
    score = rng.normal(size=n)
    true = rng.random(n) < odd
    score[true] += 7.0
    return score, true


@pytest.mark.parametrize("share", [0.1, 0.01, 0.001])
@pytest.mark.parametrize("top", [100_000, 200])
def test_the_share_asked_is_flagged(share, top):
    score, _ = mixture()
    found = calibrated(score, {"contamination": share}, top)
    assert found.flag(score).mean() == pytest.approx(share, rel=0.02)
    assert found.flag(score).sum() == found.flagged


def test_top_n_is_exact():
    score, _ = mixture()
    assert calibrated(score, {"top_n": 500}).flag(score).sum() == 500
    assert calibrated(score[:100], {"top_n": 500}).flag(score[:100]).all()


def test_ties_take_the_side_nearer_to_what_was_asked():
    score = np.r_[np.zeros(980), np.full(12, 1.0), np.full(8, 2.0)]
    assert calibrated(score, {"contamination": 0.01}).flagged == 8
    assert calibrated(score, {"contamination": 0.018}).flagged == 20
    assert calibrated(np.zeros(1000), {"contamination": 0.01}).flagged == 0
    assert calibrated(np.zeros(1), {"contamination": 0.01}).flagged == 0


def test_false_discovery_rate_is_kept_and_the_odd_rows_are_found():
    score, true = mixture()
    flagged = calibrated(score, {"fdr": 0.05}).flag(score)
    assert (flagged & ~true).sum() <= 0.05 * flagged.sum()
    assert (flagged & true).sum() > 0.9 * true.sum()


@pytest.mark.parametrize("draw", ["normal", "exponential", "uniform"])
def test_no_outliers_no_flags(draw):
    score = getattr(np.random.default_rng(1), draw)(size=100_000)
    assert calibrated(score, {"fdr": 0.05}).flagged <= 3


def test_a_tail_heavier_than_the_bulk_says_flags_few():
    score = np.random.default_rng(1).standard_t(5, 100_000)
    assert calibrated(score, {"fdr": 0.05}).flagged < 100


def test_p_of_an_exponential_score_is_its_survival():
    score = np.random.default_rng(0).exponential(size=200_000)
    found = calibrated(score, {"fdr": 0.05})
    at = np.array([0.1, 0.5, 1.0, 3.0, 8.0])
    assert found.p(at) == pytest.approx(np.exp(-at), rel=0.1)


@pytest.mark.parametrize("top", [100_000, 200])
def test_quantile_is_the_share_that_scores_lower_and_monotone(top):
    score, _ = mixture(100_000)
    found = calibrated(score, {"contamination": 0.01}, top)
    rising = np.sort(score)
    rank = np.arange(len(rising)) / len(rising)
    assert np.abs(found.quantile(rising) - rank).max() < 2e-3
    assert np.array_equal(found.quantile(rising[-200:]), rank[-200:])
    line = np.linspace(-50, 50, 20_001)
    q, p = found.quantile(line), found.p(line)
    assert (np.diff(q) >= 0).all() and q[0] == 0 and q[-1] == 1
    assert (np.diff(p) <= 0).all() and p[0] == 1 and 0 < p[-1] < 1e-6


@pytest.mark.parametrize(
    "score", [np.zeros(1), np.zeros(50), np.r_[np.zeros(99), 5.0], np.arange(3.0)]
)
@pytest.mark.parametrize("threshold", [{"contamination": 0.01}, {"fdr": 0.1}, {"top_n": 1}])
def test_degenerate_scores_stay_finite(score, threshold):
    found = calibrated(score, threshold)
    new = np.array([-1.0, 0.0, 5.0, 100.0])
    assert np.isfinite(found.threshold)
    assert np.isfinite(found.quantile(new)).all() and np.isfinite(found.p(new)).all()


def test_edges_are_bounded_ascending_and_reach_beyond_the_sample():
    score = np.random.default_rng(0).normal(size=5000)
    edges = score_edges(score, np.ones(5000))
    assert len(edges) < BINS and (np.diff(edges) > 0).all() and edges[-1] > 1.5 * score.max()


def test_false_discoveries_of_a_log_distance_stay_below_what_was_asked():
    # The log of a Gaussian row's distance has a far lighter tail than an exponential.
    rng = np.random.default_rng(7)
    usual = np.log(np.linalg.norm(rng.normal(size=(99_000, 5)), axis=1))
    odd = np.log(np.linalg.norm(rng.normal(size=(1000, 5)) * 4, axis=1))
    flagged = calibrated(np.concatenate([usual, odd]), {"fdr": 0.1}).flag(
        np.concatenate([usual, odd])
    )
    assert flagged[:99_000].sum() <= 0.12 * flagged.sum()
    assert flagged[99_000:].mean() > 0.6


def test_beyond_what_was_seen_gompertz_goes_on_as_a_gaussian():
    # Hazard e^z up to 2, then e^2 (1 + (z - 2)): at 3 the sum is e^2 - 1 + e^2 * 1.5.
    tail = Tail(0.0, 0.5, 1.0, -1.0, 1.0, 2.0)
    found = tail.survival(np.array([1.0, 3.0]))
    e = np.e
    assert found == pytest.approx([0.5 * np.exp(1 - e), 0.5 * np.exp(1 - 2.5 * e**2)])
