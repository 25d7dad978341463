#!/usr/bin/env python
"""Speed, memory and quality of segpipe beside its peers: one command, ratios in one run.

    scripts/bench.sh kernels                          our loops against scikit-learn's, roofline
    scripts/bench.sh pipeline --rows 20e6 --engine all --outliers none,mass
    scripts/bench.sh rfm --rows 10e6                  against the same group-by by hand in Polars
    scripts/bench.sh start --table sales.parquet      small tables: what a user waits for
    scripts/bench.sh workers --rows 20e6              one worker against two, Dask and Spark
    scripts/bench.sh pytest                           the kernels with pytest-benchmark

Every command writes runs.csv, summary.csv, environment.json and a plot into --out. Tables are
generated once into --data. Nothing else should run on the machine meanwhile: the load average at
the start is recorded. Options of each command: --help after it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from benchmarks import measure, record

SHAPES = "16x8,16x64,8x5,64x64,4x12"
SWEEP = "2x2,2x1000,4x12,8x5,16x8,16x64,16x1000,32x32,64x64,128x8,128x128,256x2,256x64,256x1000"


def count(text: str) -> int:
    """Row counts may be written as 20e6."""
    value = float(text)
    if value < 1 or value != int(value):
        raise argparse.ArgumentTypeError(f"{text} is no whole number above 0")
    return int(value)


def parser() -> argparse.ArgumentParser:
    """All commands and their options."""
    top = argparse.ArgumentParser(
        prog="bench.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--data", type=Path, default=Path(tempfile.gettempdir()) / "segpipe-bench",
                        help="cache of generated tables, and work space")  # fmt: skip
    common.add_argument("--out", type=Path, help="folder of the results; bench-out/<time>-<what>")
    common.add_argument("--repeats", type=count, help="of everything, in turn")
    common.add_argument(
        "--keep-blas", action="store_true", help=f"leave {', '.join(measure.SLOWS_BLAS)} set"
    )
    commands = top.add_subparsers(dest="what", required=True)

    def command(name: str, repeats: int, says: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, parents=[common], help=says, description=says)
        added.set_defaults(repeats=repeats)
        return added

    kernels = command("kernels", 7, "loops on one core: ours and the libraries' in turn, best of")
    kernels.add_argument("--only", default="lloyd,em,mass,forest,lookup")
    kernels.add_argument("--shapes", default=SHAPES, help="features x centres of the Lloyd step")
    kernels.add_argument("--sweep", action="store_true", help=f"--shapes {SWEEP}")
    kernels.add_argument("--d", type=count, default=16, help="features of the other kernels")
    kernels.add_argument("--k", type=count, default=8, help="components of the mixture")
    kernels.add_argument("--rows", type=count, default=1_000_000)
    kernels.add_argument("--sample", type=count, default=20_000, help="cores of the look-up")

    pipeline = command("pipeline", 5, "Parquet to labelled Parquet against peers and a bare copy")
    pipeline.add_argument("--rows", type=count, default=20_000_000)
    pipeline.add_argument("--d", type=count, default=16)
    pipeline.add_argument("--k", type=count, default=8)
    pipeline.add_argument("--engine", choices=["local", "dask", "spark", "all"], default="local")
    pipeline.add_argument("--model", choices=["kmeans", "gmm"], default="kmeans")
    pipeline.add_argument("--outliers", default="none", help="ours: none, mass or none,mass")
    pipeline.add_argument("--memory", default="auto", help="ours: engine.memory, e.g. 512MiB")
    pipeline.add_argument("--k-auto", action="store_true", help="ours once more with k = auto")
    pipeline.add_argument("--opponents", help="names with commas; default: all of the engine")
    pipeline.add_argument("--reference-runs", type=int, default=10)
    pipeline.add_argument("--data-seed", type=int, default=0)
    pipeline.add_argument("--no-warm-up", dest="warm_up", action="store_false")
    pipeline.add_argument("--timeout", type=float, help="seconds after which an opponent is killed")

    rfm = command("rfm", 5, "transactions to segmented customers against a group-by by hand")
    rfm.add_argument("--rows", type=count, default=10_000_000)

    start = command("start", 5, "whole processes on small tables")
    start.add_argument("--mall", type=Path, help="mall table; default: a synthetic one")
    start.add_argument("--table", type=Path, help="transactions, e.g. online_retail")

    workers = command("workers", 3, "two local workers against one")
    workers.add_argument("--rows", type=count, default=20_000_000)
    workers.add_argument("--d", type=count, default=16)
    workers.add_argument("--k", type=count, default=8)
    workers.add_argument("--engine", choices=["dask", "spark", "all"], default="all")
    return top


def main(arguments: list[str] | None = None) -> None:
    """Measure what was asked for."""
    asked = parser().parse_args(arguments)
    if asked.out is None:
        stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
        asked.out = record.ROOT / "bench-out" / f"{stamp}-{asked.what}"
    if asked.what == "kernels":
        if asked.sweep:
            asked.shapes = SWEEP
        clean = measure.environ(asked.keep_blas) | {"OPENBLAS_NUM_THREADS": "1"}
        if clean != dict(os.environ):  # BLAS reads its settings once, when it is loaded
            os.execve(sys.executable, [sys.executable, __file__, *sys.argv[1:]], clean)
    asked.data.mkdir(parents=True, exist_ok=True)
    told = record.environment(vars(asked))
    record.write_environment(asked.out, told)
    importlib.import_module(f"benchmarks.{asked.what}").bench(asked, told)
    print(f"results in {asked.out}", file=sys.stderr)


if __name__ == "__main__":
    main()
