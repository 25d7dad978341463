"""Window columns in words that people understand."""

import pytest

from segpipe.features.windows import available
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
