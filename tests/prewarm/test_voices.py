"""Finding recordings: files, folders, URLs."""

import os
import shutil

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
    return [voice.label for voice in found]


def test_a_folder_is_searched_with_all_that_are_in_it(folder):
    root = folder("b.wav", "a.MP3", "deep/down/c.m4a", "notes.txt", "deep/cover.jpg")
    found = find([str(root)])
    assert labels(found) == [str(root / n) for n in ("a.MP3", "b.wav", "deep/down/c.m4a")]
    assert found.left_out == [str(root / "notes.txt"), str(root / "deep/cover.jpg")]


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
    assert all(voice.remote for voice in found)


@pytest.mark.parametrize("url", ["memory://nothing-there", "no-such-scheme://bucket"])
def test_a_url_where_nothing_is(url):
    with pytest.raises(SettingError, match=url):
        find([url])


def test_names_are_asked_for_one_after_the_other_and_none_are_kept(folder, monkeypatch):
    root = folder("a.wav", "b.wav", "sub/c.wav", "sub/notes.txt")
    found = find([str(root)])
    shutil.rmtree(root / "sub")
    folder("sub/d.wav", "e.txt")
    voices = iter(found)
    assert [os.path.basename(next(voices).label) for _ in range(2)] == ["a.wav", "b.wav"]
    folder("sub/f.wav")
    assert [os.path.basename(voice.label) for voice in voices] == ["d.wav", "f.wav"]
    assert (found.left_out, found.others) == ([str(root / "e.txt")], 1)
    assert (found.count(), found.others) == (4, 1)
    assert found.count(lambda: False) is None


def test_of_what_is_left_out_not_everything_is_named(folder, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.prewarm.voices._NAMED", 2)
    found = find([str(folder("1.txt", "2.txt", "3.txt", "a.wav"))])
    assert len(labels(found)) == 1
    assert (len(found.left_out), found.others) == (2, 3)


def test_what_cannot_be_listed_is_named_and_the_rest_goes_on(folder, monkeypatch):
    root = folder("a/1.wav", "b/2.wav", "c/3.wav")
    real = os.scandir

    def scandir(path):
        if path == str(root / "b"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    found = find([str(root)])
    monkeypatch.setattr(os, "scandir", scandir)
    assert labels(found) == [str(root / "a/1.wav"), str(root / "c/3.wav")]
    assert found.troubles == [f"{root}/b: Permission denied"]


def test_a_pipe_that_is_named_is_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    with pytest.raises(SettingError, match=r"pipe\.wav: it is neither a file nor a folder"):
        find([str(tmp_path / "pipe.wav")])


def test_a_bucket_is_listed_page_by_page(seaweedfs, s3_url, monkeypatch):
    monkeypatch.setattr("stepaudio_cas.prewarm.listing._PAGE", 2)
    fsspec.get_filesystem_class("s3").clear_instance_cache()  # of other tests' servers
    names = ["a/1.wav", "a/2.wav", "b/deep/3.wav", "b/deep/notes.txt", "c 4.wav"]
    for name in names:
        assert seaweedfs.ask("PUT", f"/voices/studio/{name.replace(' ', '%20')}", b"la") == 200
    assert seaweedfs.ask("PUT", "/voices/studio2/5.wav", b"la") == 200
    found = find([f"{s3_url}/studio"])
    wavs = [f"{s3_url}/studio/{name}" for name in names if name.endswith(".wav")]
    assert labels(found) == wavs
    assert found.others == 1
    with at_hand(Voice(wavs[-1])) as path, open(path) as file:
        assert file.read() == "la"


def test_a_url_is_fetched_under_its_own_name_and_removed_again(bucket):
    (voice,) = find([f"{bucket}/more/bert.flac"])
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
