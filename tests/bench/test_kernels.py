"""The kernels and the libraries' under pytest-benchmark, the same cases as ``bench.py kernels``.

    scripts/bench.sh pytest [--benchmark-compare ...]

Deselected everywhere else (conftest.py). Times only: ratios and rooflines come from bench.py.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from threadpoolctl import threadpool_limits

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
from benchmarks import cases

pytestmark = pytest.mark.bench

ROWS = 200_000
CASES = {
    "lloyd-d16-k8": lambda: cases.lloyd(16, 8, ROWS),
    "lloyd-d16-k64": lambda: cases.lloyd(16, 64, ROWS),
    "em-full-d16-k8": lambda: cases.em(16, 8, ROWS, "full"),
    "em-diag-d16-k8": lambda: cases.em(16, 8, ROWS, "diag"),
    "mass-d16": lambda: cases.mass(16, ROWS),
    "forest-d16": lambda: cases.forest(16, ROWS),
    "lookup-d5": lambda: cases.lookup(5, ROWS, 5_000),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[cases.Case]:
    with threadpool_limits(1):
        yield CASES[request.param]()


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("side", ["ours", "theirs"])
def test_a_call(benchmark, case: cases.Case, side: str) -> None:
    call = getattr(case, side)
    if call is None:
        pytest.skip(case.against)
    benchmark.group = f"{case.kernel} d{case.d} k{case.k}"
    rows = case.rows if side == "ours" else case.theirs_rows or case.rows
    benchmark.extra_info |= {"rows": rows, "against": case.against}
    call()  # compiled once
    benchmark.pedantic(call, rounds=7, iterations=1)
