"""Scaling: hand-computed constants, the grid, round trips, row independence."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from segpipe.errors import DataError
from segpipe.fit.describe import describe
from segpipe.models import persist
from segpipe.models.scaler import MISMATCH, Input, Scaler, fit_scaler
from segpipe.models.weighted import moments, quantiles


class Loop:
    def fold(self, frame, step, merge):
        return merge(step(iter(frame)), step(iter([])))


def described(columns, categorical=(), sample_rows=100_000):
    batch = pa.record_batch(columns)
    numeric = [n for n in batch.schema.names if n not in categorical]
    return batch, describe(Loop(), [batch], numeric, list(categorical), [], sample_rows, 0)


def test_weighted_moments_and_quantiles_by_hand():
    x, w = np.array([0.0, 10.0]), np.array([3.0, 1.0])
    found = moments(x, w)
    assert found.mean == 2.5 and found.std == pytest.approx(4.330127)
    assert found.skew == pytest.approx(1.1547005)  # (1 - 2p) / sqrt(p q), p = 1/4
    assert quantiles(np.array([3.0, 1.0, 2.0]), np.ones(3), (0.25, 0.5, 0.75)) == (1, 2, 3)
    assert quantiles(x, w, (0.5, 0.75, 0.76)) == (0, 0, 10)


def test_standard_scaling_by_hand():
    batch, found = described({"x": [1.0, 3.0, 5.0, 7.0]})
    scaler = fit_scaler(found, "standard")
    item = scaler.inputs[0]
    assert (item.centre, item.scale, item.usual) == (4.0, 2.236068, 3.0)
    block = scaler.transform(batch)
    assert block.shape == (1, 4) and block.dtype == np.float32 and block.flags.c_contiguous
    assert block[0] == pytest.approx([-1.3416407, -0.4472136, 0.4472136, 1.3416407], abs=2**-20)


def test_every_cell_lies_on_the_grid_and_within_ten():
    rng = np.random.default_rng(0)
    columns = {"x": rng.standard_cauchy(5000), "y": rng.lognormal(0, 2, 5000)}
    batch, found = described(columns | {"c": ["a", "b"] * 2500}, ["c"])
    for scale in ("auto", "standard", "robust", "none"):
        block = fit_scaler(found, scale).transform(batch).astype(np.float64)
        assert np.abs(block).max() <= 10
        assert (block * 2**20 == np.rint(block * 2**20)).all()


def test_missing_and_infinite_cells_take_the_median():
    batch, found = described({"x": [1.0, 2.0, 9.0, None, float("nan"), float("-inf")]})
    scaler = fit_scaler(found)
    assert scaler.inputs[0].missing == 3
    block = scaler.transform(batch)[0]
    assert block[3] == block[4] == block[5] == block[1]


def test_skewed_amounts_are_logged_and_come_back_in_original_units():
    values = np.concatenate([np.arange(1.0, 100.0), [50_000.0]])
    batch, found = described({"amount": values, "age": np.linspace(20, 60, 100)})
    scaler = fit_scaler(found)
    amount, age = scaler.inputs
    assert amount.log and amount.offset == 50.0 and not age.log
    back = scaler.restore(scaler.transform(batch).T.astype(np.float64))
    inside = np.abs(scaler.transform(batch)[0]) < 10
    assert back["amount"][inside] == pytest.approx(values[inside], rel=1e-4, abs=1e-3)
    assert back["age"] == pytest.approx(np.linspace(20, 60, 100), rel=1e-5)


def test_a_value_below_the_fitted_range_stays_unusual_after_the_log():
    _, found = described({"x": np.concatenate([np.arange(1.0, 100.0), [50_000.0]])})
    block = fit_scaler(found).transform(pa.record_batch({"x": [-1000.0, 1.0]}))
    assert block[0, 0] < block[0, 1] - 2


def test_a_row_scales_alike_in_every_batch():
    rng = np.random.default_rng(1)
    batch, found = described(
        {"x": rng.lognormal(0, 3, 9000), "c": rng.choice(["a", "b"], 9000)}, ["c"]
    )
    scaler = fit_scaler(found, encoding="surprisal")
    whole = scaler.transform(batch)
    for start, size in ((0, 1), (17, 63), (5, 3000)):
        assert (scaler.transform(batch.slice(start, size)) == whole[:, start : start + size]).all()


def test_one_hot_levels_cost_the_stated_mismatch():
    batch, found = described({"c": ["a", "a", "b", "c"], "x": [1.0, 2.0, 3.0, 4.0]}, ["c"])
    scaler = fit_scaler(found)
    assert scaler.names == ("x", "c=a", "c=b", "c=c")
    assert scaler.source.tolist() == [0, 1, 1, 1] and scaler.width == 4
    block = scaler.transform(batch).astype(np.float64)
    assert ((block[1:, 0] - block[1:, 2]) ** 2).sum() == pytest.approx(MISMATCH, rel=1e-5)
    assert scaler.restore(block.T)["c"].tolist() == ["a", "a", "b", "c"]
    unseen = scaler.transform(pa.record_batch({"c": ["new", None], "x": [1.0, 1.0]}))
    assert not unseen[1:].any()


def test_more_than_thirty_levels_share_the_last_column():
    levels = [f"l{i:02d}" for i in range(35) for _ in range(40 - i)]
    batch, found = described({"c": levels, "x": np.arange(len(levels))}, ["c"])
    scaler = fit_scaler(found)
    assert scaler.width == 1 + 31 and scaler.names[-1] == "c=(other)"
    assert scaler.transform(batch)[-1].astype(bool).sum() == sum(40 - i for i in range(30, 35))
    assert scaler.inputs[1].usual == "l00"


def test_surprisal_by_hand():
    batch, found = described({"c": ["tcp"] * 6 + ["udp"] * 2}, ["c"])
    scaler = fit_scaler(found, "none", "surprisal")
    assert scaler.inputs[0].surprisal == pytest.approx(
        [0.28768207, 1.3862944, 2.7725887], abs=1e-7
    )  # -log 6/8, -log 2/8, -log .5/8
    new = pa.record_batch({"c": ["tcp", "icmp"]})
    assert scaler.transform(new)[0] * scaler.unit == pytest.approx([0.28768, 2.77259], abs=1e-4)
    assert scaler.restore(scaler.transform(batch).T)["c"].tolist() == ["tcp"] * 6 + ["udp"] * 2


def test_scale_none_keeps_distances_in_original_units():
    batch, found = described({"x": [0.0, 3000.0, 1000.0], "y": [0.0, 4.0, 1.0]})
    scaler = fit_scaler(found, "none")
    block = scaler.transform(batch).astype(np.float64) * scaler.unit
    assert np.hypot(*(block[:, 1] - block[:, 0])) == pytest.approx(np.hypot(3000, 4), rel=1e-5)
    assert np.log2(scaler.unit) % 1 == 0 and np.abs(block / scaler.unit).max() <= 10
    assert scaler.restore(block.T / scaler.unit)["x"] == pytest.approx([0, 3000, 1000], abs=0.01)


def test_useless_columns_are_dropped_with_reasons():
    _, found = described(
        {
            "x": [1.0, 2.0, 4.0],
            "same": [7, 7, 7],
            "void": pa.nulls(3, pa.float64()),
            "c": ["only"] * 3,
        },
        ["c"],
    )
    scaler = fit_scaler(found)
    assert scaler.names == ("x",)
    assert scaler.dropped == (
        ("same", "constant 7"),
        ("void", "no finite value"),
        ("c", "constant 'only'"),
    )
    with pytest.raises(DataError, match="same"):
        fit_scaler(found, required=["same"])


def test_no_column_left_is_a_data_error():
    _, found = described({"same": [7, 7, 7]})
    with pytest.raises(DataError, match="no column is left"):
        fit_scaler(found)


def test_near_copies_are_dropped_where_asked():
    rng = np.random.default_rng(2)
    x = rng.normal(size=500)
    _, found = described({"x": x, "copy": -2 * x + 1e-3 * rng.normal(size=500), "y": x[::-1]})
    assert fit_scaler(found).width == 3
    scaler = fit_scaler(found, near_copies=True)
    assert scaler.names == ("x", "y") and scaler.dropped[0][0] == "copy"


def test_constant_in_the_sample_but_not_in_the_table_is_scaled_by_its_range():
    x = np.zeros(4000)
    x[1234] = 8.0
    batch = pa.record_batch({"id": np.arange(4000), "x": x, "y": np.arange(4000) % 7})
    for seed in range(3):
        found = describe(Loop(), [batch], ["x", "y"], [], ["id"], 20, seed)
        item = fit_scaler(found).inputs[0]
        assert (item.centre, item.scale) == (0.0, 8.0)


def test_a_scaler_survives_being_saved(tmp_path):
    batch, found = described({"x": [1.0, 2.0, 5.0], "c": ["a", "b", "b"]}, ["c"])
    for encoding in ("onehot", "surprisal"):
        scaler = fit_scaler(found, "auto", encoding)
        persist.save(scaler, str(tmp_path / encoding))
        again = persist.load(str(tmp_path / encoding))
        assert again.names == scaler.names
        assert again.transform(batch).tobytes() == scaler.transform(batch).tobytes()


def test_a_column_of_too_many_levels_takes_its_counts_from_the_sample():
    _, found = described({"c": ["a", "b", "b"], "x": [1.0, 2.0, 3.0]}, ["c"])
    lost = replace(found.categories[0], levels=(), counts=np.empty(0, np.int64), overflow=True)
    scaler = fit_scaler(replace(found, categories=(lost,)), encoding="surprisal")
    assert scaler.inputs[1].levels == ("b", "a")


def test_net_amounts_with_a_few_negatives_are_logged_too():
    values = np.concatenate([[-50.0, -2.0], np.arange(1.0, 100.0), [50_000.0]])
    batch, found = described({"net": values})
    scaler = fit_scaler(found)
    assert scaler.inputs[0].log
    back = scaler.restore(scaler.transform(batch).T.astype(float))["net"]
    assert back[:100] == pytest.approx(values[:100], rel=1e-4, abs=1e-3)


def test_a_scaler_is_plain_data():
    item = Input("x", "number", 1.0, 0, centre=2.0, scale=4.0)
    assert Scaler((item,)).transform(pa.record_batch({"x": [4.0]})).tolist() == [[0.5]]


@pytest.mark.parametrize("power", [1023, 600, -600, -1070])
def test_moments_of_the_largest_and_smallest_floats_are_those_of_plain_ones(power):
    x = np.array([0.0, 1.0, 0.0, -1.0, 0.5, 1.5])
    w = np.array([1.0, 2.0, 1.0, 1.0, 1.0, 0.5])
    plain, far = moments(x, w), moments(x * 2.0**power, w)
    assert (far.skew, far.kurtosis) == (plain.skew, plain.kurtosis)
    step = 2.0**-1074  # of the smallest floats
    assert far.std == pytest.approx(plain.std * 2.0**power, rel=1e-12, abs=step)
    assert far.mean == pytest.approx(plain.mean * 2.0**power, rel=1e-12, abs=step)


@pytest.mark.parametrize("power", [1019, -1070])
def test_blocks_of_the_largest_and_smallest_floats_are_finite(power):
    x = np.linspace(-8.0, 8.0, 33) * 2.0**power
    batch, found = described({"x": x})
    block = fit_scaler(found).transform(batch)
    assert np.isfinite(block).all() and (np.diff(block[0]) >= 0).all()
