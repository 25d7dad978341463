import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from segpipe.datasets import KINDS, make
from segpipe.datasets import chunk as chunks
from segpipe.datasets import make as make_module
from segpipe.datasets.customers import ARCHETYPES, CATEGORIES
from segpipe.errors import ConfigError


def read(uri):
    """What a reader that skips leading underscores and dots sees."""
    return pa.concat_tables(pq.read_table(path) for path in sorted(uri.glob("part-*.parquet")))


@pytest.fixture
def small_chunks(monkeypatch):
    """Several chunks without millions of rows."""
    for module in (chunks, make_module.__globals__["customers"]):
        monkeypatch.setattr(module, "CHUNK_ROWS", 1000)
    monkeypatch.setitem(make_module.__globals__, "CHUNK_ROWS", 1000)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("rows", [1, 2, 5, 777])
def test_exactly_the_rows_that_were_asked_for(kind, rows, tmp_path):
    made = make(kind, rows, str(tmp_path / "t.parquet"), 4)
    assert made.rows == rows and pq.read_metadata(tmp_path / "t.parquet").num_rows == rows
    assert sorted(p.name for p in tmp_path.iterdir()) == ["_t_truth.parquet", "t.parquet"]
    assert made.truth == str(tmp_path / "_t_truth.parquet") and "synthetic" in str(made)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_table(kind, tmp_path):
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        make(kind, 500, str(tmp_path / name), seed)
    a, b, c = (read(tmp_path / name) for name in "abc")
    assert a.equals(b) and not a.equals(c)


@pytest.mark.parametrize("kind", KINDS)
def test_many_chunks_are_a_folder_with_one_truth(kind, tmp_path, small_chunks):
    made = make(kind, 3500, str(tmp_path / "t"), 1)
    assert read(tmp_path / "t").num_rows == 3500
    assert made.truth == str(tmp_path / "t" / "_truth.parquet")
    assert not list(tmp_path.glob(".*"))


def test_customers_of_many_chunks_lie_by_month_and_keep_their_archetype(tmp_path, small_chunks):
    make("customers", 3500, str(tmp_path / "t"), 1)
    for path in sorted((tmp_path / "t").glob("part-*.parquet")):
        months = {str(ts)[:7] for ts in pq.read_table(path)["ts"].to_pylist()}
        assert months == {path.stem.removeprefix("part-")}
    truth = pq.read_table(tmp_path / "t" / "_truth.parquet")
    ids = truth["customer_id"].to_pylist()
    assert len(ids) == len(set(ids))
    assert set(ids) == set(read(tmp_path / "t")["customer_id"].to_pylist())


def test_customers_look_like_their_archetypes(tmp_path):
    make("customers", 40_000, str(tmp_path / "t"), 0)
    table, truth = read(tmp_path / "t"), pq.read_table(tmp_path / "t" / "_truth.parquet")
    assert table.schema.names == [
        *("customer_id", "order_id", "ts", "quantity", "price", "category", "country"),
    ]
    assert str(table.schema.field("ts").type) == "timestamp[us]"
    assert set(table["category"].to_pylist()) == set(CATEGORIES)
    assert min(table["price"].to_pylist()) > 0 and 0 not in table["quantity"].to_pylist()
    counts = truth["archetype"].value_counts().to_pylist()
    share = {c["values"]: c["counts"] / truth.num_rows for c in counts}
    for archetype in ARCHETYPES:
        assert share[archetype.name] == pytest.approx(archetype.share, abs=0.04)
    both = table.join(truth, "customer_id").group_by(["archetype", "customer_id"])
    per = both.aggregate([("ts", "max"), ("order_id", "count_distinct")]).to_pandas()
    last = per.groupby("archetype")["ts_max"].median()
    orders = per.groupby("archetype")["order_id_count_distinct"].median()
    assert last["lapsed"] < last["regular"] and orders["one_time"] == 1 < orders["loyal"]


def test_connections_hold_two_per_cent_of_attacks_and_no_label(tmp_path):
    make("connections", 50_000, str(tmp_path / "n.parquet"), 0)
    table = pq.read_table(tmp_path / "n.parquet")
    truth = pq.read_table(tmp_path / "_n_truth.parquet")
    assert "attack" not in table.schema.names
    assert table["uid"].to_pylist() == truth["uid"].to_pylist()
    assert len(set(table["uid"].to_pylist())) == 50_000
    found = {c["values"]: c["counts"] for c in truth["attack"].value_counts().to_pylist()}
    assert found == {
        "normal": 49_000, "scan": 400, "flood": 400, "exfiltration": 50, "beaconing": 150,
    }  # fmt: skip
    times = table["ts"].cast(pa.int64()).to_numpy()
    assert (np.diff(times) >= 0).all()
    assert times.max() - times.min() < 86_400_000_000
    for name in ("duration", "src_bytes", "dst_bytes", "src_packets", "dst_packets"):
        values = table[name].to_numpy()
        assert (values >= 0).all() and np.isfinite(values).all()
    dead = np.isin(table["flag"].to_numpy(zero_copy_only=False), ["S0", "REJ"])
    assert table["dst_bytes"].to_numpy()[dead].max() == 0
    beacons = table.filter(pa.compute.equal(truth["attack"], "beaconing"))
    assert len(set(beacons["dst"].to_pylist())) == 1 or len(beacons) > 288


def test_blobs_are_what_their_truth_says(tmp_path):
    make("blobs", 20_000, str(tmp_path / "b"), 3)
    table, truth = read(tmp_path / "b"), pq.read_table(tmp_path / "b" / "_truth.parquet")
    x = np.stack([table[f"f{j}"].to_numpy() for j in range(16)], axis=1)
    assert x.dtype == np.float32 and table.num_columns == 16
    cluster = truth["cluster"].to_numpy()
    assert sorted(set(cluster.tolist())) == list(range(8))
    centres = np.stack([x[cluster == c].mean(axis=0) for c in range(8)])
    spread = np.concatenate([x[cluster == c] - centres[c] for c in range(8)])
    assert spread.std() == pytest.approx(1.0, abs=0.01)
    nearest = ((x[:, None, :] - centres[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert (nearest == cluster).mean() > 0.99
    assert set(truth["file"].to_pylist()) == {"part-00000.parquet"}
    assert truth["row"].to_pylist() == list(range(20_000))


def test_nothing_is_overwritten_and_a_torn_attempt_is_cleared(tmp_path):
    (tmp_path / ".t.making").mkdir()
    (tmp_path / ".t.making" / "part-00000.parquet").write_bytes(b"half")
    make("blobs", 10, str(tmp_path / "t"), 0)
    assert read(tmp_path / "t").num_rows == 10 and not (tmp_path / ".t.making").exists()
    with pytest.raises(ConfigError, match="exists"):
        make("blobs", 10, str(tmp_path / "t"), 0)


@pytest.mark.parametrize(("kind", "rows"), [("people", 5), ("blobs", 0)])
def test_what_cannot_be_made_is_told(kind, rows, tmp_path):
    with pytest.raises(ConfigError):
        make(kind, rows, str(tmp_path / "t"))
    assert list(tmp_path.iterdir()) == []
