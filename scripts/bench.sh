#!/usr/bin/env bash
# Sets up what the benchmarks need (FAISS beside every extra), then measures; see scripts/bench.py.
# MLlib is only at its best with a native BLAS: on Debian, apt-get install libopenblas0.
#   scripts/bench.sh kernels | pipeline | rfm | start | workers [options]
#   scripts/bench.sh pytest [options]    the kernels with pytest-benchmark
set -euo pipefail
cd "$(dirname "$0")/.."
bash scripts/setup.sh bench
if [ "${1:-}" = pytest ]; then
    exec .venv/bin/python -m pytest tests/bench -m bench "${@:2}"
fi
exec .venv/bin/python scripts/bench.py "$@"
