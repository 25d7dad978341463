"""Compiled and vectorised arithmetic on Arrow and NumPy arrays; nothing else imports numba."""
