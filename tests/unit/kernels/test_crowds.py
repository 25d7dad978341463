"""Counts of keys in tables of fixed size."""

import numpy as np
import pytest

from segpipe.kernels import crowds as kernel
from segpipe.kernels.crowds import Crowds, keys_of
from segpipe.kernels.hashing import splitmix64


def hashes(values):
    return splitmix64(np.asarray(values, np.uint64))


def test_rarity_and_failures_by_hand():
    # Four rows: 1->7 twice (one failed), 1->8 failed, 2->8.
    src, dst = hashes([1, 1, 1, 2]), hashes([7, 7, 8, 8])
    found = Crowds.of(src, dst, np.array([0, 1, 1, 0], np.uint8))
    keys = keys_of(src, dst)
    rarity, failed = found.look_up("pair", keys["pair"])
    assert np.allclose(np.exp(-rarity), [2 / 4, 2 / 4, 1 / 4, 1 / 4])
    assert failed.tolist() == [0.5, 0.5, 1.0, 0.0]
    rarity, failed = found.look_up("src", keys["src"])
    assert np.allclose(np.exp(-rarity), [3 / 4, 3 / 4, 3 / 4, 1 / 4])
    assert failed.tolist() == [2 / 3, 2 / 3, 2 / 3, 0.0]


@pytest.fixture
def many():
    rng = np.random.default_rng(0)
    src, dst = hashes(rng.zipf(1.3, 20_000) % 5_000), hashes(rng.integers(0, 900, 20_000))
    return src, dst, rng.integers(0, 2, 20_000).astype(np.uint8)


def same(a, b):
    return a.rows == b.rows and all(
        (a.counts[t] == b.counts[t]).all() and (a.failed[t] == b.failed[t]).all() for t in a.counts
    )


def test_parts_add_up_to_the_whole_in_any_order(many):
    whole = Crowds.of(*many)
    parts = [Crowds.of(*(column[i::3] for column in many)) for i in range(3)]
    assert same(parts[2].plus(parts[0]).plus(Crowds.none()).plus(parts[1]), whole)


def test_counts_are_exact_where_the_table_is_far_from_full(many):
    src = many[0]
    found = np.exp(-Crowds.of(*many).look_up("src", src)[0]) * len(src)
    _, code, size = np.unique(src, return_inverse=True, return_counts=True)
    # 5,000 keys in two rows of 262,144 cells: both cells of one are shared with p = 4e-4.
    assert (np.rint(found) == size[code]).mean() > 0.99 and (np.rint(found) >= size[code]).all()


def test_compiled_and_plain_loops_agree(many, monkeypatch):
    compiled = Crowds.of(*many)
    said = compiled.look_up("pair", keys_of(*many[:2])["pair"])
    monkeypatch.setattr(kernel, "SMALL", 10**9)
    plain = Crowds.of(*many)
    assert same(compiled, plain)
    again = plain.look_up("pair", keys_of(*many[:2])["pair"])
    assert all(a.tobytes() == b.tobytes() for a, b in zip(said, again, strict=True))


def test_full_cells_stay_full(many):
    src, dst, failed = (column[:1] for column in many)
    one = Crowds.of(src, dst, failed)
    for cells in one.counts["src"]:
        cells[cells > 0] = 2**32 - 1
    assert one.plus(one).counts["src"].max() == 2**32 - 1
