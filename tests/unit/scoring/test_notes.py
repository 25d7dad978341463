import numpy as np
import pytest

from segpipe.models.calibration import Calibration, Tail
from segpipe.models.inputs import Input
from segpipe.models.scaler import Scaler
from segpipe.scoring.notes import note_of, shift_of

SCALER = Scaler(
    (
        Input("monetary_total", "number", 100.0, 0, log=True, offset=100.0),
        Input("frequency", "number", 3.0, 0, log=True, offset=3.0),
        Input("night_share", "number", 0.0, 0),
    )
)


def reason(feature, share, value, usual="10"):
    return {"feature": feature, "share": share, "value": value, "usual": usual}


@pytest.mark.parametrize(
    ("reasons", "start"),
    [
        ([reason("monetary_total", 0.7, "90000"), reason("night_share", 0.1, "1")], "merely a big"),
        ([reason("monetary_total", 0.4, "90"), reason("frequency", 0.4, "80")], "merely large: fr"),
        ([reason("monetary_total", 0.4, "90000"), reason("night_share", 0.4, "1")], ""),
        ([reason("monetary_total", 0.9, "-500")], ""),  # returns are no heavy tail
        ([reason("monetary_total", 0.9, "missing")], ""),
        ([], ""),
    ],
)
def test_a_row_is_merely_large_if_heavy_tails_are_most_of_its_reasons(reasons, start):
    note = note_of(reasons, SCALER)
    assert note.startswith(start) and bool(note) == bool(start)


def calibration(rows, flagged):
    nothing = np.empty(0)
    return Calibration(
        "mass", rows, np.zeros(1), np.zeros(1, np.int64), nothing, Tail(0.0, 0.5, 1.0),
        1.0, flagged, (("contamination", 0.01),),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("flagged", "rows", "told"),
    [
        (409, 500, True),  # 5 would be usual
        (26, 500, False),  # five times as many, but of so few rows that says little
        (10, 1000, False),
        (1, 1, False),
        (1100, 20_000, True),
        (900, 20_000, False),
    ],
)
def test_a_frozen_threshold_that_flags_far_more_than_in_the_fit_is_told(flagged, rows, told):
    assert bool(shift_of(flagged, rows, calibration(10_000, 100))) is told
