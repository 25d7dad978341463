"""``segpipe advise``: which algorithm fits a table, measured assumption by assumption."""

from __future__ import annotations

from segpipe.advise.command import advise, names_in

__all__ = ["advise", "names_in"]
