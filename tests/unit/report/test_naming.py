import itertools

import pytest

from segpipe.report.naming import lab_hex, name_segments
from segpipe.report.profile import FeatureProfile, LevelProfile, SegmentProfile
from segpipe.report.words import humanise


def segment(number, levels=(), means=None, **positions):
    features = tuple(
        FeatureProfile(name, (means or {}).get(name), None, None, None, None, None, place)
        for name, place in positions.items()
    )
    return SegmentProfile(number, "", 100, 0.2, features, tuple(levels), ())


def columns(number, values, **more):
    return segment(number, **dict(values), **more)


def mall(number, income, spending, age=0.5):
    values = {"Annual Income (k$)": income, "Spending Score (1-100)": spending, "Age": age}
    return segment(number, **values)


def rfm(number, recency, frequency, money, **more):
    return segment(number, recency_days=recency, frequency=frequency, monetary_total=money, **more)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("Annual Income (k$)", "annual income"),
        ("Spending Score (1-100)", "spending score"),
        ("monetary_total", "monetary total"),
        ("activeMonths", "active months"),
        ("age_isna", "missing age"),
        ("src.bytes[B]", "src bytes"),
        ("(?)", "(?)"),
    ],
)
def test_columns_as_people_say_them(column, said):
    assert humanise(column) == said


def test_incomes_and_spendings():
    names = name_segments(
        [
            mall(0, 0.12, 0.16),
            mall(1, 0.11, 0.83),
            mall(2, 0.47, 0.49),
            mall(3, 0.8, 0.86),
            mall(4, 0.82, 0.14),
        ]
    )
    assert names == {
        0: "Low income, low spending",
        1: "Low income, high spending",
        2: "Average",
        3: "High income, high spending",
        4: "High income, low spending",
    }


def test_customers_are_spoken_of_as_customers():
    names = name_segments(
        [
            rfm(0, 0.9, 0.2, 0.15),
            rfm(1, 0.1, 0.9, 0.92),
            rfm(2, 0.5, 0.52, 0.48),
            rfm(3, 0.12, 0.3, 0.5),
        ]
    )
    assert names == {
        0: "Lapsed occasional small spenders",
        1: "Recent frequent big spenders",
        2: "Average customers",
        3: "Recent occasional customers",
    }


def test_a_segment_of_single_purchases_is_called_one_time():
    one = rfm(0, 0.8, 0.2, 0.3, single_purchase=0.75, means={"single_purchase": 1.0})
    two = rfm(1, 0.2, 0.8, 0.7, single_purchase=0.25, means={"single_purchase": 0.0})
    assert name_segments([one, two])[0] == "Lapsed one-time small spenders"


def test_of_two_alike_the_stronger_is_called_very():
    names = name_segments([rfm(0, 0.9, 0.1, 0.1), rfm(1, 0.1, 0.8, 0.7), rfm(2, 0.1, 0.82, 0.97)])
    assert names[1] == "Recent frequent big spenders"
    assert names[2] == "Recent frequent very big spenders"


def test_nothing_is_called_high_that_is_low_among_everybody():
    # Segment 1 is above the middle of the segments, yet below everybody's: not "high".
    names = name_segments([columns(0, {"x": 0.1}), columns(1, {"x": 0.45}), columns(2, {"x": 0.2})])
    assert "high" not in " ".join(names.values()).lower()


def test_noise_and_a_single_segment():
    assert name_segments([mall(0, 0.5, 0.5)]) == {0: "Everybody"}
    assert name_segments([mall(0, 0.5, 0.5), mall(-1, 0.9, 0.9)]) == {
        0: "Everybody",
        -1: "No segment",
    }
    assert name_segments([]) == {}


def test_a_category_that_fills_a_segment_names_it():
    dns = LevelProfile("service", "dns", 0.99, 0.3, 4.0)
    missing = LevelProfile("service", "(missing)", 0.95, 0.1, 4.0)
    uk = LevelProfile("country", "UK", 0.9, 0.2, 3.0)
    names = name_segments(
        [
            columns(0, {"x": 0.5}, levels=[dns]),
            columns(1, {"x": 0.9}, levels=[missing]),
            columns(2, {"x": 0.5}, levels=[uk]),
            columns(3, {"x": 0.1}),
        ]
    )
    assert names == {0: "DNS", 1: "Unknown service, high x", 2: "Country UK", 3: "Low x"}


def test_names_are_unique_and_do_not_depend_on_order():
    grid = [0.1, 0.15, 0.5, 0.85, 0.9]
    profiles = [mall(i, a, b) for i, (a, b) in enumerate(itertools.product(grid, grid))]
    names = name_segments(profiles)
    assert len(set(names.values())) == 25
    assert name_segments(profiles[::-1]) == names


def test_equal_profiles_are_numbered():
    names = name_segments([mall(0, 0.9, 0.9), mall(1, 0.9, 0.9), mall(2, 0.1, 0.1)])
    assert names[0] == "High income, high spending" and names[1].endswith("(2)")


@pytest.mark.parametrize(
    ("lab", "hexes"),
    [  # CIE Lab (D65) of the sRGB primaries
        ((53.2408, 80.0925, 67.2032), "#ff0000"),
        ((87.7347, -86.1827, 83.1793), "#00ff00"),
        ((32.2970, 79.1875, -107.8602), "#0000ff"),
        ((100.0, 0.0, 0.0), "#ffffff"),
        ((0.0, 0.0, 0.0), "#000000"),
        ((53.5850, 0.0, 0.0), "#808080"),
    ],
)
def test_lab_to_hex(lab, hexes):
    assert lab_hex(*lab) == hexes


def test_pixels_are_named_by_their_colour():
    red = {"lab_l": 53.2408, "lab_a": 80.0925, "lab_b": 67.2032}
    places = dict.fromkeys(red, 0.5)
    assert name_segments([columns(0, places, means=red)]) == {0: "#ff0000"}
    rgb = {"r": 255.0, "g": 127.6, "b": 0.0}
    assert name_segments([columns(0, dict.fromkeys(rgb, 0.5), means=rgb)]) == {0: "#ff8000"}


@pytest.mark.parametrize(("share", "said"), [(0.05, "Many failures"), (0.9, "Mostly failed")])
def test_mostly_is_said_of_more_than_half(share, said):
    place = {"src_failed": 0.9, "duration": 0.5}
    calm = {"src_failed": 0.4, "duration": 0.5}
    names = name_segments(
        [segment(0, means={"src_failed": share}, **place), segment(1, **calm), segment(2, **calm)]
    )
    assert names[0] == said


def test_shares_have_no_degrees():
    means = {"src_failed": 0.6}
    one, two = (segment(i, means=means, src_failed=p, age=a) for i, p, a in
                [(0, 0.8, 0.5), (1, 0.99, 0.5)])  # fmt: skip
    names = name_segments([one, two, segment(2, src_failed=0.2, age=0.5)])
    assert not any("very mostly" in name.lower() for name in names.values())
