"""Times as numbers: epochs by size, days as people write them."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from segpipe.lake.convert import to_time


def us(*moment):
    return int(datetime(*moment, tzinfo=UTC).timestamp()) * 1_000_000


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1_300_000_000, 1_300_000_000_000_000),
        (1_300_000_000_123, 1_300_000_000_123_000),
        (1_300_000_000_123_456, 1_300_000_000_123_456),
        (20110309, us(2011, 3, 9)),
        (20120229, us(2012, 2, 29)),
        (20110229, 20110229 * 1_000_000),  # no such day: seconds
        (19991231, us(1999, 12, 31)),
        (0, 0),
    ],
)
def test_whole_numbers(value, expected):
    assert to_time(pa.array([value, None], pa.int64())).values.to_pylist() == [expected, None]


def test_days_written_as_text():
    assert to_time(pa.array(["20110309"])).values.to_pylist() == [us(2011, 3, 9)]
