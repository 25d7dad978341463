"""The errors a user meets: what was asked, what was found, what to do, may a scheduler retry.

Exit codes follow BSD sysexits; the README lists what each one covers.
"""

from __future__ import annotations

import os

OK = os.EX_OK
USAGE = 2


class SegpipeError(Exception):
    """Base of every expected failure; ``code`` is the process exit code."""

    code: int = os.EX_SOFTWARE

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def __reduce__(self) -> tuple[type[SegpipeError], tuple[str, str]]:
        # Errors are raised in Spark and Dask workers too: both fields must survive the way back.
        return type(self), (self.message, self.hint)


class FlagError(SegpipeError):
    """A command-line flag cannot be read (2)."""

    code = USAGE


class DataError(SegpipeError):
    """The data break the contract or a quality gate (65): a retry cannot help."""

    code = os.EX_DATAERR


class InputMissing(SegpipeError):
    """A path is absent or unreadable, or the table is empty (66)."""

    code = os.EX_NOINPUT


class TemporaryError(SegpipeError):
    """A cluster, store or lock is not available now (75): a retry may help."""

    code = os.EX_TEMPFAIL


class ConfigError(SegpipeError):
    """The config or the environment cannot work (78)."""

    code = os.EX_CONFIG


def said(error: BaseException) -> str:
    """What ``error`` says, without the full stop that the sentence around it brings."""
    return str(error).strip().removesuffix(".")
