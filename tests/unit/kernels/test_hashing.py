"""Row hashes: published vectors, equal bits on both paths, canonical cells."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.errors import DataError
from segpipe.kernels import hashing
from segpipe.kernels.hashing import hash_rows, splitmix64, xxh64

# https://github.com/Cyan4973/xxHash (XSUM_XXH64 sanity values) and python-xxhash's README.
VECTORS = [
    ("", 0, 0xEF46DB3751D8E999),
    ("a", 0, 0xD24EC4F1A98C6E5B),
    ("abc", 0, 0x44BC2CF5AD770999),
    ("xxhash", 0, 0x32DD38952C4BC720),
    ("xxhash", 20141025, 0xB559B98D844E0635),
    ("Nobody inspects the spammish repetition", 0, 0xFBCEA83C8A378BF1),
]


@pytest.mark.parametrize("path", ["numpy", "compiled"])
@pytest.mark.parametrize(("text", "seed", "expected"), VECTORS)
def test_xxh64_gives_the_published_values(text, seed, expected, path, monkeypatch):
    if path == "compiled":
        monkeypatch.setattr(hashing, "SMALL_ROWS", -1)
    assert [hex(v) for v in xxh64(pa.array([text, text]), seed)] == [hex(expected)] * 2


def test_splitmix64_gives_the_reference_sequence():
    # Vigna's splitmix64.c from state 1234567 (Rosetta Code): each output mixes the next state.
    states = np.array([1234567 + i * 0x9E3779B97F4A7C15 for i in range(3)], dtype=object) % 2**64
    got = splitmix64(states.astype(np.uint64))
    assert got.tolist() == [6457827717110365317, 3203168211198807973, 9817491932198370423]


cells = st.one_of(st.none(), st.text(max_size=80))
numbers = st.one_of(st.none(), st.floats(width=64), st.integers(-(2**53), 2**53).map(float))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(cells, numbers), max_size=30), st.integers(0, 2**64 - 1))
def test_both_paths_give_the_same_bits(rows, seed):
    batch = pa.record_batch(
        {
            "t": pa.array([r[0] for r in rows], pa.string()),
            "x": pa.array([r[1] for r in rows], pa.float64()),
        }
    )
    small = hash_rows(batch, ["t", "x"], seed)
    limit, hashing.SMALL_ROWS = hashing.SMALL_ROWS, -1
    try:
        large = hash_rows(batch, ["t", "x"], seed)
    finally:
        hashing.SMALL_ROWS = limit
    assert small.tolist() == large.tolist()
    parts = [hash_rows(batch.slice(i, 1), ["t", "x"], seed)[0] for i in range(len(rows))]
    assert small.tolist() == parts


def _one(array, seed=7):
    return hash_rows(pa.record_batch({"k": array}), ["k"], seed).tolist()


def test_the_same_key_hashes_alike_in_every_type():
    whole = _one(pa.array([12346, -5, 0], pa.int64()))
    assert _one(pa.array([12346.0, -5.0, -0.0])) == whole
    assert _one(pa.array([12346, -5, 0], pa.int32())) == whole
    assert _one(pa.array([12346.0, -5.0, 0.0], pa.float32())) == whole
    text = _one(pa.array(["0001", "2"]))
    assert _one(pa.array(["0001", "2"], pa.large_string())) == text
    assert _one(pa.array(["0001", "2"]).dictionary_encode()) == text
    assert _one(pa.array(["x", "0001", "2"]).slice(1)) == text
    assert _one(pa.array(["1"])) != _one(pa.array([1]))


def test_null_and_nan_are_one_cell():
    absent = _one(pa.array([None], pa.int64()))
    assert absent == _one(pa.array([None], pa.string())) == _one(pa.array([float("nan")]))
    assert absent == _one(pa.array([None], pa.float64())) == _one(pa.nulls(1))
    assert absent != _one(pa.array([0])) and _one(pa.array([""])) != absent


def test_columns_are_chained_in_order_and_the_seed_counts():
    batch = pa.record_batch({"a": [1, 2], "b": [2, 1]})
    first, second = hash_rows(batch, ["a", "b"], 0)
    assert first != second
    assert hash_rows(batch, ["a", "b"], 1).tolist() != [first, second]


def test_a_nested_key_is_refused():
    with pytest.raises(DataError, match="cannot serve as a key"):
        _one(pa.array([[1]]))
