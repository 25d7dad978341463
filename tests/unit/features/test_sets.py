"""Entity columns, text typing, connections and pixels."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from skimage.color import rgb2lab

from segpipe.errors import DataError, InputMissing
from segpipe.features import connections, entities, pixels
from segpipe.features.names import KDD, completed
from segpipe.features.plan import Request
from segpipe.features.sets import SETS
from segpipe.features.typing import facts, sniff


class Loop:
    def fold(self, frame, step, merge):
        state = step(iter([]))
        for batch in frame:
            state = merge(state, step(iter([batch])))
        return state

    def map_batches(self, frame, fn, schema):
        found = [fn(batch) for batch in frame]
        assert all(batch.schema == schema for batch in found)
        return found


@pytest.mark.parametrize(
    ("cells", "number"),
    [
        (["1", "2.5", "-3e4", ".5", "+7", None, "", " 8 ", "NaN", "-"], True),
        (["0001", "0002"], False),  # identifiers
        (["0", "0.5", "-0.25"], True),
        (["1", "two"], False),
        (["1e4000"], False),
        ([None, ""], False),
    ],
)
def test_what_reads_as_a_number(cells, number):
    assert facts(pa.array(cells)).is_number is number


def test_sniffing_is_bounded_and_ignores_the_order():
    wide = pa.record_batch({"a": [f"v{i}" for i in range(31)], "b": ["x", "y", None] + ["x"] * 28})
    parts = [wide.slice(0, 7), wide.slice(7)]
    found = sniff(Loop(), parts, ["a", "b"])
    assert found == sniff(Loop(), parts[::-1], ["a", "b"])
    assert found["a"].levels is None and not found["a"].is_category
    assert found["b"].levels == {"x", "y"} and found["b"].is_category and found["b"].filled == 30


MALL = pa.schema(
    {
        "CustomerID": pa.string(),
        "Genre": pa.string(),
        "Age": pa.string(),
        "Note": pa.string(),
        "Since": pa.date32(),
        "Score": pa.int64(),
    }
)
MALL_FACTS = {
    "Genre": facts(pa.array(["Male", "Female"])),
    "Age": facts(pa.array(["19", "21"])),
    "Note": facts(pa.array([f"n{i}" for i in range(50)])),
}


def test_columns_default_to_numbers_and_few_valued_text():
    request = Request(("customer_id",))
    mapping = {"customer_id": "CustomerID", "age": "Age"}
    assert entities.unsure(MALL, mapping, request) == ("Genre", "Age", "Note")
    plan = entities.plan(MALL, mapping, request, MALL_FACTS)
    assert plan.numeric == ("age", "Score") and plan.categorical == ("Genre",)
    assert plan.warnings == ("column 'Note' is no feature: it is text with more than 30 values",)
    assert {c.name: c.kind for c in plan.columns} == {
        "age": "number",
        "Score": "number",
        "Genre": "text",
    }


def test_named_columns_and_categories():
    request = Request((), ("Score", "Note"), ("Score",))
    plan = entities.plan(MALL, {}, request, MALL_FACTS)
    assert plan.numeric == () and plan.categorical == ("Score", "Note")
    assert plan.required == ("Score", "Note")
    assert {c.name: c.kind for c in plan.columns} == {"Score": "any", "Note": "text"}
    only = entities.plan(MALL, {}, Request(("CustomerID",), None, "none"), MALL_FACTS)
    assert only.categorical == () and only.numeric == ("Age", "Score")
    with pytest.raises(DataError, match="Scores"):
        entities.plan(MALL, {}, Request((), ("Scores",)), {})
    with pytest.raises(DataError, match="no column"):
        entities.plan(pa.schema({"id": pa.int64()}), {}, Request(("id",)), {})


def flows(table, request=None, mapping=None):
    plan = connections.plan(table.schema, mapping or {}, request or Request(), {})
    ours = {theirs: ours for ours, theirs in plan.mapping.items()}
    rows = table.rename_columns([ours.get(n, n) for n in table.schema.names])
    names = [c.name for c in plan.columns]
    rows = rows.select(names).combine_chunks()
    return plan, connections.build(Loop(), rows.to_batches(), rows.schema, plan)


def test_zeek_names_are_known_and_nothing_else_is_read():
    table = pa.table(
        {
            "uid": ["C1"],
            "id.orig_h": ["10.0.0.1"],
            "id.orig_p": [50000],
            "id.resp_p": ["443"],
            "proto": ["tcp"],
            "conn_state": ["SF"],
            "duration": [3.0],
            "orig_bytes": [99.0],
            "resp_bytes": [299.0],
            "orig_pkts": [2.0],
            "resp_pkts": [2.0],
            "label": ["Malicious"],
        }
    )
    plan, built = flows(table)
    assert built.categorical == ("proto", "flag", "dst_port")
    amounts = ("duration", "src_bytes", "dst_bytes", "src_packets", "dst_packets")
    assert built.numeric == (*amounts, "bytes_ratio", "bytes_per_second", "bytes_per_packet")
    assert {c.name for c in plan.columns}.isdisjoint({"uid", "label"})
    row = built.frame[0].to_pylist()[0]
    assert row["bytes_ratio"] == pytest.approx(np.log(100 / 300))
    assert row["bytes_per_second"] == 398 / 4 and row["bytes_per_packet"] == 398 / 4


def test_nfstream_milliseconds_become_seconds_and_gaps_stay_gaps():
    table = pa.table(
        {
            "bidirectional_duration_ms": [1500.0, None],
            "src2dst_bytes": [10.0, 10.0],
            "dst2src_bytes": [None, 5.0],
        }
    )
    _, built = flows(table)
    first, second = built.frame[0].to_pylist()
    assert first["duration"] == 1.5 and np.isnan(first["bytes_ratio"])
    assert np.isnan(second["duration"]) and second["bytes_ratio"] == pytest.approx(np.log(11 / 6))


def test_kdd_columns_pass_through_and_labels_do_not():
    table = pa.table(
        {
            "duration": [0.0],
            "protocol_type": ["tcp"],
            "serror_rate": [0.5],
            "attack": ["normal"],
            "difficulty": [21],
        }
    )
    _, built = flows(table)
    assert built.numeric == ("duration", "serror_rate") and built.categorical == ("proto",)
    assert len(KDD) == 35 and len(set(KDD)) == 35


def test_a_mapping_or_our_own_name_wins_over_an_alias():
    schema = pa.schema({"proto": pa.string(), "protocol": pa.int64(), "src_ip": pa.string()})
    assert completed(schema, {"src": "client"}) == {"src": "client"}
    assert completed(schema, {"dst": "src_ip"}) == {"dst": "src_ip"}


def test_flows_without_a_measure_are_refused():
    with pytest.raises(DataError, match="one of duration"):
        connections.plan(pa.schema({"proto": pa.string()}), {}, Request(), {})
    with pytest.raises(DataError, match="can give duration"):
        connections.plan(pa.schema({"duration": pa.int64()}), {}, Request((), ("bytes",)), {})


def test_lab_of_known_colours_and_back():
    rgb = np.array([[255, 255, 255], [0, 0, 0], [255, 0, 0], [12, 200, 99]], np.uint8)
    lab = pixels.to_lab(rgb)
    # CIE Lab of sRGB red: 53.24, 80.09, 67.20 (brucelindbloom.com).
    assert lab[2] == pytest.approx([53.24, 80.09, 67.20], abs=0.02)
    assert lab[0] == pytest.approx([100, 0, 0], abs=0.02)
    assert (pixels.to_rgb(lab) == rgb).all()
    assert lab == pytest.approx(rgb2lab(rgb[None] / 255.0)[0])


def test_pixels_are_built_row_by_row():
    batch = pa.record_batch({n: np.array([1, 200, 30], np.uint8) for n in "rgb"})
    plan = pixels.plan(batch.schema, {}, Request(), {})
    built = pixels.build(Loop(), [batch], batch.schema, plan)
    assert built.numeric == ("lab_l", "lab_a", "lab_b")
    alone = pixels.build(Loop(), [batch.slice(1, 1)], batch.schema, plan).frame[0]
    assert built.frame[0].slice(1, 1).equals(alone)


def test_equal_colours_collapse_with_counts(tmp_path):
    from PIL import Image

    image = np.zeros((4, 5, 3), np.uint8)
    image[1:, :2] = (9, 8, 7)
    path = tmp_path / "x.png"
    Image.fromarray(image).save(path)
    batches = list(pixels.image_batches(path))
    assert sum(b.num_rows for b in batches) == 20 and batches[0].schema == pixels.SCHEMA
    colours, number = pixels.collapse(pixels.read_image(path))
    assert colours.to_pylist() == [
        {"r": 0, "g": 0, "b": 0, "count": 14},
        {"r": 9, "g": 8, "b": 7, "count": 6},
    ]
    assert (number == (image[..., 0] == 9)).all()


def test_broken_and_absent_images(tmp_path: Path):
    broken = tmp_path / "x.jpg"
    broken.write_bytes(b"not an image")
    with pytest.raises(DataError, match="cannot be read as an image"):
        pixels.read_image(broken)
    with pytest.raises(InputMissing):
        pixels.read_image(tmp_path / "absent.png")


def test_every_set_of_the_config_is_there():
    assert set(SETS) == {"columns", "rfm", "connections", "hosts", "pixels"}
    assert SETS["hosts"].keys == ("src",)
    assert SETS["rfm"].keys == ("customer_id",) and SETS["connections"].encoding == "surprisal"
