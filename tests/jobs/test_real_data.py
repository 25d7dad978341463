"""Real tables on three engines: equal labels, honest counts, fits as good as other libraries'.

Long tests are marked slow; tests of the shared data skip where it is absent.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable
from sklearn.cluster import KMeans
from sklearn.datasets import make_moons
from sklearn.metrics import adjusted_rand_score, roc_auc_score
from sklearn.mixture import GaussianMixture

import segpipe
from segpipe import pipeline
from segpipe.engines.open import open_engine
from segpipe.engines.protocol import Engine
from segpipe.stages.register import load_fitted

DATA = Path(segpipe.__file__).parents[2] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no development data in {DATA}")
slow = pytest.mark.slow
RETAIL = {
    "customer_id": "CustomerID",
    "ts": "InvoiceDate",
    "order_id": "InvoiceNo",
    "quantity": "Quantity",
    "price": "UnitPrice",
}
RULES = [{"name": "positive_price", "expr": "price > 0", "action": "reject"}]
LIBRARIES = {"local": "sklearn", "dask": "dask-ml", "spark": "mllib"}
SHAPES = {"s1": 15, "a1": 20}
Tree = dict[str, Any]
Run = tuple[dict[str, Any], pa.Table]


def run(engine: Engine, target: Path, tree: Tree, by: str | None = None) -> Run:
    """The summary and the labels, sorted."""
    config = {**tree, "target": {"uri": str(target), **tree.get("target", {})}}
    summary = dict(pipeline.execute(mode="run", config=config, engine=engine).summary)
    labels = DeltaTable(str(target)).to_pyarrow_table()
    assert summary["rows_used"] + summary["rows_rejected"] == summary["rows_in"]
    assert sum(summary["rejects"]["reasons"].values()) == summary["rows_rejected"]
    assert summary["rows_labelled"] == labels.num_rows
    return summary, labels.sort_by(by) if by else labels


def in_files(table: pa.Table, folder: Path, parts: int) -> Path:
    """The rows, shuffled, in so many files of unequal size."""
    folder.mkdir()
    rng = np.random.default_rng(parts)
    shuffled = table.take(pa.array(rng.permutation(table.num_rows)))
    cuts = np.sort(rng.choice(np.arange(1, table.num_rows), parts - 1, replace=False))
    ends = [0, *map(int, cuts), table.num_rows]
    for i in range(parts):
        part = shuffled.slice(ends[i], ends[i + 1] - ends[i])
        pq.write_table(part, folder / f"{i:02d}.parquet", row_group_size=50_000)
    return folder


def retail(uri: Path) -> Tree:
    return {
        "source": {"uri": str(uri), "columns": RETAIL},
        "contract": {"rules": RULES},
        "features": {"set": "rfm"},
    }


def points(folder: Path, name: str) -> Tree:
    x = np.loadtxt(DATA / f"clusters/sipu/{name}.data.gz")
    path = folder / f"{name}.parquet"
    pq.write_table(pa.table({"x": x[:, 0], "y": x[:, 1]}), path)
    return {"source": {"uri": str(path)}, "features": {"columns": ["x", "y"], "scale": "none"}}


def block(summary: dict[str, Any], labels: pa.Table) -> npt.NDArray[np.float32]:
    """The label table's rows in the model's scaled space, (d, n)."""
    scaler = load_fitted(summary["model_uri"]).scaler
    return np.asarray(scaler.transform(labels.combine_chunks().to_batches()[0]))


def assert_same_labels(mine: pa.Table, theirs: pa.Table, key: str) -> None:
    assert mine[key].equals(theirs[key])
    assert mine["segment_id"].equals(theirs["segment_id"])
    for name in ("outlier_score", "outlier_quantile", "segment_distance"):
        a, b = mine[name].to_numpy(), theirs[name].to_numpy()
        assert np.isfinite(a).all()
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-6)


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """The local engine's answer, once for each config."""

    @functools.cache
    def answer(name: str, make: Callable[[Path], Tree], by: str) -> Run:
        folder = tmp_path_factory.mktemp(name)
        with open_engine("local") as local:
            return run(local, folder / "out", make(folder), by)

    return answer


def retail_reference(k: int | str, folder: Path) -> Tree:
    del folder
    return {**retail(DATA / "customers/online_retail.parquet"), "fit": {"k": k}}


K_FIVE, K_AUTO = functools.partial(retail_reference, 5), functools.partial(retail_reference, "auto")


@needs_data
@pytest.mark.parametrize(
    ("parts", "k"),
    [(4, 5), *(pytest.param(p, k, marks=slow) for p in (1, 4, 13) for k in (5, "auto"))],
)
def test_retail_is_segmented_alike_everywhere(
    engine: Engine, reference: Callable[..., Run], tmp_path: Path, parts: int, k: int | str
) -> None:
    table = pq.read_table(DATA / "customers/online_retail.parquet")
    tree = retail(in_files(table, tmp_path / "in", parts)) | {"fit": {"k": k}}
    summary, labels = run(engine, tmp_path / "out", tree, "customer_id")
    known = pc.is_valid(table["CustomerID"])
    nameless = table.num_rows - pc.sum(known).as_py()
    free = pc.sum(pc.and_(known, pc.less_equal(table["UnitPrice"], 0))).as_py()
    assert summary["rows_in"] == table.num_rows
    assert summary["rejects"]["reasons"] == {"null_key": nameless, "positive_price": free}
    told, expected = reference(f"retail-{k}", K_FIVE if k == 5 else K_AUTO, "customer_id")
    assert_same_labels(labels, expected, "customer_id")
    assert summary["model"] == told["model"]
    assert summary["quality"] == told["quality"]
    assert [s["rows"] for s in summary["segments"]] == [s["rows"] for s in told["segments"]]


def connections(folder: Path) -> tuple[Path, npt.NDArray[np.bool_]]:
    """NSL-KDD's normal rows and attacks to 5 %, without the truth, which is returned."""
    table = pq.read_table(DATA / "network/nsl_kdd_train.parquet")
    attack = table["attack"].to_numpy(zero_copy_only=False) != "normal"
    rng = np.random.default_rng(0)
    normal = np.flatnonzero(~attack)
    drawn = rng.choice(np.flatnonzero(attack), round(len(normal) / 19), replace=False)
    rows = rng.permutation(np.concatenate([normal, drawn]))
    hidden = table.take(pa.array(rows)).drop_columns(["attack", "difficulty"])
    path = folder / "connections.parquet"
    numbered = hidden.append_column("row", pa.array(np.arange(len(rows))))
    pq.write_table(numbered, path, row_group_size=16_384)
    return path, attack[rows]


def network(k: int | str, folder: Path) -> Tree:
    uri = str(connections(folder)[0])
    return {
        "source": {"uri": uri},
        "contract": {"keys": ["row"]},
        "features": {"set": "connections"},
        "fit": {"k": k},
    }


NETWORK_EIGHT = functools.partial(network, 8)


def assert_finds_attacks(labels: pa.Table, attack: npt.NDArray[np.bool_]) -> None:
    score = labels["outlier_score"].to_numpy()
    for name in ("outlier_score", "outlier_quantile", "outlier_p", "segment_distance"):
        assert np.isfinite(labels[name].to_numpy()).all(), name
    assert roc_auc_score(attack, score) >= 0.96


@needs_data
def test_attacks_score_high_on_every_engine(
    engine: Engine, reference: Callable[..., Run], tmp_path: Path
) -> None:
    tree = network(8, tmp_path)
    attack = connections(tmp_path)[1]
    summary, labels = run(engine, tmp_path / "out", tree, "row")
    assert summary["rows_labelled"] == len(attack)
    assert_finds_attacks(labels, attack)
    assert_same_labels(labels, reference("network", NETWORK_EIGHT, "row")[1], "row")


@needs_data
@slow
def test_attacks_score_high_with_k_chosen(engine: Engine, tmp_path: Path) -> None:
    _, labels = run(engine, tmp_path / "out", network("auto", tmp_path), "row")
    assert_finds_attacks(labels, connections(tmp_path)[1])


@needs_data
@slow
@pytest.mark.parametrize(("name", "k"), [("retail", 5), *SHAPES.items()])
def test_libraries_reach_the_same_inertia(
    engine: Engine, tmp_path: Path, name: str, k: int
) -> None:
    def ours(library: str) -> tuple[float, npt.NDArray[np.float32]]:
        tree = retail_reference(k, tmp_path) if name == "retail" else points(tmp_path, name)
        tree |= {"fit": {"model": "kmeans", "k": k, "library": library, "n_init": 10}}
        summary, labels = run(engine, tmp_path / library, tree)
        assert summary["model"]["library"] == library
        x = block(summary, labels).astype(np.float64)
        centres = load_fitted(summary["model_uri"]).model.centres
        unit = load_fitted(summary["model_uri"]).scaler.unit
        errors = np.square(x.T - centres[labels["segment_id"].to_numpy()]).sum()
        assert summary["quality"]["inertia"] == pytest.approx(errors * unit**2, rel=1e-6)
        return float(errors), x

    native, x = ours("native")
    library, _ = ours(LIBRARIES[engine.name])
    best = KMeans(k, n_init=10, random_state=0).fit(x.T).inertia_
    assert native <= 1.01 * min(best, library)
    assert library <= 1.01 * native


@needs_data
@pytest.mark.parametrize(("name", "k"), [("s1", 15), pytest.param("a1", 20, marks=slow)])
def test_mixtures_are_as_likely_as_scikit_learns(tmp_path: Path, name: str, k: int) -> None:
    assert_likely(tmp_path, points(tmp_path, name), k, slack=0.02)


@needs_data
@slow
def test_mixtures_of_customers_are_as_likely_as_scikit_learns(tmp_path: Path) -> None:
    assert_likely(tmp_path, retail_reference(5, tmp_path), 5, slack=0.02)


def assert_likely(tmp_path: Path, tree: Tree, k: int, slack: float) -> None:
    tree = tree | {"fit": {"model": "gmm", "k": k, "covariance": "full"}}
    with open_engine("local") as local:
        summary, labels = run(local, tmp_path / "out", tree)
    x = block(summary, labels)
    ours = load_fitted(summary["model_uri"]).model.log_density(x).mean()
    rows = x.T.astype(np.float64)
    best = max(GaussianMixture(k, random_state=i).fit(rows).score(rows) for i in range(10))
    assert ours >= best - slack


@needs_data
@slow
@pytest.mark.spark
@pytest.mark.parametrize(("name", "k"), [("retail", 5), *SHAPES.items()])
def test_mixtures_are_as_likely_as_mllibs(tmp_path: Path, name: str, k: int) -> None:
    level = {}
    settings = {"memory": "2g", "spark": {"spark.master": "local[2]"}}
    with open_engine("spark", **settings) as spark:
        for library in ("native", "mllib"):
            tree = retail_reference(k, tmp_path) if name == "retail" else points(tmp_path, name)
            tree |= {"fit": {"model": "gmm", "k": k, "library": library, "covariance": "full"}}
            summary, labels = run(spark, tmp_path / library, tree)
            model = load_fitted(summary["model_uri"]).model
            level[library] = float(model.log_density(block(summary, labels)).mean())
    assert level["native"] >= level["mllib"] - 0.001


def moons(path: Path, rows: int, noise: float, seed: int) -> npt.NDArray[np.int64]:
    """Two moons and 2 % uniform background; returns the truth, -1 for the background."""
    few = rows // 50
    x, truth = make_moons(rows - few, noise=noise, random_state=seed)
    rng = np.random.default_rng(seed)
    x = np.concatenate([x, rng.uniform(x.min(axis=0) - 0.2, x.max(axis=0) + 0.2, (few, 2))])
    truth = np.concatenate([truth, np.full(few, -1)])
    order = rng.permutation(rows)
    x, truth = x[order], truth[order]
    pq.write_table(
        pa.table({"id": np.arange(rows), "x": x[:, 0], "y": x[:, 1]}), path, row_group_size=100_000
    )
    return truth


def assert_moons(engine: Engine, tmp_path: Path, rows: int, noise: float, seed: int) -> float:
    truth = moons(tmp_path / "in.parquet", rows, noise, seed)
    tree = {
        "source": {"uri": str(tmp_path / "in.parquet")},
        "contract": {"keys": ["id"]},
        "features": {"columns": ["x", "y"]},
    }
    summary, labels = run(engine, tmp_path / "out", tree, "id")
    assert summary["model"]["kind"] in ("hdbscan", "dbscan", "merged"), summary["model"]
    kept = truth >= 0
    assert adjusted_rand_score(truth[kept], labels["segment_id"].to_numpy()[kept]) >= 0.97
    return math.fsum(summary["seconds"].values())


@pytest.mark.parametrize(("noise", "seed"), [(0.05, 0), pytest.param(0.08, 5, marks=slow)])
def test_two_moons(tmp_path: Path, noise: float, seed: int) -> None:
    with open_engine("local") as local:
        assert_moons(local, tmp_path, 60_000, noise, seed)


@slow
def test_a_million_rows_of_two_moons(engine: Engine, tmp_path: Path) -> None:
    seconds = assert_moons(engine, tmp_path, 1_000_000, 0.06, 1)
    assert engine.name != "local" or seconds < 120
