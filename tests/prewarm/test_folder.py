"""What is in a folder now."""

import os
import socket

import pytest

from stepaudio_cas.prewarm.folder import OTHER, PASSING, VOICE, identity, kind, look, scan


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        *(("/v/a.wav", VOICE), ("/v/b/A.FLAC", VOICE), ("/v/a.m4a", VOICE), ("/v/a.mp3", VOICE)),
        *(("/v/a.txt", OTHER), ("/v/a", OTHER), ("/v/4913", OTHER), ("/v/a.wav.txt", OTHER)),
        *(("/v/.a.wav", PASSING), ("/v/.b/a.wav", PASSING), ("/v/a.wav~", PASSING)),
        *(("/v/#a.wav#", PASSING), ("/v/a.wav.part", PASSING), ("/v/a.wav.TMP", PASSING)),
    ],
)
def test_names_say_what_files_are(path, expected):
    assert kind("/v", path) == expected


def test_a_folder_may_itself_be_hidden():
    assert kind("/home/.voices", "/home/.voices/a.wav") == VOICE


def test_everything_is_seen_once(tmp_path):
    (tmp_path / "b").mkdir()
    for name in ("a.wav", "b/c.mp3", "notes.txt", ".hidden.wav"):
        (tmp_path / name).write_text("la")
    (tmp_path / "b/circle").symlink_to(tmp_path)
    (tmp_path / "gone.wav").symlink_to(tmp_path / "nothing")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    (tmp_path / "one.wav").symlink_to(tmp_path / "other.wav")
    (tmp_path / "other.wav").symlink_to(tmp_path / "one.wav")
    os.mkfifo(tmp_path / "pipe.wav")
    found = scan(str(tmp_path))
    assert list(found.voices) == [str(tmp_path / "a.wav"), str(tmp_path / "b/c.mp3")]
    assert found.others == {str(tmp_path / "loop"), str(tmp_path / "notes.txt")}
    assert (found.linked, found.unread, found.root) == (True, {}, identity(str(tmp_path)))
    assert found.odd == {
        str(tmp_path / "gone.wav"): "it is a link to nothing",
        str(tmp_path / "one.wav"): "it is a link that leads to itself",
        str(tmp_path / "other.wav"): "it is a link that leads to itself",
        str(tmp_path / "pipe.wav"): "it is a pipe",
    }


def test_sockets_and_devices_are_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a socket's whole path might be too long
    (tmp_path / "null.wav").symlink_to(os.devnull)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket.wav")
    found = scan(str(tmp_path))
    assert list(found.odd.values()) == ["it is a device", "it is a socket"]
    assert found.voices == {}


def test_where_a_link_leads_to_a_store_nobody_looks(tmp_path):
    store, voices = tmp_path / "store", tmp_path / "voices"
    for folder in (store, voices):
        folder.mkdir()
        (folder / "a.wav").write_text("la")
    (voices / "link").symlink_to(store)
    found = scan(str(voices), [str(store), str(tmp_path / "not there yet")])
    assert list(found.voices) == [str(voices / "a.wav")]
    assert found.odd == {str(voices / "link"): "it is where a store is"}


def test_a_folder_that_is_not_there_is_unread(tmp_path):
    found = scan(str(tmp_path / "none"))
    assert (found.unread, found.root) == ({str(tmp_path / "none"): "it is not there"}, None)


def test_whatever_is_done_to_a_file_is_seen(tmp_path):
    path = str(tmp_path / "a.wav")
    seen = set()
    for change in (
        lambda: open(path, "w").close(),
        lambda: os.truncate(path, 5),
        lambda: os.utime(path, (1, 1)),
        lambda: os.replace(_made(tmp_path / "b", 5, (1, 1)), path),
    ):
        change()
        seen.add(look(path))
    assert len(seen) == 4


def _made(path, size, times):
    path.touch()
    os.truncate(path, size)
    os.utime(path, times)
    return path
