"""The benchmark's own arithmetic, and one small run of it from the command to the CSV."""

from __future__ import annotations

import argparse
import csv
import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "scripts"))

import bench
from benchmarks import (
    cases,
    data,
    kernels,
    measure,
    pipeline,
    quality,
    record,
    rfm,
    segpipe_run,
    start,
)

ROOT = record.ROOT
UNIT = quality.Space(np.zeros(1), np.ones(1))


def run_of(code: str, **limits):
    return measure.run([sys.executable, "-c", code], **limits)


class TestInertia:
    def test_is_that_of_the_labels_means(self):
        seen = quality.Inertia(UNIT)
        # 0, 2 around 1 and 10, 13, 16 around 13: 1 + 1 + 9 + 0 + 9
        seen.add(np.array([[0.0], [2.0], [10.0], [13.0], [16.0]]), np.array([0, 0, 1, 1, 1]))
        assert seen.value == pytest.approx(20.0)
        assert (seen.rows, seen.labels) == (5, 2)

    def test_does_not_depend_on_batches(self):
        x, label = np.random.default_rng(0).normal(size=(40, 3)), np.arange(40) % 4
        space = quality.space_of([x])
        whole, parts = quality.Inertia(space), quality.Inertia(space)
        whole.add(x, label)
        for lo in range(0, 40, 7):
            parts.add(x[lo : lo + 7], label[lo : lo + 7])
        assert parts.value == pytest.approx(whole.value, rel=1e-12)

    def test_counts_in_units_of_the_space(self):
        seen = quality.Inertia(quality.Space(np.array([5.0]), np.array([2.0])))
        seen.add(np.array([[1.0], [9.0]]), np.array([0, 0]))  # -2 and 2
        assert seen.value == pytest.approx(8.0)

    def test_noise_is_a_group_but_no_label(self):
        seen = quality.Inertia(UNIT)
        seen.add(np.array([[0.0], [4.0], [7.0]]), np.array([-1, -1, 0]))
        assert (seen.value, seen.labels) == (pytest.approx(8.0), 1)

    def test_of_a_table(self, tmp_path):
        table = pa.table({"f0": [0.0, 2.0, 10.0], "segment": pa.array([0, 0, 1], pa.int32())})
        pq.write_table(table, tmp_path / "part.parquet")
        pq.write_table(table, tmp_path / "_truth.parquet")  # left out
        seen = quality.inertia(quality.table_of(tmp_path), "segment", ["f0"], UNIT)
        assert (seen.value, seen.rows) == (pytest.approx(2.0), 3)


class TestSpace:
    def test_mean_and_deviation_with_divisor_n(self):
        space = quality.space_of([np.array([[1.0, 7.0], [3.0, 7.0]]), np.array([[5.0, 7.0]])])
        assert space.mean.tolist() == [3.0, 7.0]
        # sqrt(8/3); a constant column is left as it is
        assert space.std == pytest.approx([math.sqrt(8 / 3), 1.0])

    def test_far_off_columns_do_not_cancel(self):
        space = quality.space_of([np.array([[1e9], [1e9 + 2]])])
        assert space.std == pytest.approx([1.0], rel=1e-9)


class TestMixture:
    def test_density_in_original_units(self):
        model = quality.Mixture.of(
            {"weights": [1.0], "means": [[0.0]], "covariances": [[[1.0]]], "centre": [3.0],
             "scale": [2.0]}
        )  # fmt: skip
        # N(3, 2^2) at 3 and at 5
        each = -0.5 * math.log(2 * math.pi) - math.log(2.0)
        assert model.log_likelihood(np.array([[3.0], [5.0]])) == pytest.approx(2 * each - 0.5)

    def test_two_components_and_correlation(self):
        model = quality.Mixture.of(
            {"weights": [0.5, 0.5], "means": [[0.0, 0.0], [0.0, 0.0]],
             "covariances": [[[2.0, 1.0], [1.0, 2.0]]] * 2, "centre": [0, 0], "scale": [1, 1]}
        )  # fmt: skip
        # det 3; (1, 1) lies at squared distance 2/3
        said = -math.log(2 * math.pi) - 0.5 * math.log(3.0) - 1 / 3
        assert model.log_likelihood(np.array([[1.0, 1.0]])) == pytest.approx(said)


class TestSummary:
    ROWS = (
        {"name": "ours", "status": "ok", "seconds": 3.0, "inertia_ratio": 1.0, "peak_mb": 10.0},
        {"name": "copy", "status": "ok", "seconds": 2.0, "inertia_ratio": None, "peak_mb": 5.0},
        {"name": "ours", "status": "ok", "seconds": 9.0, "inertia_ratio": 1.2, "peak_mb": 30.0},
        {"name": "copy", "status": "ok", "seconds": 2.0, "inertia_ratio": None, "peak_mb": 5.0},
        {"name": "ours", "status": "ok", "seconds": 5.0, "inertia_ratio": 1.1, "peak_mb": 20.0},
        {"name": "copy", "status": "failed with 1: x", "wall": 1.0},
        {"name": "gone", "status": "not installed: faiss"},
    )

    def test_medians_ranges_and_multiples_of_the_base(self):
        ours, copy, gone = record.summarise(self.ROWS, ("name",), {"name": "copy"})
        assert [ours[f"seconds_{m}"] for m in ("median", "min", "max")] == [5.0, 3.0, 9.0]
        assert (ours["times_base"], copy["times_base"]) == (2.5, 1.0)
        assert (ours["inertia_ratio"], ours["inertia_ratio_max"]) == (1.1, 1.2)
        assert ours["peak_mb_max"] == 30.0
        assert (copy["repeats"], copy["status"]) == (2, "failed with 1: x")
        assert (gone["repeats"], gone["status"]) == (0, "not installed: faiss")
        assert gone["times_base"] is None

    def test_without_a_good_base_there_is_no_multiple(self):
        rows = record.summarise(self.ROWS, ("name",), {"name": "gone"})
        assert [row["times_base"] for row in rows] == [None, None, None]

    def test_csv_has_every_column_of_any_row(self, tmp_path):
        path = record.write(tmp_path, "runs", [{"a": 1}, {"b": 2}])
        assert path.read_text().splitlines() == ["a,b", "1,", ",2"]


class TestProcesses:
    def test_wall_and_memory_of_the_tree(self):
        code = "import subprocess, sys, time\n"
        inner = "x = bytearray(b'1') * (90 << 20); import time; time.sleep(.6)"
        code += f"subprocess.run([sys.executable, '-c', {inner!r}])\nprint('{{\"a\": 1}}')"
        ran = run_of(code)
        assert (ran.code, ran.told) == (0, {"a": 1})
        assert ran.wall > 0.6
        assert ran.peak_mb is None or 90 < ran.peak_mb < 200

    def test_late_ones_are_killed_with_their_children(self, tmp_path):
        said = tmp_path / "pid"
        code = "import subprocess, sys, time\n"
        code += "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        code += f"open({str(said)!r}, 'w').write(str(p.pid)); time.sleep(60)"
        ran = run_of(code, timeout=2.0)
        assert ran.code == -9
        assert "killed after 2 s" in ran.complaint
        end = time.monotonic() + 5
        while _alive(int(said.read_text())):
            assert time.monotonic() < end
            time.sleep(0.05)

    def test_complaint_is_the_error_and_not_what_follows(self):
        assert "ZeroDivisionError" in run_of("1 / 0").complaint
        failing = 'print(\'{"error": {"message": "no such table"}}\'); raise SystemExit(66)'
        assert run_of(failing).complaint == "failed with 66: no such table"

    def test_an_absent_library_is_told(self, tmp_path):
        program = tmp_path / "absent.py"
        program.write_text(
            "import sys\n"
            f"sys.path.insert(0, {str(pipeline.PROGRAMS)!r})\n"
            "from contest import compete\n"
            "def prepare():\n    import no_such_library\n"
            "compete(prepare, lambda task, ready: {})\n"
        )
        task = json.dumps({"data": "d", "out": "o", "k": 2, "seed": 0})
        ran = measure.run([sys.executable, program, task])
        assert pipeline.told_by(ran, "dask")["status"] == "not installed: no_such_library"

    def test_blas_variables_are_left_out_unless_kept(self, monkeypatch):
        monkeypatch.setenv("OPENBLAS_CORETYPE", "Haswell")
        assert "OPENBLAS_CORETYPE" not in measure.environ(False)
        assert measure.environ(True)["OPENBLAS_CORETYPE"] == "Haswell"


def _alive(pid: int) -> bool:
    stat = Path(f"/proc/{pid}/stat")
    try:
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


class TestOpponents:
    def test_default_is_everybody_who_can(self):
        copies = ["copy", "copy-plain"]
        assert pipeline.chosen(None, ["spark"], "kmeans") == [*copies, "mllib"]
        assert pipeline.chosen(None, ["local", "spark"], "gmm") == [*copies, "sklearn", "mllib"]

    @pytest.mark.parametrize(
        ("asked", "said"), [("mllib", "runs on spark"), ("h2o", "no opponent 'h2o'")]
    )
    def test_who_cannot_is_refused(self, asked, said):
        with pytest.raises(SystemExit, match=said):
            pipeline.chosen(asked, ["local"], "kmeans")

    def test_every_program_is_there(self):
        named = {f"{p}.py" for where in pipeline.OPPONENTS.values() for p in where.values()}
        assert named <= {path.name for path in pipeline.PROGRAMS.glob("*.py")}

    def test_our_time_leaves_the_session_out(self):
        assert segpipe_run.working({"seconds": {"engine": 4.0, "write": 1.5, "fit": 0.5}}) == 2.0


class TestKernels:
    def test_roofline_is_the_slower_of_reading_and_computing(self):
        # 20 GB/s over 64 bytes; 115 GFLOP/s over 256 flops
        assert kernels.roofline(16, 8, 20.0, 115.0) == pytest.approx(312.5)
        assert kernels.roofline(16, 64, 20.0, 115.0) == pytest.approx(115e3 / 2048)

    def test_each_side_has_its_own_rows(self):
        spun = [0]

        def spin() -> None:
            spun[0] += 1
            end = time.process_time() + 0.01
            while time.process_time() < end:
                pass

        case = cases.Case("x", 1, 1, 1000, spin, "spin", spin, theirs_rows=100)
        row = kernels.measured(case, 2, 1.0)
        assert row["ratio"] == pytest.approx(10.0, rel=0.3)
        assert row["ours_mrows"] == pytest.approx(0.1, rel=0.3)

    def test_rows_lie_on_the_grid(self):
        block, centres = cases.rows_of(500, 3, 2)
        assert block.shape == (3, 500) and centres.shape == (2, 3)
        assert np.array_equal(np.rint(block * 2.0**20), block * 2.0**20)

    def test_a_mixture_step_agrees_with_the_librarys(self):
        what, gap = cases.em(3, 2, 10_000, "full").agrees()
        assert "log-likelihood" in what
        assert gap < 1e-6


class TestData:
    def test_blobs_are_made_once_and_whole(self, tmp_path):
        place = data.blobs(tmp_path, 1_003, 3, 2)
        files = data.parquet_files(place)
        assert sum(pq.read_metadata(f).num_rows for f in files) == 1_003
        assert len(files) == data.LEAST_FILES
        schema = pq.read_schema(files[0])
        assert schema.names == ["f0", "f1", "f2"]
        assert set(schema.types) == {pa.float32()}
        before = files[0].stat().st_mtime_ns
        assert data.blobs(tmp_path, 1_003, 3, 2) == place
        assert files[0].stat().st_mtime_ns == before

    def test_counts_may_be_written_with_an_exponent(self):
        assert bench.count("20e6") == 20_000_000
        for wrong in ("0", "1.5"):
            with pytest.raises(argparse.ArgumentTypeError):
                bench.count(wrong)

    def test_retail_columns_are_found_by_name(self, tmp_path):
        names = ["CustomerID", "InvoiceDate", "InvoiceNo", "Quantity", "UnitPrice"]
        path = tmp_path / "retail.parquet"
        pq.write_table(pa.table({name: [1] for name in names}), path)
        assert start.transactions(path)["source"]["columns"]["order_id"] == "InvoiceNo"
        pq.write_table(pa.table({"CustomerID": [1]}), path)
        with pytest.raises(SystemExit, match="no column for"):
            start.transactions(path)


def test_the_group_by_by_hand_is_the_same_group_by(tmp_path):
    """Law: what rfm is measured against computes every feature that rfm does."""
    place = data.transactions(tmp_path, 3_000)
    env = measure.environ(False)
    assert rfm._ours(place, tmp_path, env)["status"] == "ok"
    assert rfm._theirs(place, tmp_path, env)["status"] == "ok"
    worst = rfm.differences(tmp_path)
    assert len(worst) == 5
    assert max(worst.values()) < 1e-9


def test_pipeline_from_the_command_to_the_csv(tmp_path):
    out = tmp_path / "out"
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/bench.py", "pipeline", "--rows", "20000", "--engine",
         "local", "--opponents", "sklearn,copy", "--repeats", "1", "--reference-runs", "2",
         "--no-warm-up", "--data", tmp_path / "data", "--out", out],
        capture_output=True, text=True, env=os.environ, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with (out / "runs.csv").open() as stream:
        runs = {row["name"]: row for row in csv.DictReader(stream)}
    assert list(runs) == ["segpipe, labels only", "sklearn", "copy"]
    assert {row["status"] for row in runs.values()} == {"ok"}
    columns = {"engine", "repeat", "seconds", "wall", "peak_mb", "bytes_out", "inertia", "labels"}
    columns |= {"inertia_ratio", "rows", "d", "k", "rows_per_s", "stages"}
    assert columns <= set(runs["copy"])
    ours = runs["segpipe, labels only"]
    assert ours["labels"] == "8"
    assert float(ours["inertia_ratio"]) < 1.001
    assert float(ours["rows_per_s"]) == pytest.approx(20_000 / float(ours["seconds"]))
    assert runs["copy"]["inertia"] == ""
    with (out / "summary.csv").open() as stream:
        summary = {row["name"]: row for row in csv.DictReader(stream)}
    told = float(summary["sklearn"]["times_base"])
    assert told == pytest.approx(float(runs["sklearn"]["wall"]) / float(runs["copy"]["wall"]))
    kept = json.loads((out / "environment.json").read_text())
    assert {"cpu", "cores", "memory", "load_average", "packages", "variables"} <= set(kept)
    assert (out / "pipeline.png").stat().st_size > 5_000
    left = {path.name for path in (tmp_path / "data").iterdir()}
    assert left == {"blobs-20000x16-k8-s0", "blobs-20000x16-k8-s0.reference.json"}
