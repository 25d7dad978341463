"""Errors across Spark's border: ours come back as they were raised, loss of the cluster is a 75."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from py4j.protocol import Py4JError, Py4JNetworkError
from pyspark import cloudpickle
from pyspark.errors import PySparkException

from segpipe import errors
from segpipe.errors import SegpipeError, TemporaryError

_MARK = re.compile(r"segpipe-error:([A-Za-z0-9+/=]+):")
_LOST = re.compile(
    r"ExecutorLostFailure|SparkContext (?:was|has been) (?:shut ?down|stopped)"
    r"|stopped SparkContext|All masters are unresponsive|Master removed our application"
    r"|StatusCode\.UNAVAILABLE|Connection refused|Connection reset|FetchFailed|INVALID_HANDLE"
    r"|NO_ACTIVE_SESSION|Answer from Java side is empty|Python worker exited unexpectedly"
)

_UNANSWERED = re.compile(r"An error occurred while calling \S+")


def packed(step: Callable[..., Any], *given: Any) -> bytes:
    """``step(*given)`` or the expected error it raised, pickled.

    TemporaryError is raised instead, because a retry of the task may cure it.
    """
    try:
        return bytes(cloudpickle.dumps((step(*given), None)))
    except TemporaryError:
        raise
    except SegpipeError as error:
        return bytes(cloudpickle.dumps((None, error)))


def unpacked(blob: bytes) -> Any:
    """The state, or the error, raised."""
    state, error = cloudpickle.loads(blob)
    if error is not None:
        raise error
    return state


@contextlib.contextmanager
def carried() -> Iterator[None]:
    """In a worker: our errors as text that ``translated`` reads; Spark keeps nothing but text."""
    try:
        yield
    except SegpipeError as error:
        fields = [type(error).__name__, error.message, error.hint]
        mark = base64.b64encode(json.dumps(fields).encode()).decode()
        raise RuntimeError(f"segpipe-error:{mark}: {error}") from error


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """At the driver: what Spark raised as our error where it is one."""
    try:
        yield
    except SegpipeError:
        raise
    except (PySparkException, Py4JError, ConnectionError) as error:
        raise known(error) or error from error


def known(error: BaseException) -> SegpipeError | None:
    """Our error for ``error``, or None: a bug."""
    text = str(error)
    marked = _MARK.search(text)
    if marked:
        name, message, hint = json.loads(base64.b64decode(marked.group(1)))
        kind: type[SegpipeError] = getattr(errors, name)
        return kind(message, hint)
    lost = _LOST.search(text)
    # A call that the JVM never answered has no Java exception behind it, only this sentence.
    silent = type(error) is Py4JError and _UNANSWERED.fullmatch(text.strip())
    if lost or silent or isinstance(error, Py4JNetworkError | ConnectionError):
        return TemporaryError(
            f"the Spark cluster was lost: {lost.group(0) if lost else type(error).__name__}",
            "look at its logs, give it more memory if executors died, or retry",
        )
    return None
