"""Finding recordings: files, folders, URLs."""

import os

import fsspec
import pytest

from stepaudio_cas.errors import SettingError
from stepaudio_cas.prewarm.voices import Voice, at_hand, find, is_voice


@pytest.fixture
def folder(tmp_path):
    def make(*names):
        for name in names:
            path = tmp_path / "voices" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(name)
        return tmp_path / "voices"

    return make


@pytest.fixture
def bucket():
    fs = fsspec.filesystem("memory")
    for name in ("anna.wav", "more/bert.flac", "more/notes.txt"):
        fs.pipe_file(f"/voices/{name}", name.encode())
    yield "memory://voices"
    fs.rm("/voices", recursive=True)


def labels(found):
    return [voice.label for voice in found.voices]


def test_a_folder_is_searched_with_all_that_are_in_it(folder):
    root = folder("b.wav", "a.MP3", "deep/down/c.m4a", "notes.txt", "deep/cover.jpg")
    found = find([str(root)])
    assert labels(found) == [str(root / n) for n in ("a.MP3", "b.wav", "deep/down/c.m4a")]
    assert found.left_out == [str(root / "deep/cover.jpg"), str(root / "notes.txt")]


def test_hidden_and_unfinished_files_are_no_voices(folder):
    root = folder("a.wav", ".b.wav", ".trash/c.wav", "d.wav.part", "e.wav~", "f.tmp")
    assert labels(find([str(root)])) == [str(root / "a.wav")]


def test_a_file_that_is_named_is_a_voice_whatever_it_is_called(folder):
    root = folder("voice.raw")
    assert labels(find([str(root / "voice.raw")])) == [str(root / "voice.raw")]


def test_a_voice_that_is_named_twice_is_one(folder, monkeypatch):
    root = folder("a.wav")
    monkeypatch.chdir(root)
    assert labels(find([str(root), "a.wav", f"file://{root}/a.wav"])) == [str(root / "a.wav")]


def test_links_are_followed_but_not_in_circles(folder, tmp_path):
    root = folder("a.wav", "sub/b.wav")
    (root / "sub/back").symlink_to(root)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "c.wav").write_text("c")
    (root / "linked").symlink_to(elsewhere)
    names = [os.path.relpath(label, root) for label in labels(find([str(root)]))]
    assert names == ["a.wav", "linked/c.wav", "sub/b.wav"]


def test_what_is_no_file_is_not_opened(folder):
    root = folder("a.wav")
    os.mkfifo(root / "pipe.wav")
    (root / "dangling.wav").symlink_to(root / "gone.wav")
    found = find([str(root)])
    assert labels(found) == [str(root / "a.wav")]
    assert found.left_out == [str(root / "dangling.wav"), str(root / "pipe.wav")]


def test_a_place_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingError, match="no-such: there is no such file"):
        find([str(tmp_path / "no-such")])


def test_a_url_is_searched_like_a_folder(bucket):
    found = find([bucket])
    assert labels(found) == ["memory:///voices/anna.wav", "memory:///voices/more/bert.flac"]
    assert found.left_out == ["memory:///voices/more/notes.txt"]
    assert all(voice.remote for voice in found.voices)


@pytest.mark.parametrize("url", ["memory://nothing-there", "no-such-scheme://bucket"])
def test_a_url_where_nothing_is(url):
    with pytest.raises(SettingError, match=url):
        find([url])


def test_a_url_is_fetched_under_its_own_name_and_removed_again(bucket):
    (voice,) = find([f"{bucket}/more/bert.flac"]).voices
    with at_hand(voice) as path:
        assert os.path.basename(path) == "bert.flac"
        with open(path) as file:
            assert file.read() == "more/bert.flac"
    assert not os.path.exists(os.path.dirname(path))


def test_a_local_voice_is_read_where_it_is(folder):
    root = folder("a.wav")
    with at_hand(Voice(str(root / "a.wav"))) as path:
        assert path == str(root / "a.wav")
    assert (root / "a.wav").exists()


def test_a_voice_is_told_by_the_end_of_its_name():
    assert is_voice("s3://bucket/a.OPUS")
    assert not is_voice("s3://bucket.wav/a.json")
