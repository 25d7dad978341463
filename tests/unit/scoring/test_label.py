import datetime as dt
import pickle

import numpy as np
import pyarrow as pa
import pytest

from segpipe import schema
from segpipe.errors import ConfigError
from segpipe.models import persist
from segpipe.models.fitted import Fitted
from segpipe.scoring.calibrate import calibrate, score_edges
from segpipe.scoring.label import Labeller, output_schema
from segpipe.scoring.tally import TallyStep
from segpipe.scoring.watch import Watch

from .tables import customers, fitted, pieces

DAY = dt.date(2011, 12, 9)


def labeller(batch, method="mass", as_of=DAY):
    scaler, model, detector, x = fitted(batch)
    edges = score_edges(detector.score(x), np.ones(batch.num_rows))
    step = TallyStep(scaler, model, Watch((), np.empty(0), detector, edges, 1000, ("id",)))
    calibration = calibrate(step(iter([batch])), edges, {"contamination": 0.02}, "mass")
    out = output_schema(
        batch.schema,
        keys=["id"],
        features=["spend", "visits"],
        carried=["id", "region"],
        partition_by=["as_of"] if as_of else [],
        as_of=False,
    )
    none = method == "none"
    return Labeller(
        scaler,
        model,
        None if none else detector,
        None if none else calibration,
        ((0, "big"), (2, "small")),
        out,
        "run-1",
        "model-1",
        as_of,
    )


def test_columns_come_in_the_order_of_the_contract():
    out = labeller(customers())(customers())
    assert out.schema.names == [
        "id",
        *schema.LABELS.names,
        "spend",
        "visits",
        "region",
        "as_of",
        "run_id",
        "model_id",
    ]
    assert out["id"].to_pylist() == list(range(500))
    assert set(out["as_of"].to_pylist()) == {DAY} and out["run_id"][0].as_py() == "run-1"
    assert set(out["segment"].to_pylist()) == {"big", "segment 1", "small"}


def test_two_per_cent_are_flagged_with_reasons_and_the_planted_row_is_one_of_them():
    out = labeller(customers())(customers()).to_pylist()
    flagged = [row for row in out if row["is_outlier"]]
    assert len(flagged) == 10 and out[250] in flagged
    assert out[250]["outlier_reasons"][0]["feature"] == "spend"
    assert out[250]["outlier_reasons"][0]["value"] == "4000"
    for row in out:
        assert (row["outlier_reasons"] is not None) == row["is_outlier"]
        assert sum(r["share"] for r in row["outlier_reasons"] or []) <= 1 + 1e-12
        assert 0 <= row["outlier_quantile"] <= 1 and 0 < row["outlier_p"] <= 1
        assert 0 <= row["segment_confidence"] <= 1


def test_each_row_depends_on_itself_alone():
    batch = customers()
    label = pickle.loads(pickle.dumps(labeller(batch)))
    whole = label(batch)
    for ends in ([1], [7, 250, 251], [499]):
        parts = [label(piece) for piece in [batch.slice(0, 0), *pieces(batch, *ends)]]
        assert pa.Table.from_batches(parts).combine_chunks().to_batches()[0].equals(whole)


def test_method_none_gives_nulls_not_absent_columns():
    out = labeller(customers(), "none")(customers())
    for name in ("outlier_score", "outlier_quantile", "outlier_p", "is_outlier", "outlier_reasons"):
        assert out[name].null_count == 500


def test_our_names_in_the_source_and_unknown_partitions_are_refused():
    ours = pa.schema([("segment_id", pa.int32())])
    given = {"keys": [], "features": [], "carried": [], "as_of": False}
    with pytest.raises(ConfigError, match="segment_id"):
        output_schema(ours, **given, partition_by=[])
    with pytest.raises(ConfigError, match="country"):
        output_schema(pa.schema([("a", pa.int32())]), **given, partition_by=["country"])


def test_a_saved_and_loaded_job_labels_alike(tmp_path):
    batch = customers()
    first = labeller(batch)
    job = Fitted(
        "model-1", "columns", "{}", ("id",), ("spend", "visits"), ("region",), first.scaler,
        first.model, first.detector, first.calibration, first.names, (("inertia", 1.0),),
    )  # fmt: skip
    persist.save(job, str(tmp_path))
    back = persist.load(str(tmp_path))
    again = Labeller(
        back.scaler, back.model, back.detector, back.calibration, back.names, first.schema,
        "run-1", back.model_id, DAY,
    )  # fmt: skip
    assert again(batch).equals(first(batch))
