"""Feature sets on the tables of ``../shared/data`` (never copied here)."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn.ensemble import IsolationForest
from sklearn.metrics import roc_auc_score

from segpipe.engines.local import LocalEngine
from segpipe.features.plan import Request
from segpipe.features.sets import SETS
from segpipe.fit.describe import describe
from segpipe.lake.binding import compile_contract
from segpipe.models.scaler import fit_scaler

DATA = Path(__file__).parents[4] / "shared" / "data"


def source(name):
    path = DATA / name
    if not path.exists():
        pytest.skip(f"development data {name} is not beside the repository")
    return path


def build(engine, name, table, request, mapping=None):
    plan = SETS[name].plan(table.schema, mapping or {}, request, {})
    contract = compile_contract(table.schema, plan.columns, plan.mapping, request.keys)
    rows = engine.from_batches(table.combine_chunks().to_batches(), table.schema)
    rows = engine.map_batches(rows, contract.accept, contract.schema)
    return SETS[name].build(engine, rows, contract.schema, plan)


def test_online_retail_agrees_with_polars():
    table = pq.read_table(source("customers/online_retail.parquet"))
    end = int(datetime(2011, 12, 10, tzinfo=UTC).timestamp()) * 1_000_000
    mapping = {
        "customer_id": "CustomerID",
        "ts": "InvoiceDate",
        "order_id": "InvoiceNo",
        "quantity": "Quantity",
        "price": "UnitPrice",
    }
    with LocalEngine() as engine:
        built = build(engine, "rfm", table, Request(("customer_id",), as_of_end_us=end), mapping)
        found = pa.Table.from_batches(engine.fold(built.frame, list, list.__add__))
    ours = pl.DataFrame(found).sort("customer_id")
    lines = pl.DataFrame(table).drop_nulls("CustomerID")
    amount = pl.col("Quantity") * pl.col("UnitPrice")
    bought = lines.filter(amount >= 0).group_by("CustomerID")
    theirs = (
        lines.group_by("CustomerID")
        .agg(amount.sum().alias("net"), (amount < 0).mean().alias("returned"))
        .join(
            bought.agg(
                pl.col("InvoiceNo").n_unique().alias("orders"),
                pl.col("InvoiceDate").max().alias("t"),
            ),
            on="CustomerID",
            how="left",
        )
        .sort("CustomerID")
    )
    assert ours["customer_id"].to_list() == theirs["CustomerID"].cast(pl.Int64).to_list()
    assert ours["frequency"].to_list() == theirs["orders"].fill_null(0).to_list()
    assert ours["monetary_total"].to_numpy() == pytest.approx(theirs["net"].to_numpy(), abs=1e-6)
    assert ours["return_rate"].to_numpy() == pytest.approx(theirs["returned"].to_numpy())
    age = (end - theirs["t"].dt.timestamp("us").to_numpy()) / 86_400e6
    buyers = theirs["orders"].is_not_null().to_numpy()
    assert ours["recency_days"].to_numpy()[buyers] == pytest.approx(age[buyers])
    assert not ours.select(pl.all().exclude("customer_id").is_nan().any()).row(0).count(True)


def test_nsl_kdd_attacks_stand_out_at_five_percent():
    table = pq.read_table(source("network/nsl_kdd_train.parquet"))
    attack = np.array(table["attack"].to_pylist()) != "normal"
    normal = np.flatnonzero(~attack)
    rng = np.random.default_rng(0)
    drawn = rng.choice(np.flatnonzero(attack), len(normal) * 5 // 95, replace=False)
    rows = rng.permutation(np.concatenate([normal, drawn]))
    truth = attack[rows]
    with LocalEngine() as engine:
        built = build(engine, "connections", table.take(pa.array(rows)), Request())
        found = describe(engine, built.frame, built.numeric, built.categorical, (), 50_000, 0)
        scaler = fit_scaler(found, "auto", "surprisal", near_copies=True)
        batches = engine.fold(built.frame, list, list.__add__)
    assert not {"attack", "difficulty"} & set(scaler.names)
    x = np.concatenate([scaler.transform(batch) for batch in batches], axis=1).T
    assert np.isfinite(x).all()
    forest = IsolationForest(random_state=0).fit(x)
    assert roc_auc_score(truth, -forest.score_samples(x)) >= 0.97
