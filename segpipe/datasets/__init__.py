"""Synthetic tables with known truth, for demos, tests and benchmarks; none of it is real data."""

from segpipe.datasets.make import KINDS, Made, make

__all__ = ["KINDS", "Made", "make"]
