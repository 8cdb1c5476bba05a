import contextlib
import logging
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest

from stepaudio_cas.runtime import log as module
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import Level
from tests.runtime.helpers import Clock


def say_all(log):
    log.error("an error")
    log.info("an event")
    log.debug("a detail")


@pytest.mark.parametrize(
    ("level", "said"),
    [
        (Level.OFF, []),
        (Level.ERROR, ["an error"]),
        (Level.INFO, ["an error", "an event"]),
        (Level.DEBUG, ["an error", "an event", "a detail"]),
    ],
)
def test_a_level_says_what_is_of_its_rank_and_above(level, said, capfd):
    say_all(Log(level))
    assert capfd.readouterr().err.splitlines() == [f"stepaudio-cas: {text}" for text in said]


def test_info_on_tells_whether_a_line_is_worth_making():
    assert [Log(level).info_on for level in Level] == [False, False, True, True]


def test_whatever_a_text_holds_it_stays_one_line(capfd):
    Log(Level.INFO).info("two\nlines,\ta tab and \ud800")
    assert capfd.readouterr().err == "stepaudio-cas: two lines, a tab and \\ud800\n"


def test_it_is_said_whatever_the_host_does_to_stderr_and_logging(monkeypatch, capfd):
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "__stderr__", None)
    logging.disable(logging.CRITICAL)
    try:
        Log(Level.INFO).info("here")
    finally:
        logging.disable(logging.NOTSET)
    assert capfd.readouterr().err == "stepaudio-cas: here\n"


def test_a_closed_stderr_is_nobodys_problem():
    script = """
import os
from stepaudio_cas.runtime.log import Log
from stepaudio_cas.settings import Level
os.close(2)
Log(Level.DEBUG).error("nobody hears this")
print("went on")
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout == "went on\n"


def test_a_full_disk_behind_stderr_is_nobodys_problem(monkeypatch):
    def write(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "os", SimpleNamespace(write=write))
    Log(Level.DEBUG).error("nobody hears this")


def test_an_error_of_one_topic_is_said_once_a_minute(monkeypatch, capfd):
    clock = Clock(0.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    log = Log(Level.INFO)
    for _ in range(3):
        log.error_sometimes("store", "down")
        log.error_sometimes("codec", "odd")
        clock.advance(19)
    assert capfd.readouterr().err.count("\n") == 2
    clock.advance(3)
    log.error_sometimes("store", "still down")
    assert capfd.readouterr().err == "stepaudio-cas: still down\n"


def test_an_event_that_happens_again_and_again_is_said_seldom(monkeypatch, capfd):
    clock = Clock()
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=clock))
    log = Log(Level.INFO)
    for _ in range(100):
        log.info_seldom("streaming", "one of many")
        log.info_seldom("other", "of another topic")
    assert capfd.readouterr().err.count("\n") == 6
    log.info_seldom("streaming", "not the same")
    log.info_seldom("streaming", "one of many")
    assert capfd.readouterr().err.count("\n") == 2
    clock.advance(61)
    for _ in range(10):
        log.info_seldom("other", "of another topic")
    assert capfd.readouterr().err == "stepaudio-cas: of another topic\n"


def test_what_is_not_repeated_is_still_there_for_debugging(capfd):
    log = Log(Level.DEBUG)
    log.error_sometimes("store", "down")
    log.error_sometimes("store", "down")
    assert capfd.readouterr().err.count("down") == 2


def test_lines_of_many_processes_do_not_mix(capfd):
    log, text = Log(Level.INFO), "x" * 200
    children = []
    for _ in range(4):
        pid = os.fork()
        if pid == 0:
            for _ in range(50):
                log.info(text)
            os._exit(0)
        children.append(pid)
    assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 4
    assert capfd.readouterr().err.splitlines() == [f"stepaudio-cas: {text}"] * 200


def test_a_pipe_that_nobody_reads_holds_nobody_up():
    reader, writer = os.pipe()
    kept = os.dup(2)
    try:
        os.set_blocking(writer, False)
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(writer, b"x" * 65536)
        os.set_blocking(writer, True)
        os.dup2(writer, 2)
        Log(Level.INFO).info("is lost")
    finally:
        os.dup2(kept, 2)
        for fd in (kept, reader, writer):
            os.close(fd)
