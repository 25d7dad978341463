#!/usr/bin/env bash
# Builds dist/: the wheel, and segpipe.zip for `spark-submit --py-files`.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh core
rm -rf build dist segpipe.egg-info
.venv/bin/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
.venv/bin/python - <<'PY'
import pathlib, zipfile

(wheel,) = pathlib.Path("dist").glob("segpipe-*.whl")
with zipfile.ZipFile(wheel) as built, zipfile.ZipFile(
    "dist/segpipe.zip", "w", zipfile.ZIP_DEFLATED
) as out:
    for name in sorted(built.namelist()):
        if name.startswith("segpipe/"):
            # one date for all members: the same sources give the same bytes
            member = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            out.writestr(member, built.read(name), zipfile.ZIP_DEFLATED)
PY
rm -rf build segpipe.egg-info
ls -l dist
