"""The commands of ``segpipe`` and their options.

Light to import: everything heavy is loaded by the command that needs it. ``run``, ``fit``,
``score`` and ``palette`` print one JSON object, the run summary, as the last line of stdout,
also when they fail; everything else goes to stderr.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from segpipe.light import without_pandas

app = typer.Typer(
    name="segpipe",
    help="Segment customers and score network logs: one config, three engines, one answer.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
data = typer.Typer(help="Realistic tables with known truth.", no_args_is_help=True)
app.add_typer(data, name="data")

COLUMNS = """features; default: as a run; a name with a comma in double quotes: '"a,b",c'"""
ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="YAML file, see conf/")]
EngineName = Annotated[str | None, typer.Option("--engine", help="local | dask | spark")]
AsOf = Annotated[str | None, typer.Option("--as-of", metavar="DATE", help="UTC day, inclusive")]
Partition = Annotated[
    list[str] | None, typer.Option("--partition", metavar="COL=VALUE", help="only these rows")
]
RunId = Annotated[str | None, typer.Option("--run-id", help="published once per id")]
Set = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="override")]
ModelUri = Annotated[str | None, typer.Option("--model", metavar="URI", help="a fitted model")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="everything but the writing")]
Debug = Annotated[bool, typer.Option("--debug", help="show the traceback of an error")]


def _request(
    config: Path,
    engine: str | None,
    as_of: str | None,
    partition: list[str] | None,
    run_id: str | None,
    overrides: list[str] | None,
) -> dict[str, Any]:
    return {
        "config": str(config),
        "engine": engine,
        "as_of": as_of,
        "partitions": tuple(partition or ()),
        "run_id": run_id,
        "overrides": tuple(overrides or ()),
    }


def _finish(call: Callable[[], dict[str, Any]], debug: bool) -> None:
    """Print the summary that ``call`` returns as the last line and exit with its code."""
    without_pandas()
    from segpipe.pipeline import RunFailed

    try:
        summary, code = call(), 0
    except RunFailed as failed:
        summary, code = failed.summary, failed.code
        if debug and failed.__cause__ is not None:
            import traceback

            traceback.print_exception(failed.__cause__)
    sys.stdout.write(json.dumps(summary, allow_nan=False) + "\n")
    sys.stdout.flush()
    raise typer.Exit(code)


@app.command()
def run(
    config: ConfigPath,
    engine: EngineName = None,
    as_of: AsOf = None,
    partition: Partition = None,
    run_id: RunId = None,
    overrides: Set = None,
    model: ModelUri = None,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Fit, score, label and publish."""
    request = _request(config, engine, as_of, partition, run_id, overrides)

    def call() -> dict[str, Any]:
        from segpipe import pipeline

        mode = "score" if model else "run"
        return pipeline.execute(mode=mode, model=model, dry_run=dry_run, **request).summary

    _finish(call, debug)


@app.command()
def fit(
    config: ConfigPath,
    engine: EngineName = None,
    as_of: AsOf = None,
    partition: Partition = None,
    run_id: RunId = None,
    overrides: Set = None,
    debug: Debug = False,
) -> None:
    """Fit and register a model; publish no labels."""
    request = _request(config, engine, as_of, partition, run_id, overrides)

    def call() -> dict[str, Any]:
        from segpipe import pipeline

        return pipeline.execute(mode="fit", **request).summary

    _finish(call, debug)


@app.command()
def score(
    config: ConfigPath,
    model: Annotated[str, typer.Option("--model", metavar="URI", help="a fitted model")],
    engine: EngineName = None,
    as_of: AsOf = None,
    partition: Partition = None,
    run_id: RunId = None,
    overrides: Set = None,
    dry_run: DryRun = False,
    debug: Debug = False,
) -> None:
    """Label with a fitted model and its frozen calibration; no refit."""
    request = _request(config, engine, as_of, partition, run_id, overrides)

    def call() -> dict[str, Any]:
        from segpipe import pipeline

        return pipeline.execute(mode="score", model=model, dry_run=dry_run, **request).summary

    _finish(call, debug)


@app.command()
def palette(
    image: Annotated[Path, typer.Argument(help="an image file")],
    k: Annotated[str, typer.Option("-k", help="colours, or auto")] = "8",
    out: Annotated[Path, typer.Option("--out", help="folder for the results")] = Path(
        "palette-out"
    ),
    engine: EngineName = None,
    debug: Debug = False,
) -> None:
    """Dominant colours of an image, and the image reduced to them."""

    def call() -> dict[str, Any]:
        from segpipe import pipeline

        tree = {
            "job": "palette",
            "source": {"uri": str(image), "format": "image"},
            "features": {"set": "pixels"},
            "fit": {"model": "kmeans", "k": k if k == "auto" else _whole(k)},
            "outliers": {"method": "none"},
            "target": {"uri": str(out), "format": "parquet"},
        }
        return pipeline.execute(mode="run", config=tree, engine=engine).summary

    _finish(call, debug)


def _whole(text: str) -> Any:
    return int(text) if text.isdigit() else text  # anything else fails in the config's own words


@app.command()
def check(
    config: ConfigPath,
    engine: EngineName = None,
    overrides: Set = None,
) -> None:
    """Validate config, source schema and target without running; list every problem."""
    from segpipe import checks

    problems = checks.check(str(config), engine, tuple(overrides or ()))
    for code, problem in problems:
        print(f"[{code}] {problem}")
    if problems:
        raise typer.Exit(max(code for code, _ in problems))
    print(f"{config}: config, source and target are fine")


@app.command()
def labels(
    target: Annotated[str, typer.Argument(help="the target's uri")],
    out: Annotated[Path | None, typer.Option("--out", help="F.parquet or F.csv")] = None,
) -> None:
    """Print the published label table, or copy it into one file."""
    from segpipe import published

    published.labels(target, out)


@app.command()
def history(target: Annotated[str, typer.Argument(help="the target's uri")]) -> None:
    """Runs of a target, newest last."""
    from segpipe import published

    published.history(target)


@app.command()
def report(
    run_or_target: Annotated[str, typer.Argument(help="a run's folder or a target's uri")],
    open_: Annotated[bool, typer.Option("--open", help="open it in the browser")] = False,
) -> None:
    """Print the path of the newest HTML report."""
    from segpipe import published

    published.report(run_or_target, open_)


@app.command()
def schema() -> None:
    """JSON Schema of the config, for editors."""
    from segpipe.config import Config

    print(json.dumps(Config.model_json_schema(), indent=2))


@app.command()
def doctor(config: Annotated[Path | None, typer.Argument(help="a config to try")] = None) -> None:
    """What is installed, which Java is found, and whether the config's engine starts."""
    from segpipe import doctor as checks

    raise typer.Exit(checks.doctor(str(config) if config else None))


@app.command()
def demo(
    scenario: Annotated[str, typer.Argument(help="customers | network | palette")],
    engine: EngineName = None,
    out: Annotated[Path, typer.Option("--out", help="folder for the results")] = Path("demo-out"),
) -> None:
    """Run a scenario on small data made or shipped with the installed packages."""
    from segpipe import demo as scenarios

    scenarios.demo(scenario, engine, out)


@app.command()
def advise(
    data: Annotated[str, typer.Argument(metavar="DATA", help="file, folder or glob")],
    columns: Annotated[str | None, typer.Option("--columns", metavar="A,B,C", help=COLUMNS)] = None,
    out: Annotated[Path, typer.Option("--out", help="folder for page and config")] = Path("advice"),
    as_json: Annotated[bool, typer.Option("--json", help="one JSON object instead")] = False,
) -> None:
    """Which algorithm fits a table, and why: assumptions, a picture, the config to run."""
    from segpipe.advise import advise as ask
    from segpipe.advise import names_in

    ask(data, None if columns is None else names_in(columns), out, not as_json)


@data.command("make")
def data_make(
    kind: Annotated[str, typer.Argument(help="customers | connections | blobs")],
    rows: Annotated[int, typer.Option("--rows", min=1)],
    out: Annotated[str, typer.Option("--out", metavar="URI")],
    seed: Annotated[int, typer.Option("--seed", min=0)] = 0,
) -> None:
    """Write a synthetic table with known truth."""
    from segpipe import datasets

    print(datasets.make(kind, rows, out, seed))
