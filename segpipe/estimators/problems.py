"""The project's errors as scikit-learn's callers expect them: bad values are ValueErrors too."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from segpipe.errors import ConfigError, DataError, SegpipeError


class DataValueError(DataError, ValueError):
    """Data that cannot be fitted or labelled."""


class ParameterError(ConfigError, ValueError):
    """A parameter out of its range, or something that this estimator cannot do."""


@contextlib.contextmanager
def told() -> Iterator[None]:
    """Data and config errors become their ValueError kind, message and hint unchanged."""
    try:
        yield
    except (DataValueError, ParameterError):
        raise
    except (DataError, ConfigError) as error:
        kind: type[SegpipeError] = (
            DataValueError if isinstance(error, DataError) else ParameterError
        )
        raise kind(error.message, error.hint) from error
