"""``bench.py kernels``: rows per second and core, ours and theirs in turn in one process.

Single-threaded, CPU time, best of the repeats: what is compared is code, not the machine's other
work. The roofline is measured in the same run: a Lloyd step must read 4 d bytes a row and do
2 d k floating-point operations, so it cannot do more rows a second than the slower of the two.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.linalg.blas
from threadpoolctl import threadpool_info, threadpool_limits

from benchmarks import cases, record

LEAST_SECONDS = 0.02
"""A timing repeats its call until it lasts this long."""
COLUMNS = ("kernel", "d", "k", "ours_mrows", "theirs_mrows", "ratio", "roof_mrows", "of_roof",
           "differs", "compared", "against")  # fmt: skip


def bench(asked: argparse.Namespace, told: dict[str, Any]) -> None:
    """Measure, print and write everything."""
    rows: list[record.Row] = []
    with threadpool_limits(1):
        told["sgemm_gflops"] = sgemm(asked.repeats)
        for build in cases.chosen(
            asked.only, asked.shapes, asked.d, asked.k, asked.rows, asked.sample
        ):
            row = measured(build(), asked.repeats, told["sgemm_gflops"])
            rows.append(row)
            print(record.show([row], COLUMNS).splitlines()[1], file=sys.stderr, flush=True)
        told["thread_pools"] = threadpool_info()
    record.write(asked.out, "summary", rows)
    record.write_environment(asked.out, told)
    bars = [
        (
            f"segpipe {row['kernel']} d{row['d']} k{row['k']}",
            dict.fromkeys(("median", "min", "max"), row["ratio"]),
            f"{row['ours_mrows']:.3g} M rows/s",
        )
        for row in rows
        if row["ratio"]
    ]
    record.plot(
        asked.out / "kernels.png",
        f"One core, best of {asked.repeats}: how many times as fast as the library",
        bars,
        "times",
    )
    print(record.show(rows, COLUMNS))
    print(f"SGEMM {told['sgemm_gflops']:.0f} GFLOP/s; read bandwidth per row in summary.csv")


def measured(case: cases.Case, repeats: int, gflops: float) -> record.Row:
    """One line of the table."""
    calls = [case.ours] + ([case.theirs] if case.theirs else [])
    best = in_turn(calls, repeats)
    ours = case.rows / best[0]
    row: record.Row = {"kernel": case.kernel, "d": case.d, "k": case.k, "rows": case.rows}
    row |= {"ours_mrows": ours / 1e6, "against": case.against, "theirs_mrows": None, "ratio": None}
    if case.theirs:
        theirs = (case.theirs_rows or case.rows) / best[1]
        row |= {"theirs_mrows": theirs / 1e6, "ratio": ours / theirs}
    if case.agrees:
        row["compared"], row["differs"] = case.agrees()
    if case.kernel == "lloyd":
        bandwidth = read_gbytes(4 * case.d * case.rows, repeats)
        roof = roofline(case.d, case.k, bandwidth, gflops)
        row |= {"read_gbytes": bandwidth, "roof_mrows": roof, "of_roof": ours / 1e6 / roof}
    return row


def roofline(d: int, k: int, gbytes: float, gflops: float) -> float:
    """Million rows per second that reading (4 d bytes a row) and computing (2 d k) allow."""
    return min(gbytes * 1e3 / (4 * d), gflops * 1e3 / (2 * d * k))


def in_turn(calls: list[Callable[[], Any]], repeats: int) -> list[float]:
    """Least CPU seconds of a call each; one after the other in every repeat."""
    loops = []
    for call in calls:
        call()  # compiles, fills caches
        start = time.process_time()
        call()
        loops.append(max(1, round(LEAST_SECONDS / max(time.process_time() - start, 1e-6))))
    best = [float("inf")] * len(calls)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            start = time.process_time()
            for _ in range(loops[i]):
                call()
            best[i] = min(best[i], (time.process_time() - start) / loops[i])
    return best


def sgemm(repeats: int) -> float:
    """GFLOP/s of one core in a 1024^3 float32 product, by the faster of two BLAS."""
    a = np.asfortranarray(np.random.default_rng(0).random((1024, 1024), np.float32))
    out = np.empty_like(a)
    calls = [
        lambda: np.matmul(a, a, out=out),
        lambda: scipy.linalg.blas.sgemm(1.0, a, a, c=out, overwrite_c=1),
    ]
    return 2 * 1024**3 / min(in_turn(calls, repeats)) / 1e9


def read_gbytes(size: int, repeats: int) -> float:
    """GB/s at which one core reads as many bytes as the case's rows hold, by the fastest reader.

    The same size, because part of it may lie in a cache: the bound must not be too low.
    """
    block = np.ones(max(size // 4, 2), np.float32)
    half, whole = len(block) // 2, block[: len(block) // 2 * 2].view(np.int64)
    calls = [
        block.sum,
        block.max,
        lambda: np.bitwise_or.reduce(whole),
        lambda: scipy.linalg.blas.sdot(block[:half], block[half : 2 * half]),
    ]
    return block.nbytes / min(in_turn(calls, repeats)) / 1e9
