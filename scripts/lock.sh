#!/usr/bin/env bash
# Renews the pinned requirements (with hashes, no index address) from pyproject.toml. Needs uv.
set -euo pipefail
cd "$(dirname "$0")/.."
common=(--universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate --no-header --quiet)
uv pip compile pyproject.toml --extra report "${common[@]}" -o scripts/requirements/core.txt "$@"
uv pip compile pyproject.toml --extra dev -c scripts/requirements/core.txt "${common[@]}" -o scripts/requirements/all.txt "$@"
uv pip compile pyproject.toml --extra bench -c scripts/requirements/all.txt "${common[@]}" -o scripts/requirements/bench.txt "$@"
# The demo reads one data file out of this package (MIT) and never installs it.
echo "lifetimes==0.11.3" |
    uv pip compile - --no-deps "${common[@]}" -o scripts/requirements/demo.txt "$@"
