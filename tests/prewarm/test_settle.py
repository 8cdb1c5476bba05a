"""When a file is taken for complete."""

import os
import signal

import pytest

from stepaudio_cas.prewarm.settle import Settle, leased


def settle(writer):
    return Settle(1.0, lambda path: writer)


@pytest.mark.parametrize(
    ("writer", "closed", "needed"),
    [(None, False, 1.0), (None, True, 0.1), (False, False, 0.1), (True, False, 30.0)],
)
def test_a_file_must_stand_still_the_longer_the_less_is_known(writer, closed, needed):
    wait = settle(writer).wait
    assert wait("x", needed - 0.05, 0, closed=closed) > 0
    assert wait("x", needed + 0.001, 0, closed=closed) == 0


def test_what_was_taken_too_early_is_waited_for_twice_as_long():
    wait = settle(None).wait
    assert [wait("x", 0, patience, closed=False) for patience in (0, 1, 2, 20)] == [1, 2, 4, 60]


def test_a_writer_is_asked_after_more_and_more_seldom():
    wait, still, looks = settle(True).wait, 0.1, 0
    while more := wait("x", still, 0, closed=False):
        still, looks = still + more, looks + 1
    assert looks < 12
    assert still == pytest.approx(30)


@pytest.fixture
def deaf():
    before = signal.signal(signal.SIGIO, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGIO, before)


def test_the_kernel_tells_who_writes(tmp_path, deaf):
    path = str(tmp_path / "a")
    with open(path, "w"):
        open_for_writing = leased(path)
    with open(path):
        open_for_reading = leased(path)
    if leased(path) is None:
        pytest.skip("a file system without leases")
    assert (open_for_writing, open_for_reading, leased(path)) == (True, False, False)


def test_a_file_that_cannot_be_asked_about_is_unknown(tmp_path, deaf):
    assert leased(str(tmp_path / "none")) is None
    os.mkfifo(tmp_path / "pipe")
    assert leased(str(tmp_path / "pipe")) is None
