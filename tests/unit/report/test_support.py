"""Pictures of what supports the segments: places computed by hand."""

from __future__ import annotations

import re

import pytest

from segpipe.report.figures import colours
from segpipe.report.support import Knife, gap_curve, silhouette_knife, stability_bars

NAMES = {0: "Cheap <b>", 1: "Dear"}
COLOUR = colours([0, 1])


def rectangles(svg: str, colour: str) -> list[list[float]]:
    """Left, top, right, bottom of every box of one colour."""
    paths = re.findall(rf'<path d="([^"]*z)" style="fill:{colour}"', svg)
    boxes = re.findall(r"M([-\d.]+) ([-\d.]+)H([-\d.]+)V([-\d.]+)", "".join(paths))
    return [[float(v) for v in box] for box in boxes]


def test_a_knife_is_as_high_as_its_share_and_as_wide_as_its_silhouettes():
    knives = [Knife(0, 0.6, 0.0, (0.8, 0.4)), Knife(1, 0.1, 0.5, (0.4, -0.2))]
    picture = silhouette_knife(knives, {0: 0.75, 1: 0.25}, NAMES, COLOUR)
    first, second = (rectangles(picture.svg, COLOUR[s]) for s in (0, 1))
    assert [b[3] - b[1] for b in first] == pytest.approx([220 * 0.75 / 2] * 2, abs=0.02)
    assert first[0][2] - first[0][0] == pytest.approx(2 * (first[1][2] - first[1][0]), abs=0.02)
    # below 0 the box lies left of the line that all others start at
    assert second[1][2] == pytest.approx(first[0][0]) and second[1][0] < first[0][0]
    assert "mean 0.47" in picture.alt  # .75 * .6 + .25 * .1 = .475
    assert "1: 0.10, 50% nearer to another segment" in picture.alt
    assert "&lt;b&gt;" in picture.svg and "<b>" not in picture.svg


def test_bars_are_as_long_as_the_stability_and_the_weak_are_named():
    picture = stability_bars([1.0, 0.5], NAMES, COLOUR)
    (whole,), (half,) = (rectangles(picture.svg, COLOUR[s]) for s in (0, 1))
    assert half[2] - half[0] == pytest.approx((whole[2] - whole[0]) / 2, abs=0.02)
    assert picture.alt == "Stability of 2 segments; below 0.6: 1."
    assert "not in any half" in stability_bars([0.9, None], NAMES, COLOUR).svg


def test_the_gap_rings_its_choice():
    picture = gap_curve([0.1, 0.9, 0.8], [0.05, 0.05, 0.05], 2)
    assert (
        picture.alt == "Gap statistic, K from 1 to 3; its choice: 2." and "<circle" in picture.svg
    )
    assert "<circle" not in gap_curve([0.1, 0.2], [0.0, 0.0], None).svg
