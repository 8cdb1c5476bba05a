"""Copies of recordings that nobody needs any more."""

import os
import signal
import tempfile
from pathlib import Path

import pytest

from stepaudio_cas.prewarm.copies import Copies
from stepaudio_cas.prewarm.voices import Voice, at_hand
from tests.prewarm.test_daemon_killed import Program
from tests.prewarm.watching import QUICK, Watching
from tests.support.processes import wait_until


@pytest.fixture
def tmp(tmp_path, monkeypatch):
    """Return a temporary folder of our own."""
    made = tmp_path / "tmp"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setenv("TMPDIR", str(made))
    return made


def copies_in(folder):
    return list(folder.rglob("*.wav"))


def test_what_a_process_has_left_is_removed_and_nothing_else(tmp):
    copies = Copies()
    copies.open()
    for name in ("12-ab", "123-ab"):
        (Path(copies.folder) / name).mkdir()
        (Path(copies.folder) / name / "a.wav").touch()
    copies.clear(12)
    assert os.listdir(copies.folder) == ["123-ab"]
    copies.close()
    assert os.listdir(tmp) == []


def test_what_the_host_has_put_beside_a_copy_is_not_there_for_the_next(tmp):
    recording = tmp / "a.wav"
    recording.write_bytes(b"la")
    folders = set()
    for _ in range(2):
        with at_hand(Voice(str(recording)), apart=True, copies=str(tmp / "copies")) as path:
            folders.add(os.path.dirname(path))
            assert os.listdir(os.path.dirname(path)) == ["a.wav"]
            Path(f"{path}.npy").touch()
    assert copies_in(tmp / "copies") == []
    assert len(folders) == 1


def test_what_a_daemon_has_left_is_removed_once_it_is_no_more(tmp):
    first = Copies()
    first.open()
    (Path(first.folder) / "1-ab").mkdir()
    Copies()
    assert os.listdir(first.folder) == ["1-ab"]
    os.close(first._held)  # as when it is killed
    (tmp / "stepaudio-cas-watched.wav").touch()
    (tmp / "stepaudio-cas-watch-1").symlink_to(tmp_path := tmp.parent / "elsewhere")
    (tmp_path / "kept").mkdir(parents=True)
    Copies()
    assert sorted(os.listdir(tmp)) == ["stepaudio-cas-watch-1", "stepaudio-cas-watched.wav"]
    assert (tmp_path / "kept").exists()


def test_a_folder_that_was_taken_for_left_is_made_again(tmp, monkeypatch):
    copies, makedirs = Copies(), os.makedirs

    def made(folder, *args, **how):
        makedirs(folder, *args, **how)
        if not held:  # another daemon begins just now
            held.append(Copies())

    held = []
    monkeypatch.setattr(os, "makedirs", made)
    copies.open()
    Copies()
    assert os.path.isdir(copies.folder)


def test_where_there_can_be_no_folder_a_voice_says_so(tmp):
    copies = Copies()
    tmp.rmdir()
    tmp.touch()
    copies.open()
    copies.clear(1)
    copies.close()
    assert tmp.is_file()


def test_a_process_that_dies_leaves_no_copy(tmp, small, root, tmp_path):
    deadly = small.voice("1.wav", "die")
    with Watching(small, root, tmp_path / "states", QUICK) as watching:
        watching.wait_for(deadly, "failed", times=3)
        watching.until(lambda: watching.daemon.desk.calm)
        (folder,) = tmp.iterdir()
        assert os.listdir(folder) == []
        watching.wait_for(small.voice("2.wav", "la"), "new")
    assert os.listdir(tmp) == []


@pytest.fixture
def program(tmp, small, root, tmp_path):
    made = Program(small, root, tmp_path)
    made.environment["TMPDIR"] = str(tmp)
    yield made
    made.errors.close()


def test_a_daemon_that_is_stopped_at_once_leaves_no_copy(program, tmp, small):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    small.voice("1.wav", f"wait {pipe}")
    process = program.start()
    with open(pipe, "w"):  # opens when the host has begun to read it
        assert len(copies_in(tmp)) == 1
        process.send_signal(signal.SIGTERM)
        wait_until(lambda: "finishing what is in hand" in Path(program.errors.name).read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    assert os.listdir(tmp) == []


def test_what_a_daemon_leaves_that_was_killed_the_next_one_removes(program, tmp, small):
    pipe = small.voices / "pipe"
    os.mkfifo(pipe)
    small.voice("1.wav", f"wait {pipe}")
    process = program.start()
    with open(pipe, "w"):
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert len(copies_in(tmp)) == 1
    small.voice("1.wav", "la")
    assert program.start("--once").wait(60) == 0
    assert os.listdir(tmp) == []
