import numpy as np
import pyarrow as pa
import pytest

from segpipe import schema
from segpipe.models.detectors import ForestDetector, MassDetector
from segpipe.models.kmeans import KMeansModel
from segpipe.models.scaler import Input, Scaler
from segpipe.scoring.reasons import as_texts, reasons

SCALER = Scaler(
    (
        Input("spend", "number", 20.0, 0, centre=20.0, scale=10.0, fill=20.0),
        Input("visits", "number", 5.0, 0, centre=5.0, scale=2.0, fill=5.0),
        Input("region", "category", "north", 0, scale=2.0, encoding="onehot", levels=("n", "s")),
    )
)
BATCH = pa.record_batch(
    {"spend": [20.0, 60.0, 20.0], "visits": [5.0, 9.0, None], "region": ["n", "n", "s"]}
)
# one usual place: spend 20, visits 5, region n
PLACE = np.array([[0.0, 0.0, 0.5, 0.0]])
MASS = MassDetector(PLACE, np.ones(1), np.zeros(1), 0.05)


def why(flags, detector=MASS):
    return reasons(BATCH, np.array(flags), SCALER, KMeansModel(PLACE), detector)


def test_shares_values_and_what_is_usual_by_hand():
    # row 1: spend 4 scales off, visits 2 off: shares 16/20 and 4/20
    out = why([False, True, True])
    assert out.type == schema.REASON_TYPE and out[0].as_py() is None
    first, second = out[1].as_py()
    assert first == {"feature": "spend", "share": 0.8, "value": "60", "usual": "20"}
    assert second == {"feature": "visits", "share": 0.2, "value": "9", "usual": "5"}
    # row 2: only the region differs; its missing visits are filled with the median
    assert out[2].as_py() == [{"feature": "region", "share": 1.0, "value": "s", "usual": "n"}]


def test_a_method_without_places_compares_with_the_nearest_centre():
    trees = ForestDetector(
        np.zeros((1, 1), np.int32), np.zeros((1, 1), np.float32), np.zeros((1, 2)), 1.0
    )
    assert why([True, True, True], trees).to_pylist() == why([True, True, True]).to_pylist()


def test_no_flag_no_reason_and_a_row_at_the_usual_place_has_none():
    assert why([False, False, False]).null_count == 3
    assert why([True, False, False])[0].as_py() == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (3.0, "3"),
        (-0.0, "0"),
        (0.1234567, "0.123457"),
        (0.1 + 0.2, "0.3"),
        (1234567.8, "1234570"),
        (1e-30, "1e-30"),
        (float("nan"), "missing"),
        (float("inf"), "missing"),
    ],
)
def test_text(value, text):
    assert as_texts(np.array([value])).to_pylist() == [text]
