"""Compiled and vectorised arithmetic on Arrow and NumPy arrays; the only place that imports numba."""
