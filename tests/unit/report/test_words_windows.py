"""Window columns in words that people understand."""

import pytest

from segpipe.features.windows import available
from segpipe.report.render import amount, mark
from segpipe.report.words import humanise


@pytest.mark.parametrize(
    ("column", "said"),
    [
        ("src_10s_ports", "distinct ports from this source in 10 s"),
        ("dst_10m_srcs", "distinct sources to this destination in 10 min"),
        ("src_last100_failed", "share of failed connections from this source of the last 100"),
        ("pair_gap", "seconds since the last connection between these two"),
    ],
)
def test_a_window_column_is_spoken_of_as_people_do(column, said):
    assert humanise(column) == said


def test_every_window_column_has_words():
    names = available(["ts", "src", "dst", "dst_port", "proto", "flag", "src_bytes"]).names
    assert len(names) == 30
    told = [humanise(name) for name in names if name != "burst_size"]
    assert all("source" in t or "destination" in t or "between" in t for t in told)


@pytest.mark.parametrize(
    ("value", "said"),
    [("9.210340371976184", "1 in 10,000"), (0.0, "1 in 1"), (1.0986122886681098, "1 in 3")],
)
def test_a_rarity_is_told_as_one_in_so_many(value, said):
    assert amount(value, "pair_rarity") == said
    assert mark(value, "src_rarity") == said
    for own in ("src_bytes", "item_rarity"):
        assert amount(value, own) != said and mark(value, own) != said


def test_a_mark_that_names_a_port_has_no_separators():
    assert mark(8080.0, "dst_port") == "8080"
