"""Lines of a Zeek log as text columns."""

from __future__ import annotations

import io
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from segpipe.lake.zeekcells import filled, one_chunk
from segpipe.lake.zeekheader import GAP, Header
from segpipe.schema import LINE


def records(part: bytes, header: Header, asked: frozenset[str]) -> Iterator[pa.RecordBatch]:
    """Records of one header, then the lines that are none; at least the columns ``asked`` for."""
    wrong: list[str] = []

    def skip(row: pacsv.InvalidRow) -> str:
        wrong.append(row.text)
        return "skip"

    width = len(header.names) - header.last + 1
    raw = [str(i) for i in range(width)]
    # A last field that holds several columns is taken apart before its marks are looked at.
    whole = header.last > 1
    read = raw if whole else [r for r, name in zip(raw, header.names, strict=True) if name in asked]
    read = read or raw[:1]
    table = pacsv.read_csv(
        io.BytesIO(part),
        read_options=pacsv.ReadOptions(
            column_names=raw, block_size=len(part) + 1, use_threads=False
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=header.separator,
            quote_char=False,
            double_quote=False,
            invalid_row_handler=skip,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(raw, pa.string()),
            include_columns=read,
            null_values=[] if whole else list(header.missing),
            strings_can_be_null=not whole,
        ),
    )
    # Without a single row Arrow forgets the types.
    cells = [one_chunk(column.cast(pa.string())) for column in table.columns]
    names = [header.names[int(r)] for r in read]
    if whole:
        cells, lines = _parted(cells, header)
        wrong += lines
        names = list(header.names)
    if header.sets != ",":
        kinds = dict(zip(header.names, header.types, strict=False))
        for i, name in enumerate(names):
            if kinds.get(name, "").startswith(("set[", "vector[")):
                cells[i] = pc.replace_substring(cells[i], header.sets, ",")
    records = pa.RecordBatch.from_arrays(cells, names=names)
    if records.num_rows:
        yield records
    if wrong:
        yield pa.RecordBatch.from_pydict({LINE: pa.array(wrong, pa.string())})


def _parted(cells: list[pa.Array], header: Header) -> tuple[list[pa.Array], list[str]]:
    """Columns of lines whose last field holds several, and the lines that have too few or many."""
    tail = pc.split_pattern(cells[-1], GAP)
    fits = pc.equal(pc.list_value_length(tail), header.last)
    wrong: list[str] = []
    if not pc.all(fits).as_py():
        lines = pc.binary_join_element_wise(*cells, header.separator)
        wrong = lines.filter(pc.invert(fits)).to_pylist()
        cells = [column.filter(fits) for column in cells]
        tail = tail.filter(fits)
    cells = [*cells[:-1], *(pc.list_element(tail, i) for i in range(header.last))]
    marks = pa.array(header.missing)
    return [filled(column, marks) for column in cells], wrong
