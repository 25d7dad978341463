import math
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from segpipe.report.figures import Candidate, heat_map, k_choice, pca_map, score_histogram
from segpipe.report.profile import FeatureProfile, SegmentProfile
from segpipe.report.svg import Axis, Drawing, breadth, frame, spanning, written


def said(svg):
    return [t.text for t in ET.fromstring(svg).iter() if t.tag.endswith("text")]


def test_an_axis_maps_its_ends_and_its_middle():
    axis = Axis(10, 20, 100, 300)
    assert axis(np.array([10, 15, 20])).tolist() == [100, 200, 300]
    assert Axis(1, 100, 0, 50, log=True)(10) == 25


@pytest.mark.parametrize(
    ("low", "high", "most", "shown"),
    [
        (0, 10, 5, ["0", "2", "4", "6", "8", "10"]),
        (-1, 1, 4, ["\u22121.0", "\u22120.5", "0.0", "0.5", "1.0"]),
        (0.449, 0.561, 5, ["0.450", "0.475", "0.500", "0.525", "0.550"]),
        (0, 3_000_000, 3, ["0", "1 M", "2 M", "3 M"]),
        (900, 2600, 4, ["1,000", "1,500", "2,000", "2,500"]),
    ],
)
def test_ticks_are_round_and_written_with_the_decimals_they_need(low, high, most, shown):
    assert [label for _, label in Axis(low, high, 0, 1).ticks(most)] == shown


def test_ticks_of_counts_are_whole():
    assert [v for v, _ in Axis(1.9, 4.1, 0, 1).ticks(9, whole=True)] == [2, 3, 4]


def test_log_ticks_are_powers_of_ten_and_their_2_and_5_if_those_are_few():
    assert [t for _, t in Axis(0.8, 2e6, 0, 1, log=True).ticks(8)] == [
        "1", "10", "100", "1,000", "10,000", "100,000", "1 M",
    ]  # fmt: skip
    assert [t for _, t in Axis(0.8, 12, 0, 1, log=True).ticks(8)] == ["1", "2", "5", "10"]
    assert len(Axis(0.8, 1e12, 0, 1, log=True).ticks(5)) <= 5


@given(st.floats(-1e9, 1e9), st.floats(1e-3, 1e9), st.integers(2, 9))
def test_every_range_has_ticks_inside_it_that_differ(low, size, most):
    size = max(size, 1e-4 * abs(low))
    axis = Axis(low, low + size, 0, 1)
    ticks = axis.ticks(most)
    assert len({label for _, label in ticks}) == len(ticks)
    assert 1 <= len(ticks) <= most + 2
    assert all(low - size * 1e-6 <= v <= low + size * (1 + 1e-6) for v, _ in ticks)


def test_a_flat_range_is_widened():
    for value in (0.0, 7.0, -3.0):
        axis = spanning(np.array([value, value]), 0, 100)
        assert axis.low < axis.high and math.isfinite(float(axis(value)))


def test_small_numbers_and_minus():
    assert written(-0.5, 0.5) == "\u22120.5" and written(0.000002, 0.000001) == "2e-06"
    assert written(-0.0, 0.5) == "0.0" and written(2.5e9, 5e8) == "2.5 G"


def test_texts_are_escaped_and_wider_texts_are_wider():
    drawing = Drawing(10, 10)
    drawing.text((1, 2), '<b>"&')
    assert said(drawing.svg()) == ['<b>"&'] and "<b>" not in drawing.svg()
    assert breadth("mmm") > breadth("aaa") > breadth("iii") > 0


def test_a_frame_is_well_formed_and_tells_its_titles():
    drawing = Drawing(200, 100)
    frame(drawing, Axis(0, 1, 30, 190), Axis(0, 1, 80, 5), x_title="K", y_title="rows")
    assert {"K", "rows", "0.0", "1.0"} <= set(said(drawing.svg()))


def test_k_choice_draws_a_curve_per_kind_and_rings_the_choice():
    tried = [Candidate("kmeans", k, 0.5, 0.1, 9.0 / k, 0.9, k == 3) for k in (2, 3, 4)]
    tried += [Candidate("gmm", k, 0.4, None, None, None) for k in (2, 3)]
    picture = k_choice(tried)
    marks = list(ET.fromstring(picture.svg).iter())
    assert sum(m.tag.endswith("circle") for m in marks) == 3  # a ring in each panel
    assert {"kmeans", "gmm"} <= set(said(picture.svg)) and "kmeans with K = 3" in picture.alt


def test_heat_map_shows_every_position_in_its_colour():
    def segment(number, *positions):
        features = tuple(
            FeatureProfile(f"f{i}", None, None, None, None, None, None, p)
            for i, p in enumerate(positions)
        )
        return SegmentProfile(number, "who", 9, 0.5, features, (), ())

    svg = heat_map([segment(0, 0.0, 0.5), segment(1, 1.0, 0.25)], ["f0", "f1"]).svg
    assert {"0", "50", "100", "25", "f0", "f1"} <= set(said(svg))
    for colour in ("#053061", "#f7f7f7", "#67001f"):  # RdBu: lowest, middle, highest
        assert f"fill:{colour}" in svg


def test_map_draws_every_row_once_and_a_badge_per_segment():
    x = np.random.default_rng(0).normal(size=(3, 40)).astype(np.float32)
    segment = np.repeat([-1, 0, 1], [4, 16, 20]).astype(np.int32)
    names, colour = {-1: "none", 0: "a", 1: "b"}, {-1: "#777777", 0: "#111111", 1: "#222222"}
    svg = pca_map(x, segment, names, colour).svg
    assert svg.count("h0") == 40 and svg.count("<circle") == 2  # noise has no badge
    assert svg.index("#777777") < svg.index("#111111")  # and lies below


def test_histogram_colours_the_flagged_part():
    edges, counts = np.arange(91.0), np.full(90, 7.0)
    svg = score_histogram(edges, counts, 60.0).svg
    blue, red = (next(m for m in ET.fromstring(svg).iter() if m.get("style") == f"fill:{c}")
                 for c in ("#0072b2", "#d55e00"))  # fmt: skip
    assert blue.get("d").count("M") == 60 and red.get("d").count("M") == 30
    assert "threshold 60" in said(svg)
