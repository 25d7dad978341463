"""Zeek logs to hosts, from the files to the label table, on three engines."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pytest
from deltalake import DeltaTable

import segpipe
from segpipe import pipeline
from segpipe.engines.protocol import Engine

DATA = Path(segpipe.__file__).parents[2] / "shared" / "data" / "network" / "zeek"
HEAD = (
    "#separator \\x09\n#set_separator\t,\n#empty_field\t(empty)\n#unset_field\t-\n#path\tconn\n"
    "#fields\tts\tid.orig_h\tid.resp_h\tid.resp_p\tproto\tservice\torig_bytes\tresp_bytes\t"
    "conn_state\n#types\ttime\taddr\taddr\tport\tenum\tstring\tcount\tcount\tstring\n"
)


def logs(folder: Path) -> Path:
    """60 clients of three servers in a day, and 10.0.0.99 that scans a net; a broken line."""
    rng = np.random.default_rng(0)
    lines = []
    for i in range(3000):
        client, server = rng.integers(0, 60), rng.integers(0, 3)
        when = 1_600_000_000 + rng.random() * 86_400
        sent, back = rng.lognormal(6, 1, 2).astype(int)
        lines.append(
            f"{when:.6f}\t10.0.0.{client}\t10.0.1.{server}\t{(53, 80, 443)[server]}\ttcp\t"
            f"{('dns', 'http', 'ssl')[server]}\t{sent}\t{back}\t{'S0' if i % 50 == 0 else 'SF'}\n"
        )
    for i in range(120):
        lines.append(f"{1_600_000_100 + i}.5\t10.0.0.99\t10.0.2.{i}\t{i % 40}\ttcp\t-\t-\t-\tREJ\n")
    (folder / "conn.1.log").write_text(HEAD + "".join(lines[::2]) + "1600000")
    (folder / "conn.2.log.gz").write_bytes(gzip.compress((HEAD + "".join(lines[1::2])).encode()))
    return folder


def run(engine: Engine, source: Path, target: Path, **more: Any) -> tuple[dict[str, Any], pa.Table]:
    config = {
        "source": {"uri": str(source), "format": "zeek"},
        "features": {"set": "hosts"},
        "target": {"uri": str(target)},
        "fit": {"model": "kmeans", "k": 2},
        **more,
    }
    summary = dict(pipeline.execute(mode="run", config=config, engine=engine).summary)
    return summary, DeltaTable(str(target)).to_pyarrow_table()


def test_the_scanner_is_first_and_its_reasons_say_why(engine: Engine, tmp_path: Path) -> None:
    source = tmp_path / "zeek"
    source.mkdir()
    summary, labels = run(engine, logs(source), tmp_path / "out")
    assert (summary["rows_in"], summary["rows_labelled"]) == (3121, 61)
    assert summary["rejects"]["reasons"] == {"bad_line": 1}
    assert summary["outliers"]["method"] == "ensemble"
    top = labels.sort_by([("outlier_score", "descending")]).slice(0, 1).to_pylist()[0]
    assert top["src"] == "10.0.0.99" and top["is_outlier"]
    assert (top["fan_out"], top["port_fan_out"], top["failed_share"]) == (120, 40, 1)
    said = {r["feature"]: r["value"] for r in top["outlier_reasons"]}
    assert len(said) == 3 and said.keys() & {"fan_out", "dst_entropy", "failed_share"}
    rejects = pads.dataset(summary["rejects"]["uri"], ignore_prefixes=[])
    assert rejects.to_table().column("_line").to_pylist() == ["1600000"]


def test_a_capture_of_one_host_and_its_days(tmp_path: Path) -> None:
    from segpipe.engines.local import LocalEngine

    source = tmp_path / "zeek"
    source.mkdir()
    rows = [
        {"ts": t, "id.orig_h": "a", "id.resp_h": f"b{t % 3}", "orig_bytes": 9, "resp_bytes": t}
        for t in range(1_600_000_000, 1_600_200_000, 5_000)
    ]
    (source / "conn.json").write_text("\n".join(map(json.dumps, rows)))
    with LocalEngine(workers=1) as engine:
        fit = {"model": "auto"}
        summary, labels = run(engine, source, tmp_path / "one", fit=fit)
        assert summary["rows_labelled"] == 1 and labels["n_conn"].to_pylist() == [40]
        assert np.isfinite(labels["outlier_score"].to_numpy()).all()
        keyed = {"contract": {"keys": ["src", "day"]}}
        summary, labels = run(engine, source, tmp_path / "days", **keyed)
    assert labels.column_names[:2] == ["src", "day"]
    days = dict(zip(labels["day"].to_pylist(), labels["n_conn"].to_pylist(), strict=True))
    assert days.keys() == {date(2020, 9, 13), date(2020, 9, 14), date(2020, 9, 15)}
    assert sum(days.values()) == 40


@pytest.mark.skipif(not DATA.is_dir(), reason=f"no development data in {DATA}")
def test_the_scanning_host_of_a_real_capture_is_first(tmp_path: Path) -> None:
    from segpipe.engines.local import LocalEngine

    with LocalEngine() as engine:
        summary, labels = run(engine, DATA, tmp_path / "out")
    assert summary["rows_in"] == 12_982 and summary["rows_rejected"] == 0
    first = labels.sort_by([("outlier_score", "descending")])["src"][0].as_py()
    assert first == "172.16.1.11"  # of 002-zeek-scenario-port-scanning, among seven captures
