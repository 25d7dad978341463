"""The palette job on real and odd images: colours, shares, the reduced image, errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import sklearn.datasets
from PIL import Image
from skimage.color import rgb2lab
from sklearn.cluster import KMeans

CHINA = Path(sklearn.datasets.__file__).parent / "images" / "china.jpg"


def palette(image: Path, out: Path, k: int | str = 8) -> tuple[dict[str, Any], int]:
    command = [sys.executable, "-m", "segpipe", "palette", image, "-k", k, "--out", out]
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=300, check=False
    )
    return json.loads(done.stdout.splitlines()[-1]), done.returncode


def painted(path: Path, *colours: tuple[int, ...], mode: str = "RGB", side: int = 10) -> Path:
    """Equal stripes of plain colours."""
    rows = np.repeat(np.array(colours, np.uint8), side * side, axis=0)
    Image.fromarray(rows.reshape(side * len(colours), side, -1), mode).save(path)
    return path


def lab_of(path: Path) -> np.ndarray[Any, np.dtype[np.float64]]:
    with Image.open(path) as image:
        return np.asarray(rgb2lab(np.asarray(image.convert("RGB"))).reshape(-1, 3))


def test_china_is_reduced_as_well_as_by_scikit_learn(tmp_path: Path) -> None:
    summary, code = palette(CHINA, tmp_path / "out")
    assert code == 0 and summary["model"]["k"] == 8
    lab, ours = lab_of(CHINA), lab_of(tmp_path / "out" / "palette.png")
    theirs = KMeans(8, n_init=10, random_state=0).fit(lab)
    reference = theirs.inertia_ / len(lab)
    # The PNG's colours are rounded to bytes, and still within the one per cent.
    assert np.square(lab - ours).sum(axis=1).mean() <= 1.01 * reference
    assert summary["quality"]["inertia"] == pytest.approx(theirs.inertia_, rel=0.005)
    told = json.loads((tmp_path / "out" / "palette.json").read_text())["colours"]
    with Image.open(tmp_path / "out" / "palette.png") as image:
        seen, counts = np.unique(
            np.asarray(image.convert("RGB")).reshape(-1, 3), axis=0, return_counts=True
        )
    found = {"#{:02x}{:02x}{:02x}".format(*c): int(n) for c, n in zip(seen, counts, strict=True)}
    assert {c["hex"]: c["pixels"] for c in told} == found
    assert sum(c["share"] for c in told) == pytest.approx(1)
    assert summary["rows_in"] == summary["rows_labelled"] == sum(found.values()) == len(lab)


def test_plain_colours_come_back(tmp_path: Path) -> None:
    colours = [(255, 0, 0), (0, 128, 0), (0, 0, 255), (250, 250, 250)]
    summary, code = palette(painted(tmp_path / "in.png", *colours), tmp_path / "out", 4)
    assert code == 0
    assert {s["name"] for s in summary["segments"]} == {"#ff0000", "#008000", "#0000ff", "#fafafa"}
    assert [s["share"] for s in summary["segments"]] == [0.25] * 4
    with Image.open(tmp_path / "in.png") as before, Image.open(tmp_path / "out/palette.png") as now:
        assert np.array_equal(np.asarray(before), np.asarray(now.convert("RGB")))
    files = summary["labels"]["uri"]
    table = pq.read_table(next(Path(files).rglob("*.parquet")))
    assert {"segment_id", "hex", "r", "g", "b", "share"} <= set(table.column_names)


def test_automatic_size(tmp_path: Path) -> None:
    summary, code = palette(CHINA, tmp_path / "china", "auto")
    assert code == 0 and 4 <= summary["model"]["k"] <= 12
    grey = tmp_path / "grey.png"
    with Image.open(CHINA) as image:
        image.convert("L").save(grey)
    summary, code = palette(grey, tmp_path / "grey", "auto")
    assert code == 0 and summary["model"]["k"] >= 2
    names = [s["name"] for s in summary["segments"]]
    assert all(n[1:3] == n[3:5] == n[5:7] for n in names), "grey stays grey"
    plain = painted(tmp_path / "one.png", (200, 30, 60))
    summary, code = palette(plain, tmp_path / "one", "auto")
    assert code == 0 and [s["name"] for s in summary["segments"]] == ["#c81e3c"]


def test_fewer_colours_than_asked(tmp_path: Path) -> None:
    summary, code = palette(painted(tmp_path / "one.png", (200, 30, 60)), tmp_path / "out", 8)
    assert code == 65 and "only 1" in summary["error"]["message"]
    assert not (tmp_path / "out" / "palette.png").exists()


def test_transparency_shows_as_on_white(tmp_path: Path) -> None:
    colours = [(10, 20, 30, 255), (10, 20, 30, 0)]
    image = painted(tmp_path / "in.png", *colours, mode="RGBA")
    summary, code = palette(image, tmp_path / "out", 2)
    assert code == 0
    assert sorted(s["name"] for s in summary["segments"]) == ["#0a141e", "#ffffff"]


def test_sixteen_bit_grey(tmp_path: Path) -> None:
    rows = np.repeat(np.array([0x1000, 0x8000, 0xF000], np.uint16), 100).reshape(30, 10)
    Image.fromarray(rows).save(tmp_path / "in.png")
    summary, code = palette(tmp_path / "in.png", tmp_path / "out", 3)
    assert code == 0
    assert sorted(s["name"] for s in summary["segments"]) == ["#101010", "#808080", "#f0f0f0"]


def test_what_is_no_image_and_what_is_absent(tmp_path: Path) -> None:
    (tmp_path / "in.png").write_text("hello")
    assert palette(tmp_path / "in.png", tmp_path / "out")[1] == 65
    assert palette(tmp_path / "none.png", tmp_path / "out")[1] == 66
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(CHINA.read_bytes()[:20_000])
    assert palette(cut, tmp_path / "out")[1] == 65


@pytest.mark.slow
def test_24_megapixels(tmp_path: Path) -> None:
    with Image.open(CHINA) as image:
        large = np.asarray(image.resize((6000, 4000), Image.Resampling.BICUBIC)).astype(np.int16)
    noise = np.random.default_rng(0).normal(0, 6, large.shape).astype(np.int16)
    path = tmp_path / "large.jpg"
    Image.fromarray(np.clip(large + noise, 0, 255).astype(np.uint8)).save(path, quality=95)
    before = sum(os.times()[2:4])
    summary, code = palette(path, tmp_path / "out")
    # Processor seconds: wall-clock time is another thing on a machine that does other work.
    assert code == 0 and sum(os.times()[2:4]) - before < 10
    assert summary["peak_rss_mb"] < 2048


def test_the_page_shows_the_image_its_reduction_and_every_colour(tmp_path: Path) -> None:
    image = painted(tmp_path / "flag.png", (200, 0, 0), (200, 0, 0), (0, 0, 200))
    summary, code = palette(image, tmp_path / "out", 2)
    assert code == 0, summary["error"]
    page = Path(summary["report"]).read_text()
    assert page.count("data:image/png;base64,") == 2
    assert page.index("#c80000") < page.index("#0000c8"), "most of the image comes first"
    assert "66.7" in page and "33.3" in page
    assert "300" in page and "pixels read" in page and "rows" not in page.split("</style>")[1]
