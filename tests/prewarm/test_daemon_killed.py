"""A daemon that is killed, at any time, and started again."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from stepaudio_cas.maintenance.inventory import manifests, pinned
from stepaudio_cas.store.local import LocalBackend
from tests.prewarm.watching import keys_of
from tests.support.processes import wait_until

VOICES = 60


class Program:
    """`cas-tool watch`, in a session of its own, again and again."""

    def __init__(self, small, root, folder):
        self.notes = folder / "notes"
        self.notes.touch()
        self.errors = open(folder / "errors", "w")  # noqa: SIM115 - until the test is over
        self.environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(small.site), *sys.path]),
            "SMALL_HOST_NOTES": str(self.notes),
        }
        self.words = [
            *(sys.executable, "-m", "stepaudio_cas", "--store", root, "watch", small.voices),
            *("--host", small.spec, "--state", folder / "states", "--settle", "0.05"),
        ]

    def start(self, *more):
        return subprocess.Popen(
            [*map(str, self.words), *more],
            env=self.environment, start_new_session=True, stderr=self.errors,
        )  # fmt: skip

    def encoded(self):
        """Return what has been encoded, in order."""
        return self.notes.read_text().splitlines()


@pytest.fixture
def program(small, root, tmp_path):
    made = Program(small, root, tmp_path)
    yield made
    made.errors.close()


@pytest.mark.parametrize("alone", [True, False], ids=["the daemon", "all its processes"])
def test_after_kills_nothing_is_missing_and_nothing_was_encoded_twice_that_was_there(
    alone, program, small, root, tmp_path, capfd
):
    for number in range(VOICES):
        small.voice(f"{number}.wav", f"la {number}")
    chance = random.Random(alone)
    goals = sorted(chance.sample(range(VOICES), 4))
    backend = LocalBackend(root)
    for goal in goals:
        before = len(program.encoded())
        there = {kept.manifest.label for kept in manifests(backend)} if root.exists() else set()
        process = program.start()
        wait_until(lambda goal=goal: len(program.encoded()) > goal)
        (os.kill if alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
        again = [small.voices / f"{text.split()[1]}.wav" for text in program.encoded()[before:]]
        assert not {str(path) for path in again} & there
    assert program.start("--once").wait(60) == 0
    encoded = program.encoded()
    assert set(encoded) == {f"la {number}" for number in range(VOICES)}
    assert len(encoded) <= VOICES + len(goals)  # what was in hand is lost with who had it
    assert pinned(backend) == keys_of(small, tmp_path / "afresh", capfd)


def test_what_was_removed_while_nobody_watched_is_unpinned(program, small, root, tmp_path, capfd):
    for number in range(4):
        small.voice(f"{number}.wav", f"la {number}")
    process = program.start()
    wait_until(lambda: root.exists() and len(pinned(LocalBackend(root))) == 8)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (small.voices / "0.wav").unlink()
    small.voice("1.wav", "la something else")
    (small.voices / "2.wav").rename(small.voices / "moved.wav")
    assert program.start("--once").wait(60) == 0
    assert pinned(LocalBackend(root)) == keys_of(small, tmp_path / "afresh", capfd)
    assert len(program.encoded()) == 5


def test_sigterm_finishes_what_is_in_hand(program, small, root):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    first = small.voice("1.wav", f"wait {pipe}")
    small.voice("2.wav", "la")
    process = program.start()
    with open(pipe, "w"):  # opens when the host has begun to read it
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "finishing what is in hand" in Path(program.errors.name).read_text())
    assert process.wait(60) == 0
    assert {kept.manifest.label for kept in manifests(LocalBackend(root))} == {first}
    assert len(pinned(LocalBackend(root))) == 2
