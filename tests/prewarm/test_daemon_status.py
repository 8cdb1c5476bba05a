"""What a daemon says it is at, and that nothing waits for what has failed."""

import os
import time

import pytest

from stepaudio_cas.prewarm import state
from stepaudio_cas.prewarm.desk import Retry
from tests.prewarm.watching import QUICK, Watching


@pytest.fixture
def watch(small, root, tmp_path):
    def start(**how):
        return Watching(small, root, tmp_path / "states", QUICK._replace(**how))

    return start


@pytest.fixture
def hanging(small):
    """Return the text of a voice that the host hangs on, and the pipe that it waits for."""
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    return f"wait {pipe}", pipe


def document(watching):
    return watching.places[0].read() or {}


def in_hand(watching):
    return [hand["voice"] for hand in document(watching).get("in_hand", ())]


def test_a_voice_that_is_gone_is_in_hand_while_the_host_is_at_it(watch, small, hanging):
    text, pipe = hanging
    with watch() as watching:
        voice = small.voice("1.wav", text)
        watching.until(lambda: in_hand(watching) == [voice])
        os.unlink(voice)
        with open(pipe, "w"):
            watching.until(lambda: voice not in watching.daemon.desk.records)
            watching.until(lambda: not sum(document(watching)["voices"].values()))
            found = document(watching)
            assert (in_hand(watching), found["status"]) == ([voice], "busy")
        watching.until(lambda: (in_hand(watching), document(watching)["status"]) == ([], "idle"))


def test_a_voice_that_is_written_over_is_in_hand_while_the_host_is_at_it(watch, small, hanging):
    text, pipe = hanging
    with watch() as watching:
        voice = small.voice("1.wav", text)
        watching.until(lambda: in_hand(watching) == [voice])
        small.voice("1.wav", "la")
        with open(pipe, "w"):
            watching.until(lambda: document(watching)["voices"]["waiting"] == 1)
            assert (in_hand(watching), document(watching)["status"]) == ([voice], "busy")
        watching.wait_for(voice, "new")


def test_who_was_stopped_at_once_is_at_nothing(watch, small, hanging):
    with watch() as watching:
        voice = small.voice("1.wav", hanging[0])
        watching.until(lambda: in_hand(watching) == [voice])

        def stop():
            raise KeyboardInterrupt

        watching.daemon._turn = stop
        watching.daemon.bell.ring()
        watching._thread.join(60)
        assert isinstance(watching.error, KeyboardInterrupt)
        watching.error = None
    found = document(watching)
    assert (found["status"], found["in_hand"]) == ("stopped", [])
    assert (found["voices"]["working"], found["voices"]["waiting"]) == (0, 1)


def test_how_long_a_voice_is_in_hand_is_found_when_somebody_asks(tmp_path):
    folder = tmp_path / "voices"
    folder.mkdir()
    (place,) = state.prepare(str(tmp_path / "states"), [str(folder)])
    held = place.lock()
    now = time.time()
    hand = {"voice": "a.wav", "since": now - 1000.0}
    said = {"status": "busy", "pid": 1, "machine": "", "started": "", "every": 1000.0}
    place.write({**said, "beat": now - 600.0, "in_hand": [hand]})
    assert place.read()["in_hand"][0]["seconds"] >= 1000.0
    for file in held:
        os.close(file)
    assert place.read()["status"] == "dead"
    assert place.read()["in_hand"][0]["seconds"] == 400.0  # until its last sign of life


def test_pins_do_not_wait_for_a_voice_that_is_tried_again_later(watch, small):
    patient = Retry(2, 1000.0)
    over, moved = small.voice("over.wav", "la"), small.voice("moved.wav", "lo")
    with watch(retry=patient) as watching:
        watching.wait_for(over, "new")
        watching.wait_for(moved, "new")
    now = str(small.voices / "now.wav")
    os.rename(moved, now)
    small.voice("moved.wav", "broken")
    small.voice("over.wav", "broken too")
    with watch(retry=patient) as watching:
        watching.until(lambda: set(watching.labels().values()) == {now})
        assert (watching.states(over), watching.states(moved)) == (["failed"], ["failed"])
