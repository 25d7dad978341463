"""Engines for tests: one of each per session, because a JVM and a cluster take seconds to start."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator

import pytest

from segpipe.engines.open import NAMES, open_engine
from segpipe.engines.protocol import Engine

MARKS = {"dask": [pytest.mark.dask], "spark": [pytest.mark.spark]}
OPTIONS = {
    "local": {},
    "dask": {"memory": "2g", "dask": {"options": {"n_workers": 2}}},
    "spark": {"memory": "2g", "spark": {"spark.master": "local[2]"}},
}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--engines", default=",".join(NAMES), help="engines that tests run on, comma-separated"
    )


def pytest_configure(config: pytest.Config) -> None:
    # Matplotlib, which scikit-learn's friends import, writes its settings and fonts into HOME.
    held = tempfile.TemporaryDirectory(prefix="segpipe-tests-")
    config.add_cleanup(held.cleanup)
    os.environ.setdefault("MPLCONFIGDIR", held.name)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "engine_name" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--engines").split(",")
        unknown = set(chosen) - set(NAMES)
        if unknown:
            raise pytest.UsageError(f"--engines: unknown {sorted(unknown)}")
        values = [pytest.param(name, marks=MARKS.get(name, [])) for name in NAMES if name in chosen]
        metafunc.parametrize("engine_name", values, scope="session")


@pytest.fixture(scope="session")
def engine(engine_name: str, request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Each engine in turn, two workers at least on this machine's clusters."""
    # Functions of test modules are pickled by name: workers must find the modules too.
    tests = [path for path in sys.path if path.startswith(str(request.config.rootpath))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", os.pathsep.join([*tests, os.environ.get("PYTHONPATH", "")]))
        yield from _opened(engine_name)


def _opened(engine_name: str) -> Iterator[Engine]:
    with open_engine(engine_name, **OPTIONS[engine_name]) as opened:
        yield opened
