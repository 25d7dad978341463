#!/usr/bin/env bash
# Style, types and layers, cheap first. Needs the environment of scripts/test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
bin=.venv/bin
"$bin"/ruff check .
"$bin"/ruff format --check .
"$bin"/mypy
"$bin"/lint-imports --no-cache
