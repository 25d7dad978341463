"""A saved model labels the same rows alike on every engine, and nothing on disk is a pickle."""

from __future__ import annotations

import json
import pickletools
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segpipe import pipeline
from segpipe.engines.open import open_engine
from segpipe.lake.publish import read_labels
from tests.transactions import config, ended, started, transactions, tree

DAY = "2011-06-30"
KINDS = {
    "kmeans": {"model": "kmeans", "k": 3, "n_init": 2},
    "gmm": {"model": "gmm", "k": 3, "n_init": 1},
    "hdbscan": {"model": "hdbscan", "k": "auto"},
}


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return transactions(tmp_path_factory.mktemp("source") / "transactions.parquet")


@pytest.fixture(scope="module")
def models(source: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Per kind: the model's address, and the label table that the same fit publishes."""
    out = {}
    with open_engine("local") as engine:
        for kind, fit in KINDS.items():
            folder = tmp_path_factory.mktemp(kind)
            held = tree(source, folder, fit=fit)
            asked = {"config": held, "engine": engine, "as_of": DAY}
            fitted = pipeline.execute(mode="fit", **asked).summary
            assert fitted["status"] == "done" and fitted["labels"]["uri"] is None
            assert not (folder / "_delta_log").exists(), "fit publishes no labels"
            run = pipeline.execute(mode="run", **asked)
            out[kind] = (fitted["model_uri"], run.summary, rows(run))
    return out


def rows(run: pipeline.Run) -> list[dict[str, Any]]:
    """The label table without the run's own id."""
    found = run.labels.to_table().sort_by("customer_id").drop_columns(["run_id"])
    listed: list[dict[str, Any]] = found.to_pylist()
    return listed


@pytest.mark.parametrize("kind", KINDS)
def test_score_gives_the_labels_that_the_run_gave(engine, source, models, tmp_path, kind):
    place, fitted, expected = models[kind]
    held = tree(source, tmp_path / "out", fit=KINDS[kind])
    run = pipeline.execute(mode="score", config=held, model=place, engine=engine, as_of=DAY)
    assert run.summary["status"] == "done" and run.summary["model_uri"] == place
    assert rows(run) == expected  # to the last bit: segments, distances, scores, reasons
    for same in ("segments", "outliers"):
        assert run.summary[same] == fitted[same]
    again = pipeline.execute(mode="score", config=held, model=place, engine=engine, as_of=DAY)
    assert again.summary["status"] == "already_done"
    assert_no_pickle(tmp_path)


def test_the_model_is_the_same_whatever_fitted_it(engine, source, models, tmp_path):
    place, _, _ = models["kmeans"]
    held = tree(source, tmp_path / "out")
    fitted = pipeline.execute(mode="fit", config=held, engine=engine, as_of=DAY).summary
    ours, theirs = Path(fitted["model_uri"]), Path(place)
    assert ours.name == theirs.name
    assert content(ours) == content(theirs)


def content(model: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in model.iterdir()}


def test_run_with_a_model_is_score(source, models, tmp_path):
    place, _, expected = models["kmeans"]
    path = config(tmp_path, tree(source, tmp_path / "out"))
    code, summary = ended(started(path, "--model", place, "--as-of", DAY))
    assert (code, summary["status"], summary["mode"]) == (0, "done", "score")
    labels = read_labels(str(tmp_path / "out")).to_table().sort_by("customer_id")
    assert labels.drop_columns(["run_id"]).to_pylist() == expected


def test_a_model_of_other_features_is_refused(source, models, tmp_path):
    place, _, _ = models["kmeans"]
    held = tree(source, tmp_path / "out", features={"set": "columns"}, target={"partition_by": []})
    with pytest.raises(pipeline.RunFailed) as failed:
        pipeline.execute(mode="score", config=held, model=place, engine="local")
    assert failed.value.code == 78
    with pytest.raises(pipeline.RunFailed) as failed:
        pipeline.execute(
            mode="score", config=held, model=str(tmp_path / "none"), engine="local", as_of=DAY
        )
    assert failed.value.code == 66


def test_nothing_that_a_run_leaves_is_a_pickle(models):
    for place, _, _ in models.values():
        assert_no_pickle(Path(place).parents[2])


def assert_no_pickle(target: Path) -> None:
    """Every file is JSON, HTML, Parquet or npz, and no npz or JSON holds a pickle."""
    seen = set()
    for path in (p for p in target.rglob("*") if p.is_file()):
        seen.add(path.suffix)
        data = path.read_bytes()
        assert path.suffix in {".json", ".html", ".parquet", ".npz", ".crc", ".lock"}, path
        assert not is_pickle(data), path
        if path.suffix == ".json":
            for line in data.decode().splitlines() if "_delta_log" in path.parts else [data]:
                json.loads(line)
        if path.suffix == ".npz":
            with zipfile.ZipFile(path) as members:
                assert all(name.endswith(".npy") for name in members.namelist())
                assert not any(is_pickle(members.read(name)) for name in members.namelist())
            with np.load(path, allow_pickle=False) as arrays:
                assert all(arrays[name].dtype.kind in "fiubU" for name in arrays.files)
    assert {".json", ".parquet"} <= seen or ".npz" in seen


def is_pickle(data: bytes) -> bool:
    """Protocol 2 and later begin with PROTO; older ones parse to their STOP."""
    if data[:1] == b"\x80" and data[1:2] in b"\x02\x03\x04\x05":
        return True
    try:
        with warnings.catch_warnings(action="ignore"):  # it decodes whatever bytes it meets
            return sum(1 for _ in pickletools.genops(data)) > 1
    except (ValueError, KeyError, IndexError, UnicodeDecodeError):
        return False
