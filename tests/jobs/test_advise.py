"""``segpipe advise``: what it says of tables with known truth, and that its config runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from segpipe import checks, cli, pipeline
from segpipe.advise import advise

ROWS = 900


def table(path: Path, x: Any) -> Path:
    pq.write_table(pa.table({"id": np.arange(len(x)), "a": x[:, 0], "b": x[:, 1]}), path)
    return path


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(5)
    centres = np.array([[0, 0], [9, 0], [0, 9]])
    x = rng.normal(size=(ROWS, 2)) + centres[np.arange(ROWS) % 3]
    return table(tmp_path_factory.mktemp("advice") / "blobs.parquet", x)


def fits(document: dict[str, Any], name: str, algorithm: str) -> bool | None:
    row = next(a for a in document["assumptions"] if a["assumption"] == name)
    return row["fits"][algorithm]


def test_blobs_are_k_means_and_the_config_runs(
    blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = advise(str(blobs), None, tmp_path / "advice")
    said = capsys.readouterr().out
    assert "Take K-Means: 3 segments" in said and "K-Means or DBSCAN?" in said
    assert document["choice"] == {"kind": "kmeans", "k": 3, "natural": True}
    kmeans = [fits(document, a["assumption"], "K-Means") for a in document["assumptions"]]
    assert False not in kmeans
    one, two = document["compared"][:2]
    assert (one["k"], two["k"], two["algorithm"]) == (3, 3, "DBSCAN") and two["eps"] > 0
    assert document["agreement"] > 0.9

    path = tmp_path / "advice" / "config.yaml"
    tree = yaml.safe_load(path.read_text())
    assert tree["fit"] == {"model": "kmeans", "k": 3} and tree["contract"] == {"keys": ["id"]}
    override = f"target.uri={tmp_path / 'out'}"
    assert checks.check(str(path), None, (override,)) == []
    summary = pipeline.run(str(path), overrides=(override,)).summary
    assert summary["status"] == "done" and summary["model"]["k"] == 3
    assert [s["rows"] for s in summary["segments"]] == [300, 300, 300]


def test_the_page_has_the_pictures_and_refers_to_nothing_outside(
    blobs: Path, tmp_path: Path
) -> None:
    advise(str(blobs), ["a", "b"], tmp_path / "advice")
    page = (tmp_path / "advice" / "advice.html").read_text()
    told = re.findall(r'aria-label="([^"]*)"', page)
    assert sum(alt.startswith("Map of") for alt in told) >= 3
    assert any("DBSCAN's radius is" in alt or "DBSCAN&#x27;s radius is" in alt for alt in told)
    assert "src=" not in page and "href=" not in page and "<script" not in page
    kept = json.loads((tmp_path / "advice" / "advice.json").read_text())
    first, second = kept["candidates"][:2]
    assert first["kind"] == kept["choice"]["kind"] == "kmeans" and first["chosen"]
    assert "Every kind of model" in page and second["why_not"] in page
    assert {"agglomerative", "bisecting", "dbscan"} < {c["kind"] for c in kept["candidates"]}
    assert kept["features"] == ["a", "b"] and "contract" not in kept["config"]


@pytest.mark.slow
def test_moons_break_what_k_means_assumes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    angle, upper = rng.uniform(0, np.pi, 2_000), np.arange(2_000) % 2 == 0
    x = np.c_[np.cos(angle), np.sin(angle)]
    x[~upper] = [1.0, 0.5] - x[~upper]
    x += rng.normal(0, 0.05, x.shape)
    document = advise(str(table(tmp_path / "moons.parquet", x)), None, tmp_path / "advice")
    assert document["choice"]["natural"] and document["choice"]["k"] == 2
    assert fits(document, "one centre each", "K-Means") is False
    assert fits(document, "one centre each", "DBSCAN") is True
    assert any(text.startswith("Against K-Means: ") for text in document["explained"])
    dbscan = document["compared"][1]
    assert (
        dbscan["k"] == 2
        and dbscan["density_validity"] > document["compared"][0]["density_validity"]
    )


def test_uniform_rows_are_no_story(tmp_path: Path) -> None:
    x = np.random.default_rng(3).uniform(size=(ROWS, 2))
    document = advise(str(table(tmp_path / "box.parquet", x)), None, tmp_path / "advice")
    assert document["choice"] == {"kind": "kmeans", "k": 1, "natural": False}
    assert fits(document, "natural segments", "K-Means") is False
    assert fits(document, "round clusters", "K-Means") is None
    assert "any K is a choice of yours" in document["explained"][-1]
    assert document["config"]["fit"] == {"model": "auto", "k": "auto"}


def test_the_command(blobs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(
            ["advise", str(blobs), "--columns", "a, b", "--json", "--out", str(tmp_path / "o")]
        )
    assert done.value.code == 0
    lines = capsys.readouterr().out.splitlines()
    assert json.loads(lines[-1])["features"] == ["a", "b"]
    for arguments, code in (
        ([str(tmp_path / "absent.parquet")], 66),
        ([str(blobs), "--columns", "a,z"], 65),
        ([str(blobs), "--kolumns", "a"], 2),
    ):
        with pytest.raises(SystemExit) as done:
            cli.main(["advise", *arguments, "--out", str(tmp_path / "o")])
        assert done.value.code == code
