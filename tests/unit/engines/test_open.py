"""What is refused before any engine starts, and the local engine's memory bound."""

from __future__ import annotations

import operator
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest

from segpipe.engines.local import LocalEngine
from segpipe.engines.open import open_engine
from segpipe.errors import ConfigError, DataError

SCHEMA = pa.schema([("v", pa.int64())])


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("flink", {}, "known engines: local, dask, spark"),
        ("local", {"io": "magic"}, "auto, arrow, engine"),
        ("dask", {"dask": {"adress": "tcp://x"}}, "address"),
        ("local", {"memory": "lots"}, "no size"),
    ],
)
def test_wrong_names_are_refused(name: str, options: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        open_engine(name, **options)
    assert said in str(caught.value)


@pytest.mark.parametrize(("name", "package"), [("dask", "distributed"), ("spark", "pyspark")])
def test_a_missing_extra_names_its_pip_line(
    name: str, package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, package, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"segpipe.engines.{name}", raising=False)
    with pytest.raises(ConfigError) as caught:
        open_engine(name)
    assert package in caught.value.message
    assert caught.value.hint == f"pip install 'segpipe[{name}]'"


def numbers(batches: Iterator[pa.RecordBatch]) -> list[int]:
    return [v for batch in batches for v in batch.column(0).to_pylist()]


def test_persisted_rows_beyond_the_memory_go_to_files(tmp_path: Path) -> None:
    pa_batches = [
        pa.record_batch([pa.array(range(100 * i, 100 * i + 100))], schema=SCHEMA) for i in range(5)
    ]
    # 800 bytes a batch; half of 4000 bytes holds two of the five.
    with LocalEngine(memory=4000, workers=1) as engine:
        kept = engine.persist(engine.from_batches(pa_batches, SCHEMA))
        spilled = [group.file for group in kept.source.groups if group.file]
        assert len(spilled) == 3
        assert engine.fold(kept, numbers, operator.add) == list(range(500))
        assert all(Path(file).exists() for file in spilled)
    assert not any(Path(file).exists() for file in spilled)


def test_other_parts_stop_when_one_fails() -> None:
    seen: list[int] = []

    def refuse(batch: pa.RecordBatch) -> pa.RecordBatch:
        seen.append(batch.num_rows)
        raise DataError("no.", "")

    batches = [pa.record_batch([pa.array([1])], schema=SCHEMA)] * 200
    with LocalEngine(workers=2) as engine:
        frame = engine.map_batches(engine.from_batches(batches, SCHEMA), refuse, SCHEMA)
        with pytest.raises(DataError):
            engine.fold(frame, numbers, operator.add)
    assert len(seen) < 200
