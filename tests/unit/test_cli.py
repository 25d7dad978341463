"""The command line as a process: light start, exit codes of bad flags, one summary line."""

import json
import subprocess
import sys


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


def test_an_unknown_flag_exits_2():
    assert segpipe("run", "c.yaml", "--nope").returncode == 2


def test_schema_is_json_and_hides_what_is_not_in_this_version():
    schema = json.loads(segpipe("schema").stdout)
    text = json.dumps(schema)
    assert "zeek" not in text and "iceberg" not in text and "stratum" not in text
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
