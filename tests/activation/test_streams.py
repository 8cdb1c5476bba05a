"""Recordings that are open files: told by content, left as the host leaves them."""

import io
import sys

import pytest

from stepaudio_cas.activation.plugin import (
    HostClass,
    Method,
    Model,
    Parts,
    Plugin,
    ignored,
    path,
)
from stepaudio_cas.activation.streams import detached, is_stream

READER = """
runs = []

class Reader:
    def read(self, clips, progress=None):
        runs.append(1)
        clips = clips if isinstance(clips, (list, tuple)) else [clips]
        return [clip.read() if hasattr(clip, "read") else clip for clip in clips]
"""


def reader(restore=lambda self, _, kept: kept):
    method = Method(
        "read",
        {"clips": path(), "progress": ignored()},
        lambda self: Model((), Parts),
        restore=restore,
    )
    return Plugin("test", [HostClass("Reader", ["reader"], ["read"], [method])])


@pytest.fixture
def made(loader):
    def make(restore=lambda self, _, kept: kept, **settings):
        return loader.patch(loader.module(READER, "reader"), reader(restore), **settings)

    return make


def test_files_in_a_list_are_told_each_and_left_at_their_ends(made, loader):
    module = made()
    for _ in range(2):
        files = [io.BytesIO(b"one"), io.BytesIO(b"other")]
        assert module.Reader().read(files) == [b"one", b"other"]
        assert [file.tell() for file in files] == [3, 5]
    module.Reader().read([io.BytesIO(b"other"), io.BytesIO(b"one")])
    module.Reader().read((io.BytesIO(b"one"), io.BytesIO(b"other")))
    assert len(module.runs) == 3
    assert loader.counters() == {"miss": 3, "hit.memory": 1}


def test_where_a_file_stands_is_in_the_key(made):
    module = made()
    for at in (0, 2, 0, 2):
        file = io.BytesIO(b"voice")
        file.seek(at)
        assert module.Reader().read(file) == [b"voice"[at:]]
        assert file.tell() == 5
    assert len(module.runs) == 2


def test_a_host_that_has_to_compute_after_all_finds_files_where_they_stood(made, loader):
    def fail(self, arguments, kept):
        raise MemoryError("the device is full")

    module = made(fail)
    for _ in range(2):
        assert module.Reader().read(io.BytesIO(b"voice")) == [b"voice"]
    assert len(module.runs) == 2
    assert "error.internal" in loader.counters()


class Silent(io.BytesIO):
    """A file that cannot say where it is."""

    def tell(self):
        raise OSError("a pipe")


@pytest.mark.parametrize("file", [Silent(b"voice"), io.StringIO("voice")])
def test_files_that_cannot_be_digested_are_the_hosts_as_they_are(made, loader, file):
    module = made()
    assert module.Reader().read(file) in ([b"voice"], ["voice"])
    [(name, count)] = loader.counters().items()
    assert (name.partition(".")[0], count) == ("bypass", 1)


def test_a_closed_file_raises_what_the_host_raises(made):
    module = made()
    file = io.BytesIO(b"voice")
    file.close()
    with pytest.raises(ValueError, match="closed file") as raised:
        module.Reader().read(file)
    assert raised.value.__context__ is None


@pytest.mark.parametrize("progress", [sys.__stderr__, io.StringIO("text"), Silent()])
def test_hits_are_checked_whatever_else_is_open(made, progress):
    module = made(verify=1.0)
    cache = module.Reader.read.__stepaudio_cas__._cache
    for _ in range(2):
        with io.BytesIO(b"voice") as file:
            assert module.Reader().read([file], progress=progress) == [b"voice"]
    assert cache._shadow.queue.flush(60) == 0
    counted = cache.stats()["counters"]
    assert (counted["shadow.equal"], counted.get("error.internal")) == (1, None)


def test_a_copy_is_of_the_whole_file_and_leaves_it_where_it_stands():
    file = io.BytesIO(b"voice")
    file.seek(2)
    [copy], same = detached([file]), detached(("a", 1))
    assert (copy.read(), file.tell(), same) == (b"voice", 2, ("a", 1))


def test_what_has_no_way_back_is_no_open_file():
    class Response:
        def read(self):
            return b"voice"

    assert [is_stream(thing) for thing in (Response(), b"", "name", io.BytesIO())] == [
        *(False, False, False),
        True,
    ]
