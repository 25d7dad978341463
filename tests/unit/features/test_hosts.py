"""Hosts: hand-computed features, and the same bits in any order, batch and partitioning."""

from __future__ import annotations

from datetime import date

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segpipe.engines.local import LocalEngine
from segpipe.errors import DataError
from segpipe.features import hosts, signs
from segpipe.features.endpoints import regularity
from segpipe.features.plan import Request
from segpipe.lake.binding import compile_contract

SECOND = 1_000_000
DAY = 86_400 * SECOND


def flow(src, dst, when, port="80", flag="SF", out=100, back=300, service="http"):
    return {
        "src": src,
        "dst": dst,
        "ts": when,
        "dst_port": port,
        "proto": "tcp",
        "service": service,
        "flag": flag,
        "src_bytes": out,
        "dst_bytes": back,
    }


def built(rows, keys=("src",), parts=1, columns=None):
    table = pa.Table.from_pylist(rows)
    at = table.schema.get_field_index("ts")
    table = table.set_column(at, "ts", table.column("ts").cast(pa.timestamp("us")))
    plan = hosts.plan(table.schema, {}, Request(keys, columns), {})
    known = [key for key in keys if key not in plan.derived_keys]
    contract = compile_contract(table.schema, plan.columns, plan.mapping, known)
    with LocalEngine(workers=1) as engine:
        cut = np.array_split(np.arange(len(rows)), parts)
        batches = [table.take(pa.array(i)).to_batches()[0] for i in cut if len(i)]
        frame = engine.map_batches(
            engine.from_batches(batches, table.schema), contract.accept, contract.schema
        )
        found = hosts.build(engine, frame, contract.schema, plan)
        out = engine.fold(found.frame, list, list.__add__)
    made = pa.Table.from_batches(out, found.schema).sort_by([(k, "ascending") for k in keys])
    return {tuple(row[k] for k in keys): row for row in made.to_pylist()}, made


BEACON = [flow("bot", "c2", i * 60 * SECOND, "443", service="ssl") for i in range(6)]
SCAN = [
    flow("scan", f"10.0.0.{i // 3}", 7 * 3600 * SECOND, str(i), "S0", 0, 0, None) for i in range(9)
]


def test_a_beacon_and_a_scan() -> None:
    found, _ = built(BEACON + SCAN)
    bot, scan = found["bot",], found["scan",]
    assert bot["n_conn"] == 6 and scan["n_conn"] == 9
    assert (bot["bytes_out"], bot["max_bytes_in"], bot["upload_ratio"]) == (600, 300, 0.25)
    assert (scan["bytes_out"], scan["upload_ratio"]) == (0, 0.5)
    assert (bot["fan_out"], scan["fan_out"]) == (1, 3)
    assert (bot["port_fan_out"], scan["port_fan_out"]) == (1, 9)
    assert scan["dst_entropy"] == pytest.approx(np.log(3), rel=1e-15)
    assert scan["port_entropy"] == pytest.approx(np.log(9), rel=1e-15)
    assert (bot["dst_entropy"], bot["failed_share"], scan["failed_share"]) == (0, 0, 1)
    assert (bot["beacon_regularity"], bot["size_regularity"]) == (1, 1)
    assert (scan["beacon_regularity"], scan["size_regularity"]) == (0, 0)
    assert (bot["night_share"], scan["night_share"], bot["active_hours"]) == (1, 0, 1)
    assert bot["pair_rarity"] == pytest.approx(-np.log(6 / 15), rel=1e-15)
    assert scan["pair_rarity"] == pytest.approx(-np.log(3 / 15), rel=1e-15)
    # A named service is one; without a name protocol and port stand for it.
    assert (bot["distinct_services"], scan["distinct_services"]) == (1, 9)


def test_rare_services_are_below_one_percent_of_the_table() -> None:
    rows = [flow("a", "b", i) for i in range(200)] + [flow("a", "b", 1, service="gopher")] * 2
    assert built(rows)[0]["a",]["rare_service_share"] == 2 / 202
    assert built([*rows, flow("a", "b", 1, service="gopher")])[0]["a",]["rare_service_share"] == 0


def test_median_and_mad_of_gaps() -> None:
    # Gaps 10 20 30 100: median 25, distances 15 5 5 75, MAD 10 -> 1 - 10 / 25.
    times = [0, 10, 30, 60, 160]
    rows = [flow("a", "b", t * SECOND) for t in times]
    assert built(rows)[0]["a",]["beacon_regularity"] == 0.6
    assert built(rows[:4])[0]["a",]["beacon_regularity"] == 0  # too few to judge
    # The steadiest destination counts.
    more = [flow("a", "c", t * SECOND) for t in (0, 7, 14, 21, 28)]
    assert built(rows + more)[0]["a",]["beacon_regularity"] == 1
    # All at once is no rhythm.
    assert built([flow("a", "b", 5)] * 9)[0]["a",]["beacon_regularity"] == 0


@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 10**9)), min_size=1, max_size=40).map(
        sorted
    )
)
def test_regularity_is_what_numpy_says_of_each_group(pairs) -> None:
    group, values = (np.array(column, np.int64) for column in zip(*pairs, strict=True))
    found, steady = regularity(group, values)
    assert found.tolist() == sorted(set(group.tolist()))
    for which, value in zip(found, steady, strict=True):
        mine = values[group == which]
        middle = np.median(mine)
        spread = np.median(np.abs(mine - middle))
        expected = 1 - min(1, spread / middle) if middle else 0
        assert value == pytest.approx(expected, abs=1e-12)


def test_pairs_and_days() -> None:
    rows = [*BEACON, flow("bot", "other", 0), flow("bot", "c2", DAY + 5)]
    pairs, _ = built(rows, ("src", "dst"))
    assert pairs["bot", "c2"]["n_conn"] == 7 and pairs["bot", "other"]["fan_out"] == 1
    days, made = built(rows, ("src", "day"))
    assert made.schema.field("day").type == pa.date32()
    assert days["bot", date(1970, 1, 1)]["n_conn"] == 7
    assert days["bot", date(1970, 1, 2)]["n_conn"] == 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 5))
def test_order_and_parts_do_not_matter(seed: int, parts: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        flow(
            f"s{rng.integers(4)}",
            None if rng.random() < 0.1 else f"d{rng.integers(5)}",
            int(rng.integers(0, 50)) * 3600 * SECOND,
            None if rng.random() < 0.1 else str(rng.integers(6)),
            str(rng.choice(["SF", "S0", "REJ"])),
            int(rng.integers(0, 10**6)),
            None if rng.random() < 0.1 else int(rng.integers(0, 10**9)),
            str(rng.choice(["http", "dns"])) if rng.random() < 0.5 else None,
        )
        for _ in range(60)
    ]
    once = built(rows)[1]
    again = built([rows[i] for i in rng.permutation(60)], parts=parts)[1]
    assert once.equals(again)
    for column in once.columns[1:]:
        assert np.isfinite(column.to_numpy()).all()


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"flag": ["S0", "SF", "REJ", "RSTO", "OTH", None]}, [1, 0, 1, 1, 0, 0]),
        ({"dst_packets": [0, 1, None]}, [1, 0, 0]),
        ({"dst_bytes": [0.0, 9.0]}, [1, 0]),
        (
            {
                "flag": ["S0"] * 7,
                "dst": [
                    "224.0.0.251",
                    "239.255.255.250",
                    "255.255.255.255",
                    "192.168.1.255",
                    "ff02::1:3",
                    "10.224.0.1",
                    None,
                ],
            },
            [0, 0, 0, 0, 0, 1, 1],
        ),
        ({"src": ["a"]}, [0]),
    ],
)
def test_what_failed(columns, expected) -> None:
    batch = pa.RecordBatch.from_pydict(columns)
    assert signs.failed(batch).tolist() == [bool(v) for v in expected]


@pytest.mark.parametrize(
    ("columns", "keys", "wanted", "said"),
    [
        (["src"], ("src",), None, "described by any of"),
        (["src", "dst"], ("src", "day"), None, "no ts"),
        (["ts", "dst"], ("day",), None, "day alone"),
        (["src", "dst"], ("src",), ("beacon_regularity",), "hosts can give"),
    ],
)
def test_what_cannot_be_described_is_refused(columns, keys, wanted, said) -> None:
    schema = pa.schema([(name, pa.string()) for name in columns])
    with pytest.raises(DataError, match=said):
        hosts.plan(schema, {}, Request(keys, wanted), {})


def test_zeek_names_need_no_mapping() -> None:
    names = ["ts", "id.orig_h", "id.resp_h", "id.resp_p", "proto", "service", "conn_state"]
    names += ["orig_bytes", "resp_bytes", "resp_pkts"]
    plan = hosts.plan(pa.schema([(n, pa.string()) for n in names]), {}, Request(("src",)), {})
    assert plan.numeric == hosts.DISTANCE
    assert {c.name for c in plan.columns} == set(hosts.KINDS)
