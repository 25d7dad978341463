#!/usr/bin/env bash
# The tests that take minutes each: a million rows, clusters of processes, kills.
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh all
exec .venv/bin/python -m pytest -m slow "$@"
