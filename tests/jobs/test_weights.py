"""Row weights: what they steer, what they leave alone, and which of them are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from segpipe import pipeline
from segpipe.engines.local import LocalEngine
from segpipe.engines.protocol import Engine
from segpipe.stages.register import load_fitted

ROWS = 900
Truth = npt.NDArray[np.int64]


@pytest.fixture(scope="module")
def local() -> Any:
    with LocalEngine() as engine:
        yield engine


def blobs() -> dict[str, npt.NDArray[Any]]:
    """Three clusters; coordinates on a coarse grid, weights 1, 2 or 4."""
    rng = np.random.default_rng(8)
    truth = rng.integers(0, 3, ROWS)
    x = np.round(rng.normal(size=(ROWS, 2)) + np.array([[0, 0], [9, 0], [0, 9]])[truth], 3)
    return {"a": x[:, 0], "b": x[:, 1], "times": rng.choice([1.0, 2.0, 4.0], ROWS)}


def written(path: Path, table: dict[str, Any], pieces: int = 1) -> Path:
    path.mkdir()
    held = pa.table(table)
    for i, rows in enumerate(np.array_split(np.arange(held.num_rows), pieces)):
        pq.write_table(held.take(pa.array(rows)), path / f"{i}.parquet")
    return path


def run(
    engine: Engine,
    source: Path,
    out: Path,
    weight: str | None,
    model: str | None = None,
    read: str = "parquet",
    **sections: Any,
) -> dict[str, Any]:
    config = {
        "source": {"uri": str(source), "format": read},
        "features": {"columns": ["a", "b"], "weight": weight, "scale": "none"},
        "fit": {"model": "kmeans", "k": 3, "n_init": 3},
        "outliers": {"method": "mass"},
        "target": {"uri": str(out), "format": "parquet"},
    }
    for name, section in sections.items():
        config[name] = {**config.get(name, {}), **section}  # type: ignore[dict-item]
    mode = "run" if model is None else "score"
    return pipeline.execute(mode=mode, config=config, engine=engine, model=model).summary


def centres(summary: dict[str, Any]) -> dict[str, Any]:
    fitted = load_fitted(summary["model_uri"])
    return fitted.scaler.restore(fitted.model.centres)


def labels(out: Path) -> pa.Table:
    table = pads.dataset(out, format="parquet", partitioning="hive").to_table()
    held = [n for n in table.column_names if n not in ("run_id", "outlier_reasons")]
    return table.select(held).sort_by([("a", "ascending"), ("b", "ascending")])


@pytest.mark.parametrize("model", ["kmeans", "gmm"])
def test_a_weight_counts_as_so_many_equal_rows(
    local: LocalEngine, tmp_path: Path, model: str
) -> None:
    once = blobs()
    often = {n: np.repeat(v, once["times"].astype(int)) for n, v in once.items()}
    fit = {"model": model, "covariance": "diag"}
    kinds = {"fit": fit}
    weighed = run(local, written(tmp_path / "o", once), tmp_path / "ot", "times", **kinds)
    repeated = run(local, written(tmp_path / "r", often), tmp_path / "rt", None, **kinds)
    for name, values in centres(weighed).items():
        # a share of the weight is no multiple of the grid that the sample's sums are on
        np.testing.assert_allclose(values, centres(repeated)[name], atol=1e-6)
    one, two = weighed["quality"], repeated["quality"]
    assert one["inertia"] == pytest.approx(two["inertia"], rel=1e-9)
    shares = [s["weight_share"] for s in weighed["segments"]]
    assert shares == pytest.approx([s["share"] for s in repeated["segments"]], rel=1e-12)
    assert sum(s["rows"] for s in weighed["segments"]) == ROWS
    assert "weight_share" not in repeated["segments"][0]


@pytest.mark.parametrize("each", [1.0, 0.001])
def test_equal_weights_change_nothing_but_the_unit_of_inertia(
    local: LocalEngine, tmp_path: Path, each: float
) -> None:
    source = written(tmp_path / "in", {**blobs(), "same": np.full(ROWS, each)})
    plain = run(local, source, tmp_path / "plain", None)
    same = run(local, source, tmp_path / "same", "same")
    drop = ["model_id"]
    assert labels(tmp_path / "same").drop(drop) == labels(tmp_path / "plain").drop(drop)
    assert same["quality"]["inertia"] == plain["quality"]["inertia"] * each
    assert same["quality"]["silhouette"] == plain["quality"]["silhouette"]


def test_two_each_is_every_row_twice(local: LocalEngine, tmp_path: Path) -> None:
    once = {**blobs(), "two": np.full(ROWS, 2.0)}
    twice = {n: np.repeat(v, 2) for n, v in once.items()}
    weighed = run(local, written(tmp_path / "o", once), tmp_path / "ot", "two")
    repeated = run(local, written(tmp_path / "t", twice), tmp_path / "tt", None)
    for name, values in centres(weighed).items():
        assert values.tolist() == centres(repeated)[name].tolist()
    assert weighed["quality"]["inertia"] == repeated["quality"]["inertia"]


def test_the_unit_of_the_weights_decides_nothing(local: LocalEngine, tmp_path: Path) -> None:
    table = blobs()
    source = written(tmp_path / "in", {**table, "small": table["times"] * 2.0**-40})
    by = {n: run(local, source, tmp_path / n, n, fit={"k": "auto"}) for n in ("times", "small")}
    drop = ["model_id"]
    assert labels(tmp_path / "small").drop(drop) == labels(tmp_path / "times").drop(drop)
    assert by["small"]["quality"]["inertia"] == by["times"]["quality"]["inertia"] * 2.0**-40
    assert by["times"]["model"]["k"] == 3


def test_rows_without_weight_are_labelled_but_steer_nothing(
    local: LocalEngine, tmp_path: Path
) -> None:
    table = blobs()
    far = {"a": np.full(300, 40.0), "b": np.linspace(40, 45, 300), "times": np.zeros(300)}
    both = {n: np.concatenate([table[n], far[n]]) for n in table}
    alone = run(local, written(tmp_path / "alone", table), tmp_path / "at", "times")
    joined = run(local, written(tmp_path / "joined", both), tmp_path / "jt", "times")
    for name, values in centres(alone).items():
        np.testing.assert_allclose(centres(joined)[name], values, atol=5e-6)
    assert joined["rows_labelled"] == ROWS + 300
    assert joined["quality"]["inertia"] == pytest.approx(alone["quality"]["inertia"], rel=1e-6)


def test_bad_weights_are_rejected_with_their_reason(local: LocalEngine, tmp_path: Path) -> None:
    table = blobs()
    text = [str(v) for v in table["times"]]
    text[:5] = ["-1", "nan", "", "heavy", "inf"]
    source = tmp_path / "in.csv"
    rows = zip(table["a"], table["b"], text, strict=True)
    source.write_text("a,b,times\n" + "".join(f"{a},{b},{t}\n" for a, b, t in rows))
    summary = run(local, source, tmp_path / "out", "times", read="csv")
    assert summary["rejects"]["reasons"] == {"bad_weight": 5}
    assert summary["rows_used"] == ROWS - 5
    assert not any("times" in text for text in summary["warnings"])


@pytest.mark.parametrize(
    ("weights", "code", "said"),
    [
        (np.zeros(ROWS), 65, "all 900 weights in 'times' are zero"),
        (np.full(ROWS, -1.0), 65, "bad_weight 900"),
        (["x"] * ROWS, 65, "bad_weight 900"),
        ([[1.0]] * ROWS, 65, "'times' is list<.*: double>, asked is weight"),
    ],
)
def test_useless_weights_are_one_error(
    local: LocalEngine, tmp_path: Path, weights: Any, code: int, said: str
) -> None:
    source = written(tmp_path / "in", {**blobs(), "times": pa.array(weights)})
    with pytest.raises(pipeline.RunFailed, match=said) as failed:
        run(local, source, tmp_path / "out", "times")
    assert failed.value.code == code


@pytest.mark.parametrize(
    ("sections", "code", "said"),
    [
        ({"features": {"weight": "time"}}, 65, "Did you mean 'times'"),
        ({"features": {"set": "rfm"}}, 78, "one row per customer"),
        ({"features": {"columns": ["a", "times"]}}, 78, "named in features.columns too"),
        ({"fit": {"library": "sklearn"}}, 78, "needs fit.library native"),
    ],
)
def test_where_a_weight_has_no_meaning_it_is_refused(
    local: LocalEngine, tmp_path: Path, sections: Any, code: int, said: str
) -> None:
    source = written(tmp_path / "in", blobs())
    with pytest.raises(pipeline.RunFailed) as failed:
        run(local, source, tmp_path / "out", "times", **sections)
    error = failed.value.summary["error"]
    assert said in f"{error['message']} {error['hint']}" and error["code"] == code


def test_engines_and_pieces_weigh_alike(engine: Engine, local: LocalEngine, tmp_path: Path) -> None:
    table = blobs()
    table["times"] = np.random.default_rng(1).lognormal(size=ROWS)
    fit = {"sample_rows": 200}
    expected = run(local, written(tmp_path / "one", table), tmp_path / "ot", "times", fit=fit)
    pieces = written(tmp_path / "five", table, 5)
    found = run(engine, pieces, tmp_path / "ft", "times", fit=fit)
    drop = ["model_id"]
    assert labels(tmp_path / "ft").drop(drop) == labels(tmp_path / "ot").drop(drop)
    assert found["quality"] == expected["quality"]
    assert found["segments"] == expected["segments"]
    scored = run(engine, pieces, tmp_path / "st", "times", found["model_uri"], fit=fit)
    assert scored["segments"] == found["segments"]
    assert scored["quality"]["inertia"] == pytest.approx(found["quality"]["inertia"], rel=1e-12)
