#!/usr/bin/env bash
# Sets everything up (Python and git are enough) and runs the checks and the tests.
#   scripts/test.sh                 the default suite
#   scripts/test.sh tests/unit -k x any pytest arguments instead
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh all
bash scripts/check.sh
exec .venv/bin/python -m pytest -m "not slow" "$@"
