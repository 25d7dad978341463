"""The command line as a process: light start, exit codes of bad flags, one summary line."""

import json
import subprocess
import sys

import numpy as np
import pytest


def segpipe(*args, cwd=None):
    return subprocess.run(  # noqa: PLW1510 - the exit code is what is tested
        [sys.executable, "-m", "segpipe", *args], capture_output=True, text=True, cwd=cwd
    )


def test_help_imports_no_engine_and_no_heavy_library():
    code = (
        "import sys\nfrom segpipe.cli import main\n"
        "try: main(['--help'])\nexcept SystemExit as e: assert e.code == 0\n"
        "heavy = {'pyspark','dask','polars','numba','sklearn','pandas','pyarrow','numpy'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout.strip().endswith("loaded []"), done.stdout + done.stderr


def test_a_small_run_loads_neither_a_compiler_nor_another_library_than_ours(tmp_path):
    rng = np.random.default_rng(5)
    centre = rng.permutation(np.repeat([[20.0, 80.0], [60.0, 15.0], [90.0, 90.0]], 66, axis=0))
    rows = np.rint(centre + rng.normal(0, 4, centre.shape))
    lines = [f"{i},{a:.0f},{b:.0f}" for i, (a, b) in enumerate(rows)]
    (tmp_path / "t.csv").write_text("\n".join(["customer_id,income,spending", *lines]))
    (tmp_path / "c.yaml").write_text(
        "source: {uri: t.csv, format: csv}\ncontract: {keys: [customer_id]}\n"
        "features: {set: columns, columns: [income, spending]}\n"
        "target: {uri: out, format: parquet}\n"
    )
    code = (
        "import sys\nfrom segpipe.cli import main\n"
        "try: main(['run', 'c.yaml'])\nexcept SystemExit as e: assert e.code == 0\n"
        "heavy = {'pyspark','dask','numba','sklearn','scipy.spatial','pandas','deltalake',"
        "'matplotlib'}\n"
        "print('loaded', sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path
    )
    summary, loaded = done.stdout.splitlines()[-2:]
    assert loaded == "loaded []", done.stdout + done.stderr
    assert json.loads(summary)["model"]["k"] == 3 and json.loads(summary)["report"]


def test_pyarrow_learns_of_pandas_when_it_is_asked():
    code = (
        "import sys\nfrom segpipe.light import with_pandas, without_pandas\n"
        "without_pandas()\nimport pyarrow as pa\npa.array([1.5])\n"
        "assert 'pandas' not in sys.modules\nwith_pandas()\nimport pandas as pd\n"
        "table = pa.Table.from_pandas(pd.DataFrame({'a': pd.Categorical(['x', None])}))\n"
        "assert pa.types.is_dictionary(table.schema.field('a').type)\n"
        "assert pa.array(pd.Series([1.0, None])).null_count == 1\n"
        "without_pandas()\nassert table.to_pandas().a[0] == 'x'\nprint('good')"
    )
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-c", code], capture_output=True, text=True
    )
    assert done.stdout.strip() == "good", done.stderr


@pytest.mark.parametrize("line", [("run", "c.yaml", "--nope"), ("score", "c.yaml"), ("palette",)])
def test_a_bad_flag_exits_2_and_says_so_in_the_summary_too(line):
    done = segpipe(*line)
    summary = json.loads(done.stdout.splitlines()[-1])
    assert (done.returncode, summary["status"], summary["error"]["code"]) == (2, "failed", 2)
    assert summary["error"]["message"] in done.stderr


def test_other_commands_print_no_summary():
    done = segpipe("labels", "--nope")
    assert (done.returncode, done.stdout) == (2, "")


def test_schema_is_json_and_hides_what_is_not_in_this_version():
    schema = json.loads(segpipe("schema").stdout)
    text = json.dumps(schema)
    assert "iceberg" not in text and "llm" not in text
    assert schema["properties"]["fit"]


def test_a_failure_still_ends_in_one_summary_line(tmp_path):
    done = segpipe("run", "absent.yaml", cwd=tmp_path)
    assert done.returncode == 66
    summary = json.loads(done.stdout.splitlines()[-1])
    assert summary["status"] == "failed" and summary["error"]["code"] == 66
    assert "Traceback" not in done.stderr


def test_a_day_that_is_none_exits_2(tmp_path):
    (tmp_path / "c.yaml").write_text("source: {uri: x}\ntarget: {uri: y}\n")
    done = segpipe("run", "c.yaml", "--as-of", "2021-13-01", cwd=tmp_path)
    assert done.returncode == 2
    assert json.loads(done.stdout.splitlines()[-1])["error"]["code"] == 2
