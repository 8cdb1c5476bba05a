"""Files that are sent while the disk is full, and what a server that has died has left."""

import errno
import os

import pytest

from stepaudio_cas.web import spool as spools
from stepaudio_cas.web.errors import ApiError
from stepaudio_cas.web.spool import Spool
from tests.web.test_writing import watch


@pytest.fixture
def full(monkeypatch):
    """Whatever is opened for writing is on a disk that is full."""

    def fdopen(file, how):
        os.close(file)
        return open("/dev/full", how)

    monkeypatch.setattr(spools.os, "fdopen", fdopen)


def test_a_full_disk_is_said_and_nothing_is_left_there(full, api):
    os.makedirs(api.spool.folder)
    watch(api, api.spool.folder)
    answer = api.upload("anna.wav", b"RIFF" * 50_000)
    assert (answer.status, answer.json["error"]) == (507, "the disk is full")
    assert api.upload("anna.wav", b"RIFF").status == 507  # noticed when it is closed
    assert os.listdir(api.spool.folder) == []


def test_what_is_left_to_write_on_a_full_disk_is_not_missed(full, tmp_path):
    def send():
        with Spool(str(tmp_path)).begin("anna.wav") as arriving:
            arriving.write(b"RIFF")
            arriving.write(b"RIFF" * 50_000)

    with pytest.raises(ApiError, match="507"):
        send()
    assert os.listdir(tmp_path) == []


def test_a_note_that_cannot_be_written_leaves_nothing_either(tmp_path, monkeypatch):
    def raising(*_):
        raise OSError(errno.EDQUOT, "enough")

    monkeypatch.setattr(spools.json, "dump", raising)
    spool = Spool(str(tmp_path))

    def send():
        with spool.begin("anna.wav") as arriving:
            arriving.write(b"RIFF")
            arriving.finish()

    with pytest.raises(ApiError, match="507"):
        send()
    assert os.listdir(tmp_path) == []


def test_what_never_came_whole_is_cleared_away_when_nobody_sends_it_any_more(tmp_path):
    old, young, theirs = f".{'0' * 32}.part", f".{'1' * 32}.part", ".mine.part"
    for name in (old, young, theirs):
        (tmp_path / name).write_bytes(b"RIFF")
    for name in (old, theirs):
        os.utime(tmp_path / name, (1e9, 1e9))
    with Spool(str(tmp_path)).begin("anna.wav"):
        pass
    assert sorted(os.listdir(tmp_path)) == sorted([young, theirs])
