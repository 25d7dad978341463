"""The process around a command: ``segpipe``, ``python -m segpipe`` and the job files.

Expected errors become one message and their exit code.
"""

from __future__ import annotations

import atexit
import gc
import json
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from typer.exceptions import TyperException

from segpipe.commands import app
from segpipe.errors import USAGE, SegpipeError


def _guarded(call: Callable[[], Any], debug: bool) -> int:
    """Run a command; expected errors become one message and their exit code."""
    try:
        call()
    except SegpipeError as error:
        if debug:
            raise
        print(f"error: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  hint: {error.hint}", file=sys.stderr)
        return error.code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    if argv is None:  # the process is ours
        # A run makes few cycles and much that stays: the search is a tenth of a short run.
        gc.set_threshold(20_000, 20, 20)
        atexit.register(gc.freeze)  # nothing is looked through once more before the process ends
    args = list(sys.argv[1:] if argv is None else argv)
    command = typer.main.get_command(app)
    outcome: list[int] = []

    def call() -> None:
        # standalone mode prints usage errors and raises SystemExit(2) for them
        try:
            command.main(args=args, prog_name="segpipe", standalone_mode=True)
        except SystemExit as stop:
            if isinstance(stop.__context__, TyperException):
                _refused(args, stop.__context__)
            outcome.append(stop.code if isinstance(stop.code, int) else USAGE)

    code = _guarded(call, "--debug" in args)
    sys.exit(code or (outcome[0] if outcome else 0))


def _refused(args: Sequence[str], error: TyperException) -> None:
    """The summary of a command line that was not understood: a scheduler reads it all the same."""
    if args and args[0] in ("run", "fit", "score", "palette"):
        from segpipe.summary import blank

        said = {"code": USAGE, "message": error.format_message()}
        hint = f"segpipe {args[0]} --help lists the options."
        print(json.dumps({**blank(args[0]), "error": {**said, "hint": hint}}, allow_nan=False))


def job(default_config: str, args: Sequence[str]) -> int:
    """Run ``segpipe run`` for a job file: ``--config PATH``; engine Spark under spark-submit."""
    rest, config = list(args), default_config
    if "--config" in rest:
        at = rest.index("--config")
        if at + 1 == len(rest):
            print("error: --config needs a path", file=sys.stderr)
            return USAGE
        config = rest[at + 1]
        del rest[at : at + 2]
    # spark-submit hands the driver its gateway; then the submission decides where work is done
    if "PYSPARK_GATEWAY_PORT" in os.environ and "--engine" not in rest:
        rest += ["--engine", "spark"]
    try:
        main(["run", config, *rest])
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else USAGE
    return 0
