"""``segpipe check``: every problem of a config with its source and target at once."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from segpipe.engines.open import open_engine
from segpipe.errors import SegpipeError
from segpipe.features.sets import SETS
from segpipe.lake.publish import open_target
from segpipe.lake.tables import open_table
from segpipe.pipeline import reading_of, settings_of
from segpipe.stages import intake, orders, palette


def check(path: str, engine: str | None, overrides: tuple[str, ...]) -> list[tuple[int, str]]:
    """Every problem of a config with its source and target, as (exit code, sentence)."""
    found: list[tuple[int, str]] = []

    @contextlib.contextmanager
    def noting() -> Iterator[None]:
        try:
            yield
        except SegpipeError as error:
            found.append((error.code, str(error)))

    with noting():
        c = settings_of(path, engine, overrides)
        with noting():
            open_target(c.target.uri, c.target.format).check(c.target.partition_by)
        with noting():
            if c.source.format == "image":
                palette.open_image(c.source.uri)
                return found
            table = open_table(
                c.source.uri, c.source.format, reading_of(c), c.source.where, (), c.source.columns
            )
            if c.source.format == "table":
                return found  # the catalogue answers to its engine only
            with open_engine("local") as local:
                plan = intake.plan_for(local, table, c.source, c.contract, c.features)
            grouped = bool(SETS[c.features.set].keys)
            carry = intake.carried_columns(
                table, orders.keep_of(c), grouped, c.target.partition_by, plan
            )
            intake.compiled(table, plan, c.source, c.contract, None, carry)
    return found
