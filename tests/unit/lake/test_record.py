"""Run records: strict JSON, whole files, keys that depend on all that decides the labels."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from segpipe.errors import ConfigError, InputMissing
from segpipe.lake import record


def test_records_are_strict_json_and_listed_newest_first(tmp_path: Path) -> None:
    uri = str(tmp_path)
    value = {
        "run_id": "a",
        "started": "2024-01-01",
        "x": float("nan"),
        "n": np.float64(2.5),
        3: (1,),
    }
    place = record.write_json(uri, "a", "record", value)
    assert place == f"{uri}/_segpipe/runs/a/record.json"
    assert json.loads(Path(place).read_text()) == {
        "run_id": "a", "started": "2024-01-01", "x": None, "n": 2.5, "3": [1],
    }  # fmt: skip
    record.write_json(uri, "b", "record", {"run_id": "b", "started": "2024-01-02"})
    record.write_json(uri, "b", "decision", {"k": 3})
    assert [r["run_id"] for r in record.history(uri)] == ["b", "a"]
    assert record.read_json(uri, "b", "decision") == {"k": 3}
    record.write_json(uri, "b", "decision", {"k": 4})
    assert record.read_json(uri, "b", "decision") == {"k": 4}
    assert len(list((tmp_path / "_segpipe/runs/b").iterdir())) == 2


def test_missing_records_and_bad_ids(tmp_path: Path) -> None:
    for ask in (
        lambda: record.history(str(tmp_path)),
        lambda: record.read_json(str(tmp_path), "a", "record"),
    ):
        with pytest.raises(InputMissing):
            ask()
    with pytest.raises(ConfigError):
        record.write_json(str(tmp_path), "../a", "record", {})


def test_run_key_depends_on_every_part() -> None:
    parts = ({"fit": {"k": 8}}, "s", None, ("d=1", "e=2"), "local")
    same = ({"fit": {"k": 8}}, "s", None, ("e=2", "d=1"), "local")
    assert record.run_key(*parts) == record.run_key(*same)
    others = [
        ({"fit": {"k": 9}}, *parts[1:]),
        (parts[0], "t", *parts[2:]),
        (*parts[:2], "2024-01-01", *parts[3:]),
        (*parts[:3], (), "local"),
        (*parts[:4], "dask"),
    ]
    assert len({record.run_key(*p) for p in [parts, *others]}) == 6
