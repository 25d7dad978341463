"""A signal stops a run before its commit, and does nothing after."""

import contextlib
import os
import signal
import threading

import pytest

from segpipe.interrupts import Interrupted, Interrupts


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_raises_and_the_callers_handler_comes_back(sent, code):
    before = signal.getsignal(sent)
    interrupts = Interrupts()
    with pytest.raises(Interrupted) as stopped, interrupts.watched():
        assert signal.getsignal(sent) != before
        os.kill(os.getpid(), sent)
    assert stopped.value.code == code
    assert signal.getsignal(sent) == before


def test_after_the_commit_began_signals_do_nothing():
    interrupts = Interrupts()
    with interrupts.watched():
        interrupts.hold()
        os.kill(os.getpid(), signal.SIGTERM)
    assert interrupts.held


def test_a_swallowed_signal_is_told_before_the_commit():
    interrupts = Interrupts()
    with interrupts.watched():
        with contextlib.suppress(Interrupted):  # as a library's broad handler does
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted) as stopped:
            interrupts.hold()
    assert stopped.value.code == 143


def test_handlers_come_back_after_a_library_took_them():
    interrupts = Interrupts()
    with pytest.raises(Interrupted), interrupts.watched():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        interrupts.renew()
        os.kill(os.getpid(), signal.SIGINT)


def test_outside_the_main_thread_the_callers_handlers_stay():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def work():
        interrupts = Interrupts()
        with interrupts.watched():
            interrupts.renew()
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [before]
