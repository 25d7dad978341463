import pytest

from segpipe.models.inputs import Input
from segpipe.models.scaler import Scaler
from segpipe.scoring.notes import note_of

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
