"""What a target holds: its labels, its runs, its newest report."""

from __future__ import annotations

import json
import sys
import tempfile
import webbrowser
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from segpipe.errors import ConfigError, InputMissing
from segpipe.lake import record
from segpipe.lake.publish import read_labels
from segpipe.lake.uris import absolute, is_local, locate, reading

SHOWN = 20


def labels(target: str, out: Path | None) -> None:
    """Copy the label table into one file by its ending, or print its first rows as JSON lines."""
    dataset = read_labels(target)
    if out is None:
        for row in dataset.head(SHOWN).to_pylist():
            print(json.dumps(row, default=str))
        print(f"{dataset.count_rows():,} rows; --out F.parquet or F.csv copies them all",
              file=sys.stderr)  # fmt: skip
        return
    if out.suffix not in (".parquet", ".csv"):
        raise ConfigError(f"--out {out} ends in neither .parquet nor .csv.", "Name it so.")
    out.parent.mkdir(parents=True, exist_ok=True)
    new = out.with_name(f".{out.name}.new")
    schema = dataset.schema
    if out.suffix == ".parquet":
        with pq.ParquetWriter(new, schema) as parquet:
            for batch in dataset.to_batches():
                parquet.write_batch(batch)
    else:
        flat = pa.schema([pa.field(f.name, _flat(f.type)) for f in schema])
        with pacsv.CSVWriter(new, flat) as text:
            for batch in dataset.to_batches():
                text.write_batch(_flattened(batch, flat))
    new.replace(out)
    print(out)


def _flat(kind: pa.DataType) -> pa.DataType:
    return pa.string() if pa.types.is_nested(kind) else kind


def _flattened(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """Nested cells as JSON text: csv has no lists."""
    columns = []
    for column, field in zip(batch.columns, schema, strict=True):
        if column.type == field.type:
            columns.append(column)
        else:
            cells = column.to_pylist()
            columns.append(pa.array([None if c is None else json.dumps(c) for c in cells]))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def history(target: str) -> None:
    """One line a run, newest last."""
    for run in reversed(record.history(target)):
        told: dict[str, Any] = run.get("summary", {})
        model = told.get("model") or {}
        print(
            f"{run.get('started', ''):<33} {run['run_id']:<26} {run.get('status', ''):<12} "
            f"{told.get('engine', '')!s:<6} "
            f"version {_dash((told.get('labels') or {}).get('version'))}"
            f"  rows {_dash(told.get('rows_labelled'))}  {_dash(model.get('kind'))}"
            f" k={_dash(model.get('k'))}"
        )


def _dash(value: Any) -> str:
    return "-" if value is None else str(value)


def report(run_or_target: str, open_: bool) -> None:
    """Print (and open) the report in a run's folder, or the newest one of a target."""
    place = absolute(run_or_target)
    found = f"{place}/report.html"
    filesystem, path = locate(found)
    with reading(found):
        there = filesystem.get_file_info(path).is_file
    if not there:
        with_report = [
            r["summary"]["report"]
            for r in record.history(place)
            if (r.get("summary") or {}).get("report")
        ]
        if not with_report:
            raise InputMissing(
                f"no run of {run_or_target} wrote a report.",
                "Install the report extra: pip install 'segpipe[report]', and run again.",
            )
        found = with_report[0]
    print(found)
    if open_:
        webbrowser.open(_local(found).as_uri())


def _local(report: str) -> Path:
    """The file itself, or a copy of one in a store, which browsers cannot read."""
    if is_local(report):
        return Path(report)
    filesystem, path = locate(report)
    copy = Path(tempfile.mkdtemp(prefix="segpipe-")) / "report.html"
    with reading(report), filesystem.open_input_stream(path) as source:
        copy.write_bytes(source.read())
    return copy
