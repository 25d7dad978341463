"""The describe fold: exact counts, one sample whatever the partitioning, heavy rows kept."""

import itertools
import math

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import DataError
from segpipe.fit.describe import conclude, describe
from segpipe.fit.look import LEVELS, _merge_levels, look_for, merge


class Loop:
    """Folds over lists of batches; one list per partition."""

    def fold(self, frame, step, merge):
        state = None
        for part in frame:
            found = step(iter(part))
            state = found if state is None else merge(state, found)
        return state


def split(table, cuts):
    bounds = [0, *sorted(cuts), table.num_rows]
    return [table.slice(a, b - a).to_batches() for a, b in itertools.pairwise(bounds)]


def same(a, b):
    assert a.rows == b.rows and a.numbers == b.numbers
    assert a.sample.batch.equals(b.sample.batch)
    assert a.sample.weight.tolist() == b.sample.weight.tolist()
    assert a.sample.count.tolist() == b.sample.count.tolist()
    for x, y in zip(a.categories, b.categories, strict=True):
        assert (x.name, x.missing, x.levels, x.overflow) == (
            y.name,
            y.missing,
            y.levels,
            y.overflow,
        )
        assert x.counts.tolist() == y.counts.tolist()


def test_counts_and_ranges_by_hand():
    batch = pa.record_batch(
        {
            "x": [1.0, float("nan"), None, float("inf"), -3.0],
            "i": pa.array([4, 4, None, 4, 4], pa.int64()),
            "c": ["b", "a", None, "b", "b"],
        }
    )
    found = describe(Loop(), [[batch]], ["x", "i"], ["c"], [], 10, 0)
    x, i = found.numbers
    assert (found.rows, x.missing, x.low, x.high) == (5, 3, -3.0, 1.0)
    assert (i.missing, i.low, i.high) == (1, 4.0, 4.0)
    assert found.categories[0].levels == ("b", "(missing)", "a")
    assert found.categories[0].counts.tolist() == [3, 1, 1]
    assert found.categories[0].missing == 1


def test_an_all_missing_column_has_no_range():
    found = describe(
        Loop(),
        [[pa.record_batch({"x": pa.nulls(3), "y": [1.0, 2.0, 3.0]})]],
        ["x", "y"],
        [],
        [],
        9,
        0,
    )
    assert math.isnan(found.numbers[0].low) and found.numbers[0].missing == 3


def test_identical_rows_are_one_unit_with_their_count():
    batch = pa.record_batch({"x": [1.0, 1.0, 2.0, 1.0]})
    sample = describe(Loop(), [[batch]], ["x"], [], [], 10, 0).sample
    assert dict(zip(sample.batch["x"].to_pylist(), sample.count, strict=True)) == {1.0: 3, 2.0: 1}
    assert sample.weight.tolist() == sample.count.tolist()


def test_keyed_rows_stay_apart_and_share_the_weight():
    table = pa.table({"id": list(range(100)), "x": [1.0] * 100})
    sample = describe(Loop(), split(table, []), ["x"], [], ["id"], 40, 0).sample
    assert sample.batch.num_rows == 40
    assert sample.count.tolist() == [1.0] * 40 and sample.weight.tolist() == [2.5] * 40


@settings(max_examples=25, deadline=None)
@given(
    st.integers(0, 2**32),
    st.lists(st.integers(0, 3000), max_size=6),
    st.booleans(),
    st.sampled_from([7, 50, 5000]),
)
def test_no_split_and_no_order_changes_the_description(seed, cuts, keyed, sample_rows):
    rng = np.random.default_rng(seed)
    table = pa.table(
        {
            "id": pa.array(np.arange(3000)),
            "x": pa.array(rng.integers(0, 40, 3000).astype(float)),
            "c": pa.array(rng.choice(["a", "b", "ccc"], 3000)),
        }
    )
    # One row of the table repeated over a third of it.
    x, c = table["x"].to_numpy().copy(), table["c"].to_numpy(zero_copy_only=False).copy()
    x[::3], c[::3] = 3.5, "a"
    table = pa.table({"id": table["id"], "x": x, "c": c})
    keys = ["id"] if keyed else []
    whole = describe(Loop(), split(table, []), ["x"], ["c"], keys, sample_rows, 5)
    mixed = table.take(pa.array(rng.permutation(3000)))
    same(whole, describe(Loop(), split(mixed, cuts), ["x"], ["c"], keys, sample_rows, 5))
    assert whole.sample.weight.sum() == pytest.approx(3000)
    assert whole.sample.batch.num_rows <= sample_rows


def test_a_row_that_is_two_fifths_of_the_table_is_always_represented_exactly():
    rng = np.random.default_rng(0)
    x = rng.normal(size=20_000)
    x[:8_000], x[8_000:8_100] = 77.0, 78.0  # 40 %; and .5 %, above 1/256
    table = pa.table({"x": rng.permutation(x)})
    for seed in range(8):
        sample = describe(Loop(), split(table, [9000]), ["x"], [], [], 1000, seed).sample
        weight = dict(zip(sample.batch["x"].to_pylist(), sample.weight, strict=True))
        assert weight[77.0] == 8000 and weight[78.0] == 100
        assert sample.batch.num_rows == 1000
        assert sample.weight.sum() == pytest.approx(20_000)


def test_level_overflow_does_not_depend_on_the_order_of_merging():
    big = {str(i): 1 for i in range(LEVELS)}
    assert _merge_levels(big, {"0": 5})["0"] == 6
    assert _merge_levels(big, {"x": 1}) is None
    assert _merge_levels(None, {"x": 1}) is None


def test_an_empty_table_is_refused():
    with pytest.raises(DataError, match="no row"):
        describe(Loop(), [[]], ["x"], [], [], 10, 0)


def looked(table, rows, sample_rows=50, keys=("id",), cuts=(300,)):
    look = look_for(["x"], [], keys, sample_rows, 3, rows)
    frame = split(table, cuts)
    return look, conclude(Loop(), frame, look, Loop().fold(frame, look, merge))


def test_a_guessed_bound_changes_no_sample():
    table = pa.table({"id": range(5000), "x": [float(i % 97) for i in range(5000)]})
    plain, whole = looked(table, None)
    guessed, found = looked(table, 5000)
    assert guessed.bound < plain.bound
    same(whole, found)


def test_where_fewer_units_than_rows_exist_the_guess_is_mended():
    # 5,000 rows of 40 entities: the bound for 5,000 entities would keep almost none of them.
    table = pa.table(
        {"id": [i % 40 for i in range(5000)], "x": [float(i % 40) for i in range(5000)]}
    )
    _, whole = looked(table, None)
    _, found = looked(table, 5000)
    assert found.sample.batch.num_rows == 40
    same(whole, found)


@pytest.mark.parametrize("keys", [[], ["id"]])
def test_nulls_in_some_batches_of_a_float32_column_describe_it_like_float64(keys):
    row = np.arange(60)
    x = np.where(row % 2, row / 3, 1.0).astype(np.float32)  # every other row is the same one
    null = (row >= 40) & (row % 5 == 0)  # none in the first two batches
    kinds = []
    for kind in (pa.float32(), pa.float64()):
        table = pa.table({"id": row, "x": pa.array(x, mask=null).cast(kind)})
        kinds.append(describe(Loop(), [table.to_batches(20)], ["x"], [], keys, 8, 0))
    one, other = kinds
    assert one.numbers == other.numbers and one.numbers[0].missing == 4
    np.testing.assert_array_equal(*(d.sample.batch.column("x").to_numpy() for d in kinds))
    assert one.sample.count.tolist() == other.sample.count.tolist()
