import math

import numpy as np
import pyarrow as pa
import pytest

from segpipe.report.profile import named, profile, separates_nothing, separation
from segpipe.values import Labels


def labelled(segment, distance=None):
    n = len(segment)
    return Labels(
        np.array(segment, np.int32), np.ones(n), np.array(distance or [0.0] * n, np.float64)
    )


def table(**columns):
    return pa.record_batch({k: pa.array(v) for k, v in columns.items()})


# Six rows, worked out by hand: segment 0 = {1, 2, 3}, segment 1 = {4, 5, 21}.
ROWS = table(x=[1.0, 2.0, 3.0, 4.0, 5.0, 21.0])
HALVES = labelled([0, 0, 0, 1, 1, 1], [3.0, 1.0, 2.0, 1.0, 0.5, 9.0])


def of(profiles, segment, feature):
    (found,) = [p for p in profiles if p.id == segment]
    (value,) = [f for f in found.features if f.name == feature]
    return value


def test_the_numbers_of_six_rows():
    found = profile(ROWS, HALVES, np.ones(6), ["x"], [], {0: 3, 1: 3})
    low, high = of(found, 0, "x"), of(found, 1, "x")
    assert (low.mean, low.median, low.usual, low.usual_mean) == (2.0, 2.0, 3.5, 6.0)
    assert (high.mean, high.median, high.lift) == (10.0, 5.0, 10 / 6)
    # squares around 6: 25 + 16 + 9 + 4 + 1 + 225 = 280
    assert high.z == pytest.approx(4 / math.sqrt(280 / 6))
    # mid-ranks of six distinct values: 1/12, 3/12 ... 11/12
    assert (low.position, high.position) == (pytest.approx(3 / 12), pytest.approx(9 / 12))
    assert [p.share for p in found] == [0.5, 0.5]


def test_a_row_of_weight_two_is_two_rows():
    twice = table(x=[1.0, 1.0, 2.0, 7.0, 9.0])
    once = table(x=[1.0, 2.0, 7.0, 9.0])
    sizes = {0: 3, 1: 2}
    a = profile(twice, labelled([0, 0, 0, 1, 1]), np.ones(5), ["x"], [], sizes)
    b = profile(once, labelled([0, 0, 1, 1]), np.array([2.0, 1, 1, 1]), ["x"], [], sizes)
    for segment in (0, 1):
        one, two = of(a, segment, "x"), of(b, segment, "x")
        assert one.mean == two.mean and one.median == two.median
        assert one.z == pytest.approx(two.z) and one.position == pytest.approx(two.position)


def test_sizes_and_means_are_the_callers_where_it_knows_all_rows():
    found = profile(
        ROWS, HALVES, np.ones(6), ["x"], [], {0: 300, 1: 100}, {0: {"x": 1.5}, 1: {"x": 8.0}}
    )
    assert [(p.rows, p.share) for p in found] == [(300, 0.75), (100, 0.25)]
    assert of(found, 0, "x").mean == 1.5 and of(found, 1, "x").mean == 8.0
    assert of(found, 0, "x").median == 2.0  # of the sample


def test_missing_values_are_in_no_number():
    rows = table(x=[1.0, None, 3.0, math.nan, math.inf, 5.0])
    found = profile(rows, HALVES, np.ones(6), ["x"], [], {0: 3, 1: 3})
    assert of(found, 0, "x").mean == 2.0 and of(found, 1, "x").mean == 5.0
    assert of(found, 1, "x").usual == 3.0


def test_a_feature_that_is_always_missing_and_a_constant_one():
    rows = pa.record_batch({"x": pa.nulls(6, pa.float64()), "c": np.full(6, 7.0)})
    found = profile(rows, HALVES, np.ones(6), ["x", "c"], [], {0: 3, 1: 3})
    nothing, constant = of(found, 0, "x"), of(found, 0, "c")
    assert (nothing.mean, nothing.median, nothing.z, nothing.position) == (None, None, None, 0.5)
    assert (constant.mean, constant.z, constant.lift, constant.position) == (7.0, None, 1.0, 0.5)


def test_lift_is_left_out_where_the_mean_of_everybody_is_not_positive():
    rows = table(x=[-3.0, -1.0, 1.0, 1.0, 1.0, 1.0])
    found = profile(rows, HALVES, np.ones(6), ["x"], [], {0: 3, 1: 3})
    assert of(found, 0, "x").lift is None and of(found, 1, "x").z > 0


def test_levels_by_hand():
    rows = table(x=[0.0] * 6, c=["uk", "uk", "fr", "fr", "fr", None])
    found = profile(rows, HALVES, np.ones(6), ["x"], ["c"], {0: 3, 1: 3})
    (uk,) = found[0].levels
    assert (uk.feature, uk.level, uk.share, uk.usual) == ("c", "uk", 2 / 3, 1 / 3)
    # inside 2 of 3, outside 0 of 3, half a row added to each cell
    assert uk.log_odds == pytest.approx(math.log(2.5 / 1.5) - math.log(0.5 / 3.5))
    assert [v.level for v in found[1].levels] == ["fr", "missing"]


def test_exemplars_are_the_nearest_rows_and_hold_no_other_column():
    rows = table(key=[10, 11, 12, 13, 14, 15], x=[1.0, 2.0, math.nan, 4.0, 5.0, 21.0])
    found = profile(rows, HALVES, np.ones(6), ["x"], [], {0: 3, 1: 3})
    assert [dict(e) for e in found[0].exemplars] == [{"x": 2.0}, {"x": None}, {"x": 1.0}]


def test_noise_comes_last_and_a_segment_outside_the_sample_keeps_its_size():
    found = profile(
        ROWS, labelled([0, 0, -1, 1, 1, 1]), np.ones(6), ["x"], [], {-1: 5, 0: 2, 2: 1, 1: 9}
    )
    assert [p.id for p in found] == [0, 1, 2, -1]
    absent = found[2]
    assert absent.rows == 1 and absent.features[0].mean is None and absent.exemplars == ()


def test_named_keeps_everything_else():
    found = profile(ROWS, HALVES, np.ones(6), ["x"], [], {0: 3, 1: 3})
    again = named(found, {0: "a", 1: "b"})
    assert [p.name for p in again] == ["a", "b"] and again[0].features == found[0].features


def test_separation_orders_features_and_finds_the_useless_ones():
    rng = np.random.default_rng(1)
    segment = np.repeat([0, 1], 500).astype(np.int32)
    rows = table(
        noise=rng.normal(size=1000),
        clear=segment + 0.001 * rng.normal(size=1000),
        constant=np.zeros(1000),
        text=np.where(segment == 0, "a", "b"),
        dice=rng.choice(["p", "q", "r"], 1000),
    )
    found = separation(
        rows, segment, np.ones(1000), ["noise", "clear", "constant"], ["text", "dice"]
    )
    assert {s.feature for s in found[:2]} == {"text", "clear"}
    assert found[0].explained == pytest.approx(1.0, abs=0.01)
    # ranks of two separate halves: between = n/4 of n/3 - 1/n
    (clear,) = [s for s in found if s.feature == "clear"]
    assert clear.explained == pytest.approx(0.75, abs=0.002)
    assert clear.ratio == pytest.approx(3.0, abs=0.03)
    assert set(separates_nothing(found)) == {"noise", "constant", "dice"}


def test_one_segment_separates_nothing():
    found = separation(ROWS, np.zeros(6, np.int32), np.ones(6), ["x"], [])
    assert found[0].explained == 0.0
