"""Measurements run only where they are asked for: with a marker expression that names bench."""

from __future__ import annotations

import pytest


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    # addopts = "-m 'not bench'" would not hold: a -m on the command line replaces it.
    if "bench" in (config.getoption("markexpr") or ""):
        return
    left_out = [item for item in items if item.get_closest_marker("bench")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker("bench")]
