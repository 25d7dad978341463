import importlib.util
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest

from segpipe.errors import ConfigError
from segpipe.report.figures import Candidate, k_choice, pca_map, score_histogram
from segpipe.report.naming import name_segments
from segpipe.report.profile import named, profile, separation
from segpipe.report.render import Outlier, ReportData, amount, number, percent, plain, render
from segpipe.report.support import Compared, Knife, Validation
from segpipe.values import Labels

EVIL = "<script>alert('x')</script>"
VOID = {"meta", "img", "br", "link", "path", "use", "image"}


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(3)
    segment = np.repeat([0, 1, 2], [60, 50, 10]).astype(np.int32)
    income = np.where(segment == 0, 20.0, 80.0) + rng.normal(0, 1, 120)
    batch = pa.record_batch(
        {"income ($) or ($)": income, "secret_feature": rng.normal(size=120), EVIL: [EVIL] * 120}
    )
    numeric, categorical = ["income ($) or ($)", "secret_feature"], [EVIL]
    labels = Labels(segment, np.ones(120), rng.random(120))
    found = profile(batch, labels, np.ones(120), numeric, categorical, {0: 60, 1: 50, 2: 10})
    counts, edges = np.histogram(rng.gamma(2.0, 1.0, 120), 64)
    return ReportData(
        job="shop " + EVIL,
        run_id="run-1",
        engine="local",
        kind="kmeans",
        k=3,
        library="native",
        why="the smallest K within one standard error",
        profiles=named(found, name_segments(found)),
        rows_in=123,
        rows_used=120,
        rows_labelled=120,
        rows_rejected=3,
        ranked=separation(batch, segment, np.ones(120), numeric, categorical),
        candidates=[
            Candidate("kmeans", k, 0.5 / k, 0.01, 90.0 / k, 0.9, k == 3) for k in (2, 3, 4)
        ],
        compared=[
            Compared("K-Means", 3, 0.0, 0.7, 0.6, ""),
            Compared("DBSCAN", 2, 0.125, None, -0.25, "finds <2> & loses"),
        ],
        decision={"silhouette": 0.4},
        x=rng.normal(size=(3, 120)).astype(np.float32),
        segment=segment,
        outlier_method="mass",
        flagged=4,
        threshold=4.0,
        score_edges=edges,
        score_counts=counts,
        top=[
            Outlier(
                {"customer_id": 4711},
                1,
                7.5,
                0.9999,
                [{"feature": "income", "share": 0.7, "value": "123456.0", "usual": "80.5"}],
            )
        ],
        rejects={"null_key": 3},
        seconds={"scan": 0.5, "fit": 1.25},
        versions={"numpy": "2"},
        warnings=["column c is constant & was dropped"],
        min_group=20,
    )


@pytest.fixture(scope="module")
def page(data):
    return render(data)


class Balanced(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, _, attrs):
        self.links += [v for k, v in attrs if k in ("src", "href", "xlink:href") and v]

    def handle_endtag(self, tag):
        if tag in VOID:
            return
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_whole_and_refers_to_nothing_outside(page):
    parser = Balanced()
    parser.feed(page)
    assert parser.wrong == [] and parser.open == []
    assert all(link.startswith(("#", "data:")) for link in parser.links)
    assert not re.search(r"url\((?!#)", page) and "@import" not in page


def test_texts_are_escaped_in_html_and_in_pictures(page):
    assert EVIL not in page and "<script" not in page
    assert "&lt;script&gt;" in page


def test_other_kinds_of_model_have_their_reason(page):
    table = page[page.index("Other kinds of model") :]
    table = table[: table.index("</table>")]
    cells = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table[table.index("<tbody>") :])
    assert cells[:6] == ["K-Means", "3", "0.0 %", "0.7", "0.6", "chosen"]
    assert cells[6:] == ["DBSCAN", "2", "12.5 %", "\u2013", "-0.25", "finds &lt;2&gt; &amp; loses"]


def test_dollars_in_a_name_are_no_formula(page):
    assert "income ($) or ($)" in page


def test_the_same_data_give_the_same_bytes(data, page):
    assert render(data) == page


def test_pictures_have_words(page):
    for svg in re.findall(r"<svg[^>]*>", page):
        assert 'role="img"' in svg and 'aria-label="' in svg
    assert page.count("<svg") == 4  # K choice, heat map, map, scores


def test_small_segments_are_counted_and_not_described(data, page):
    small = data.profiles[2]
    assert small.rows == 10 < data.min_group
    cards = re.findall(r'<div class="card">\s*<h3>.*?</h3>', page, re.S)
    assert len(cards) == 2 and not any(f"{small.name} <" in card for card in cards)
    assert "Segments under 20 rows are not described" in page


def test_facts_are_told(page):
    for said in ("null_key", "is constant &amp; was dropped", "1.75", "4711", "123,456", "99.99 %"):
        assert said in page, said


def test_no_outliers_no_sample_no_sweep(data):
    bare = replace(
        data, outlier_method="none", x=None, candidates=(), top=(), score_edges=None, decision={}
    )
    page = render(bare)
    assert "h-outliers" not in page and "h-map" not in page and page.count("<svg") == 1


def test_one_segment_of_no_natural_structure(data):
    whole = replace(data.profiles[0], name="Everybody")
    page = render(replace(data, k=1, natural=False, profiles=[whole], candidates=()))
    assert "no natural segments" in page


def test_a_palette(data):
    png = b"\x89PNG..."
    colours = {
        p.id: c for p, c in zip(data.profiles, ["#ff0000", "#00ff00", "#0000ff"], strict=True)
    }
    page = render(replace(data, palette=colours, images=[("reduced", png)], x=None))
    assert "data:image/png;base64,iVBORy4uLg==" in page and 'class="swatches"' in page


def test_without_the_extra_the_pip_line_is_told(data, monkeypatch):
    find = importlib.util.find_spec
    absent = "jinja2"
    monkeypatch.setattr(importlib.util, "find_spec", lambda n: None if n == absent else find(n))
    with pytest.raises(ConfigError, match="pip install 'segpipe\\[report\\]'"):
        render(data)


def test_a_single_point_is_no_curve():
    tried = [
        Candidate("kmeans", 2, 0.5, inertia=9.0),
        Candidate("kmeans", 3, 0.6, inertia=5.0, stability=0.9),
    ]
    svg = k_choice(tried).svg
    assert "Silhouette" in svg and "Inertia" in svg and "Stability" not in svg


def test_one_feature_and_a_flat_sample_still_have_a_map():
    flat = pca_map(np.ones((1, 5), np.float32), np.zeros(5, np.int32), {0: "a"}, {0: "#000000"})
    assert flat.svg.startswith("<svg") and "nan" not in flat.svg.lower()


def test_bins_of_unequal_width_are_dealt_out_evenly():
    # 10 rows on [0, 1), 10 on [1, 10): the first is nine times as dense
    picture = score_histogram(np.array([0.0, 1.0, 10.0]), np.array([10.0, 10.0]), None)
    assert "20 rows" in picture.alt


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (1234567, "1,234,567"),
        (86.54, "86.5"),
        (0.03123, "0.0312"),
        (5.0, "5"),
        (1e-9, "1.00e-09"),
        (float("nan"), "\u2013"),
        (None, "\u2013"),
        (True, "yes"),
        ("x", "x"),
    ],
)
def test_numbers_as_people_write_them(value, said):
    assert number(value) == said


def test_shares_and_identifiers():
    assert [percent(v) for v in (0.125, 0.00042, 0.99999, 1.0, None)] == [
        "12.5 %", "0.042 %", "99.999 %", "100.0 %", "\u2013",
    ]  # fmt: skip
    assert plain(12345.0) == "12345" and plain(None) == "\u2013" and amount("1e5") == "100,000"
    assert amount("S0") == "S0"


def test_support_is_drawn_for_described_segments_only(data):
    knives = tuple(Knife(s, 0.5, 0.0, (0.6, 0.4)) for s in (0, 1, 2))
    page = render(
        replace(data, validation=Validation(knives, (0.9, 0.8, 0.7), 3, 2, (0, 1), (0, 0)))
    )
    alt = re.search(r'aria-label="(Silhouettes by segment[^"]*)"', page)
    # the third segment has fewer rows than min_group
    assert alt is not None and "1: 0.50" in alt[1] and "2: 0.50" not in alt[1]
    assert "Stability of" not in page and "Gap statistic, K from 1 to 2" in page
    assert "elbow of the inertia at 3" in page
