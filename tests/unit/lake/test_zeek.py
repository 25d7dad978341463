"""Zeek logs: TSV and JSON lines give the same rows, and no line is lost without a trace."""

from __future__ import annotations

import bz2
import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from segpipe.errors import DataError, InputMissing
from segpipe.lake import zeek
from segpipe.lake.binding import compile_contract
from segpipe.lake.tables import open_table, read
from segpipe.schema import LINE
from segpipe.values import Column, Table

NAMES = ["ts", "id.orig_h", "id.resp_p", "service", "duration", "local_orig", "tunnel_parents"]
TYPES = ["time", "addr", "port", "string", "interval", "bool", "set[string]"]
FIRST = ["1664462456.755299", "10.0.0.1", "53", "dns", "0.012", "T", "CAb1,CAb2"]
SECOND = ["1664462457.000000", "10.0.0.2", "0", "-", "-", "F", "(empty)"]
OBJECTS = [
    {
        "ts": 1664462456.755299,
        "id.orig_h": "10.0.0.1",
        "id.resp_p": 53,
        "service": "dns",
        "duration": 0.012,
        "local_orig": True,
        "tunnel_parents": ["CAb1", "CAb2"],
    },
    {
        "ts": 1664462457.5,
        "id.orig_h": "10.0.0.2",
        "id.resp_p": 0,
        "local_orig": False,
        "tunnel_parents": [],
    },
]


def head(names: list[str] = NAMES, types: list[str] = TYPES, path: str = "conn") -> str:
    return (
        "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n"
        f"#path\t{path}\n#open\t2022-09-29-14-40-56\n"
        + "\t".join(["#fields", *names])
        + "\n"
        + "\t".join(["#types", *types])
        + "\n"
    )


def log(*lines: list[str], header: str | None = None) -> str:
    return (head() if header is None else header) + "".join("\t".join(v) + "\n" for v in lines)


def rows(place: Path, where: str | None = None) -> list[dict[str, object]]:
    return of(open_table(str(place), "zeek", where=where))


def of(table: Table) -> list[dict[str, object]]:
    return [row for f in table.fragments for b in read(table, f) for row in b.to_pylist()]


def test_every_column_is_text_and_marks_of_nothing_are_null(tmp_path: Path) -> None:
    file = tmp_path / "conn.log"
    file.write_text(log(FIRST, SECOND) + "#close\t2022-09-29-15-00-00\n")
    assert rows(file) == [
        dict(zip([*NAMES, LINE], [*FIRST, None], strict=True)),
        {
            "ts": "1664462457.000000",
            "id.orig_h": "10.0.0.2",
            "id.resp_p": "0",
            "service": None,
            "duration": None,
            "local_orig": "F",
            "tunnel_parents": None,
            LINE: None,
        },
    ]


def test_json_lines_are_spelt_as_tsv_spells_them(tmp_path: Path) -> None:
    file = tmp_path / "conn.json"
    file.write_text("".join(json.dumps(o) + "\n" for o in OBJECTS))
    first, second = rows(file)
    assert [first[n] for n in NAMES] == FIRST
    assert [second[n] for n in NAMES] == ["1664462457.5", "10.0.0.2", "0", None, None, "F", None]


def test_nested_addresses_and_a_field_of_two_types(tmp_path: Path) -> None:
    file = tmp_path / "conn.json"
    lines = [
        {"id": {"orig_h": "a", "resp_h": "b"}, "note": 1, "up": 2.5, "ok": True},
        {"id": {"orig_h": "c", "resp_h": "d"}, "note": "x", "up": 3.0, "ok": None, "s": ["p"]},
    ]
    file.write_text("".join(json.dumps(o) + "\n" for o in lines))
    found = rows(file)
    assert [(r["id.orig_h"], r["note"], r["up"], r["ok"], r["s"]) for r in found] == [
        ("a", "1", "2.5", "T", None),
        ("c", "x", "3", None, "p"),
    ]


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress])
def test_packed_and_plain_files_of_one_folder_are_one_table(tmp_path: Path, pack) -> None:
    ending = ".gz" if pack is gzip.compress else ".bz2"
    (tmp_path / f"conn.00:00:00-01:00:00.log{ending}").write_bytes(
        pack(log(FIRST).encode()) + pack(log(SECOND).encode())
    )
    (tmp_path / "conn.01:00:00-02:00:00.log").write_text(log(FIRST))
    (tmp_path / "conn.02:00:00-03:00:00.log").write_text(head())
    (tmp_path / f"conn.json{ending}").write_bytes(pack(json.dumps(OBJECTS[0]).encode()))
    (tmp_path / "notes.md").write_text("no log")
    found = rows(tmp_path)
    assert [r["id.orig_h"] for r in found] == ["10.0.0.1", "10.0.0.2", "10.0.0.1", "10.0.0.1"]
    assert {r["ts"] for r in found} == {FIRST[0], SECOND[0]}


def test_labels_that_hang_on_the_last_field_by_blanks(tmp_path: Path) -> None:
    names = [*NAMES[:-1], "tunnel_parents   label   detailed-label"]
    types = [*TYPES[:-1], "set[string]   string   string"]
    file = tmp_path / "conn.log.labeled"
    file.write_text(
        log(
            [*FIRST[:-1], "-   benign   -"],
            [*FIRST[:-1], "(empty)   Malicious   C&C"],
            [*FIRST[:-1], "-   benign"],
            header=head(names, types),
        )
        + "#close\t2019-12-05-15-46-36   benign   -\n"
    )
    found = rows(file)
    labels = [(r["tunnel_parents"], r["label"], r["detailed-label"]) for r in found[:2]]
    assert labels == [(None, "benign", None), (None, "Malicious", "C&C")]
    assert found[2][LINE] == "\t".join([*FIRST[:-1], "-   benign"]) and found[2]["ts"] is None


def test_a_later_header_of_one_file_may_order_the_fields_otherwise(tmp_path: Path) -> None:
    file = tmp_path / "conn.log"
    turned = head(NAMES[::-1], TYPES[::-1])
    file.write_text(log(FIRST) + log(SECOND[::-1], header=turned) + log(FIRST))
    assert [r["id.orig_h"] for r in rows(file)] == ["10.0.0.1", "10.0.0.2", "10.0.0.1"]


@pytest.mark.parametrize("broken", ["1664462458.1\t10.0.0.3\t5", "\t".join([*FIRST, "more"]), "x"])
def test_a_line_with_other_than_its_fields_is_kept_for_the_rejects(
    tmp_path: Path, broken: str
) -> None:
    file = tmp_path / "conn.log"
    file.write_text(log(FIRST) + broken)
    for where in (None, "duration > 0"):
        first, second = rows(file, where)
        assert first[LINE] is None
        assert second == dict.fromkeys(NAMES) | {LINE: broken}
    table = open_table(str(file), "zeek")
    contract = compile_contract(table.schema, [Column("ts", "time")], {}, carry="all", untyped=True)
    batches = list(read(table, table.fragments[0]))
    audits = [contract.take(b)[0] for b in batches]
    assert [dict(a.rejected) for a in audits if a.rows_rejected] == [{"bad_line": 1}]
    bad = [row for b in batches for row in contract.reject(b).to_pylist()]
    assert [(r[LINE], r["reject_reason"]) for r in bad] == [(broken, "bad_line")]


@pytest.mark.parametrize("broken", ['{"ts": 16644624', "3", "[1]"])
def test_a_line_that_is_no_object_is_kept_for_the_rejects(tmp_path: Path, broken: str) -> None:
    file = tmp_path / "conn.log"
    file.write_text(json.dumps(OBJECTS[0]) + "\n" + broken + "\n" + json.dumps(OBJECTS[1]) + "\n")
    found = rows(file)
    assert sorted(str(r["ts"]) for r in found) == [FIRST[0], "1664462457.5", "None"]
    assert [r[LINE] for r in found if r[LINE]] == [broken]


def test_kept_columns_get_the_types_that_the_log_declares(tmp_path: Path) -> None:
    file = tmp_path / "conn.log"
    odd = ["soon", "10.0.0.3", "x", "-", "0.5", "perhaps", "CAb9"]
    file.write_text(log(FIRST, SECOND, odd))
    table = open_table(str(file), "zeek")
    contract = compile_contract(table.schema, [], {}, carry="all", untyped=True)
    kept = pa.Table.from_batches([contract.accept(b) for b in read(table, table.fragments[0])])
    kept = kept.rename_columns([n.removeprefix("source__") for n in kept.column_names])
    assert kept.schema.types == [
        pa.timestamp("us", "UTC"),
        pa.string(),
        pa.int64(),
        pa.string(),
        pa.float64(),
        pa.bool_(),
        pa.list_(pa.string()),
    ]
    first, second, third = kept.to_pylist()
    assert first["ts"] == datetime(2022, 9, 29, 14, 40, 56, 755299, tzinfo=UTC)
    assert first["tunnel_parents"] == ["CAb1", "CAb2"] and first["local_orig"] is True
    assert second["id.resp_p"] == 0 and second["local_orig"] is False
    assert (third["ts"], third["id.resp_p"], third["local_orig"]) == (None, None, None)


@pytest.mark.parametrize("size", [60, 200, 10_000])
def test_pieces_of_a_file_hold_the_rows_of_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    turned = head(NAMES[::-1], TYPES[::-1])
    lines = [[f"{i}.5", f"10.0.0.{i}", *FIRST[2:]] for i in range(40)]
    file = tmp_path / "conn.log"
    file.write_text(
        log(*lines[:15]) + log(*[v[::-1] for v in lines[15:30]], header=turned) + log(*lines[30:])
    )
    whole = rows(file)
    assert [r["ts"] for r in whole] == [f"{i}.5" for i in range(40)]
    monkeypatch.setattr(zeek, "SPAN", size)
    monkeypatch.setattr(zeek, "_BLOCK", 37)
    table = open_table(str(file), "zeek")
    assert (len(table.fragments) > 5) == (size < 10_000)
    assert of(table) == whole


def test_pieces_of_json_lines(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "conn.json"
    file.write_text("".join(json.dumps(OBJECTS[i % 2] | {"ts": i + 0.5}) + "\n" for i in range(30)))
    monkeypatch.setattr(zeek, "SPAN", 300)
    table = open_table(str(file), "zeek")
    monkeypatch.setattr(zeek, "_BLOCK", 100)
    pieces = open_table(str(file), "zeek")
    assert len(pieces.fragments) > len(table.fragments)
    assert [r["ts"] for r in of(pieces)] == [f"{i}.5" for i in range(30)]


@pytest.mark.parametrize(
    ("texts", "said", "error"),
    [
        ({"conn.log": log(FIRST), "dns.log": log(FIRST, header=head(path="dns"))}, "kinds", 65),
        ({"conn.log": "\t".join(FIRST) + "\n"}, "#fields", 65),
        ({"conn.log": log(header=head(["ts", "ts"], ["time", "time"])) + "1\t2\n"}, "several", 65),
        ({"conn.log": head()}, "no rows", 66),
        ({"conn.txt": log(FIRST)}, "no zeek file", 66),
    ],
)
def test_what_is_no_log_is_refused(tmp_path: Path, texts, said: str, error: int) -> None:
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises((DataError, InputMissing), match=said) as caught:
        open_table(str(tmp_path), "zeek")
    assert caught.value.code == error


def test_bytes_that_are_no_text_and_a_packed_file_that_breaks_off(tmp_path: Path) -> None:
    latin = tmp_path / "conn.log"
    latin.write_bytes(log(FIRST).encode() + "\t".join(["ä", *FIRST[1:]]).encode("latin-1"))
    with pytest.raises(DataError, match=r"not UTF-8: byte \d+"):
        rows(latin)
    packed = tmp_path / "conn.log.gz"
    packed.write_bytes(gzip.compress(log(*[FIRST] * 500).encode())[:-60])
    with pytest.raises(DataError, match=r"conn\.log\.gz"):
        rows(packed)


def test_a_table_may_have_a_column_of_its_own_called_line() -> None:
    schema = pa.schema([("_line", pa.string()), ("x", pa.float64())])
    contract = compile_contract(schema, [Column("x", "number")], {}, carry="all")
    batch = pa.RecordBatch.from_pydict({"_line": ["a", None], "x": [1.0, 2.0]}, schema=schema)
    assert contract.accept(batch).column("source___line").to_pylist() == ["a", None]
    assert contract.take(batch)[0].rows_rejected == 0


@pytest.mark.parametrize("separator", ["||", "\\x7c\\x7c", "\\xZZ", "§"])
def test_separators_that_no_reader_can_follow_are_refused(tmp_path: Path, separator: str) -> None:
    (tmp_path / "conn.log").write_text(f"#separator {separator}\n#fields\tts\n1\n")
    with pytest.raises(DataError, match="#separator") as caught:
        open_table(str(tmp_path), "zeek")
    assert caught.value.code == 65


@pytest.mark.parametrize("text", [log(FIRST), json.dumps(OBJECTS[0]) + "\n"])
def test_a_byte_order_mark_is_no_part_of_the_log(tmp_path: Path, text: str) -> None:
    plain, marked = tmp_path / "plain.log", tmp_path / "marked.log"
    plain.write_text(text)
    marked.write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert rows(marked) == rows(plain)


@pytest.mark.parametrize(
    ("start", "hint"),
    [
        (gzip.compress(b"x"), "name it ....gz"),
        (log(FIRST).encode("utf-16"), "iconv -f UTF-16"),
        (b"[" + json.dumps(OBJECTS[0]).encode() + b"]", "jq -c '.[]'"),
        (json.dumps(OBJECTS[0], indent=1).encode(), "jq -c ."),
    ],
)
def test_the_error_says_what_the_file_is_instead(tmp_path: Path, start: bytes, hint: str) -> None:
    (tmp_path / "conn.log").write_bytes(start)
    with pytest.raises(DataError) as caught:
        open_table(str(tmp_path), "zeek")
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("neighbour", "value", "text"),
    [
        ({"a": 1.5}, 9007199254740993, "9007199254740993"),
        ({"a": 1.5}, 15000000000000, "15000000000000"),
        ({"b": 1}, 15000000000000, "15000000000000"),
        ({"b": 1}, "2019-01-01", "2019-01-01"),
        ({"a": "x"}, "2019-01-01", "2019-01-01"),
    ],
)
def test_a_json_value_is_spelt_alike_whatever_its_neighbours(
    tmp_path: Path, neighbour: dict[str, object], value: object, text: str
) -> None:
    place = tmp_path / "conn.log"
    place.write_text(json.dumps({"a": value}) + "\n" + json.dumps(neighbour) + "\n")
    assert rows(place)[0]["a"] == text


def test_a_name_that_is_there_nested_and_with_dots_is_one_column(tmp_path: Path) -> None:
    place = tmp_path / "conn.log"
    both = {"id": {"orig_h": "in", "orig_p": 5}, "id.orig_h": "out"}
    nested = {"id": {"orig_h": "in", "orig_p": 6}}
    place.write_text(json.dumps(both) + "\n" + json.dumps(nested) + "\n")
    assert [(r["id.orig_h"], r["id.orig_p"]) for r in rows(place)] == [("out", "5"), ("in", "6")]
