"""A model that does not move labels each row once; the pass that writes reads the labels back."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import segpipe
from segpipe.models.merged import MergedModel
from segpipe.stages import deliver

ROWS = 1_500


def _run(source, target):
    config = {
        "source": {"uri": str(source)},
        "contract": {"keys": ["id"]},
        "features": {"set": "columns"},
        "fit": {"model": "agglomerative", "k": 3},
        "outliers": {"method": "mass"},
        "target": {"uri": str(target), "keep": "features"},
        "seed": 1,
    }
    return segpipe.run(config).labels.to_table().drop_columns(["run_id", "model_id"])


def test_spooled_labels_are_the_models_own(tmp_path, monkeypatch):
    rng = np.random.default_rng(5)
    centre = rng.integers(0, 3, ROWS)
    x, y = centre * 8 + rng.normal(size=ROWS), (centre == 1) * 9 + rng.normal(size=ROWS)
    table = pa.table({"id": np.arange(ROWS), "x": x, "y": y})
    pq.write_table(table, tmp_path / "rows.parquet")
    labelled = []
    label = MergedModel.label

    def counted(self, x):
        labelled.append(x.shape[1])
        return label(self, x)

    monkeypatch.setattr(MergedModel, "label", counted)
    again = _run(tmp_path / "rows.parquet", tmp_path / "again").sort_by("id")
    twice = sum(labelled)
    labelled.clear()
    monkeypatch.setattr(deliver, "SPOOLED_ROWS", 0)
    once = _run(tmp_path / "rows.parquet", tmp_path / "once").sort_by("id")
    assert twice - sum(labelled) == ROWS
    assert once.equals(again)
    assert once.num_rows == ROWS
    assert len(set(once["segment_id"].to_pylist())) == 3
