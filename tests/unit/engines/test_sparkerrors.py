"""Which of Spark's errors are ours, which are the loss of the cluster, which are bugs."""

import pytest

pytest.importorskip("pyspark")

from py4j.protocol import Py4JError, Py4JNetworkError

from segpipe.engines.sparkerrors import known
from segpipe.errors import TemporaryError


@pytest.mark.parametrize(
    "error",
    [
        Py4JError("An error occurred while calling o132.getResult"),
        Py4JNetworkError("Error while sending or receiving"),
        ConnectionResetError(104, "Connection reset by peer"),
        RuntimeError("Job aborted: ExecutorLostFailure (executor 1 exited)"),
    ],
)
def test_a_lost_cluster_is_temporary(error):
    assert isinstance(known(error), TemporaryError)


@pytest.mark.parametrize(
    "error",
    [
        Py4JError("An error occurred while calling o1.x. Trace:\npy4j.Py4JException: no method"),
        RuntimeError("division by zero"),
    ],
)
def test_a_bug_stays_a_bug(error):
    assert known(error) is None
