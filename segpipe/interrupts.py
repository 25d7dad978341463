"""SIGTERM and SIGINT end a run where that leaves the target untouched, and nowhere else.

A signal raises ``Interrupted`` in the main thread; once the commit has begun it is only noted, so
that a run never says "interrupted" of labels that it has published.
"""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from typing import Any

CODES = {signal.SIGTERM: 143, signal.SIGINT: 130}


class Interrupted(BaseException):
    """The run was told to stop."""

    def __init__(self, signum: int = signal.SIGINT) -> None:
        super().__init__(signal.Signals(signum).name)
        self.code = CODES[signal.Signals(signum)]


class Interrupts:
    """What the signals of one run do; ``held``: nothing any more."""

    def __init__(self) -> None:
        self._ours = False
        self.held = False
        self._told: int | None = None

    @contextlib.contextmanager
    def watched(self) -> Iterator[None]:
        """Our handlers, then the caller's again; outside the main thread the caller's stay."""
        try:
            before = {s: signal.signal(s, self._stop) for s in CODES}
        except ValueError:
            yield
            return
        self._ours = True
        try:
            yield
        finally:
            self._ours = False
            for s, handler in before.items():
                signal.signal(s, handler)

    def renew(self) -> None:
        """Our handlers once more: a new SparkContext puts its own on SIGINT."""
        if self._ours:
            for s in CODES:
                signal.signal(s, self._stop)

    def hold(self) -> None:
        """From here on signals do nothing.

        Raises
        ------
        Interrupted
            One came before, and a library swallowed what it raised.
        """
        self.held = True
        if self._told is not None:
            raise Interrupted(self._told)

    def _stop(self, signum: int, _: Any) -> None:
        if not self.held:
            self._told = signum
            raise Interrupted(signum)
