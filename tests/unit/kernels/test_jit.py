"""Compiled once per machine: from a zip, without a home, after a change in another module."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import segpipe

PACKAGE = Path(segpipe.__file__).parent
JOB = """
import json, sys
sys.path.insert(0, sys.argv[1])
import numpy as np
from segpipe.kernels import jit, mass_jit
from segpipe.kernels.nearest_jit import squared_distances
out = np.empty(2, np.float32)
x = np.array([[1, 2], [3, 5]], np.float32)
squared_distances(x, 0, 2, np.array([1, 1], np.float32), out)
stats = squared_distances.stats
print(json.dumps([out.tolist(), sum(stats.cache_hits.values()), str(jit.folder()), jit.__file__]))
"""


def zipped(place: Path, **changed: str) -> Path:
    with zipfile.ZipFile(place, "w") as out:
        for path in sorted(PACKAGE.rglob("*.py")):
            text = path.read_text() + changed.get(path.stem, "")
            out.writestr(str(path.relative_to(PACKAGE.parent)), text)
    return place


def run(archive: Path, environ: dict[str, str]) -> tuple[list[float], int, str]:
    done = subprocess.run(
        [sys.executable, "-c", JOB, str(archive)],
        env={"PATH": os.environ["PATH"], **environ},
        cwd=archive.parent,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out, hits, folder, file = json.loads(done.stdout)
    assert str(archive) in file
    return out, hits, folder


def test_two_zips_of_one_version_share_machine_code(tmp_path):
    # Spark unpacks the zip elsewhere in every application.
    (tmp_path / "one").mkdir()
    (tmp_path / "two").mkdir()
    first, second = zipped(tmp_path / "one" / "p.zip"), zipped(tmp_path / "two" / "p.zip")
    home = {"HOME": str(tmp_path / "home")}
    assert run(first, home) == ([4.0, 17.0], 0, run(first, home)[2])
    out, hits, folder = run(second, home)
    assert (out, hits) == ([4.0, 17.0], 1)
    assert folder.startswith(str(tmp_path / "home" / ".cache"))
    # Loops inline those of other modules, so a change anywhere compiles anew.
    third = zipped(tmp_path / "two" / "q.zip", mass_jit="\n# changed\n")
    out, hits, other = run(third, home)
    assert (out, hits) == ([4.0, 17.0], 0) and other != folder


def test_without_a_home_the_temporary_folder_serves_and_without_both_nothing_breaks(tmp_path):
    archive = zipped(tmp_path / "p.zip")
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "tmp").mkdir()
    home = {"HOME": str(tmp_path / "file"), "TMPDIR": str(tmp_path / "tmp")}
    assert run(archive, home)[:2] == ([4.0, 17.0], 0)
    assert run(archive, home)[:2] == ([4.0, 17.0], 1)
    ours = tmp_path / "tmp" / f"segpipe-{os.getuid()}"
    assert ours.stat().st_mode & 0o777 == 0o700
    # numba unpickles machine code: a folder that others can write to is not used.
    ours.chmod(0o777)
    assert run(archive, home) == ([4.0, 17.0], 0, "None")
