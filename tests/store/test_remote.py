"""What is particular to file systems behind fsspec."""

import datetime as dt
import errno
import os
import time

import pytest
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem

from stepaudio_cas.store.remote import FsspecBackend
from tests.support.processes import in_child

PATH = "v1/manifests/ab/abcd.json"


@pytest.fixture
def backend(tmp_path):
    return FsspecBackend(f"file://{tmp_path}/remote")


def fail_below(monkeypatch, part, error):
    """Let the file system fail to list the folders whose path ends in `part`."""
    listing = LocalFileSystem.ls

    def ls(self, path, *args, **kwargs):
        if str(path).endswith(part):
            raise error
        return listing(self, path, *args, **kwargs)

    monkeypatch.setattr(LocalFileSystem, "ls", ls)


@pytest.mark.parametrize("part", ["manifests", "ab"])
def test_a_folder_that_cannot_be_listed_is_an_error_and_not_an_empty_one(
    backend, monkeypatch, part
):
    backend.put(PATH, b"content")
    fail_below(monkeypatch, part, PermissionError(errno.EACCES, "no"))
    with pytest.raises(PermissionError):
        list(backend.list("v1/manifests"))


def test_a_folder_that_vanishes_while_listing_hides_no_other(backend, monkeypatch):
    backend.put(PATH, b"content")
    backend.put("v1/manifests/cd/cdef.json", b"content")
    fail_below(monkeypatch, "ab", FileNotFoundError(errno.ENOENT, "gone"))
    assert [entry.path for entry in backend.list("v1/manifests")] == ["v1/manifests/cd/cdef.json"]


def test_a_file_system_that_finds_by_itself_is_asked_once(monkeypatch, tmp_path):
    backend = FsspecBackend(f"memory://{tmp_path.name}")
    backend.put(PATH, b"content")
    monkeypatch.setattr(MemoryFileSystem, "ls", None)
    assert [entry.path for entry in backend.list("v1")] == [PATH]


def test_a_root_at_the_top_of_a_file_system_works():
    backend = FsspecBackend("memory://")
    try:
        backend.put("v1/objects/top", b"content")
        assert [entry.path for entry in backend.list("v1/objects")] == ["v1/objects/top"]
    finally:
        backend.delete("v1/objects/top")


def test_a_file_system_without_conditional_create_is_looked_at_first(backend, monkeypatch):
    def pipe_file(self, path, value, **kwargs):
        assert "mode" not in kwargs, "it would vanish in there, and overwrite"
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(value)

    monkeypatch.setattr(LocalFileSystem, "pipe_file", pipe_file)
    assert backend.put(PATH, b"first", create=True) is True
    assert backend.put(PATH, b"second", create=True) is False
    assert backend.get(PATH) == b"first"


def test_a_conditional_write_that_is_refused_as_invalid_is_a_lost_race(backend, monkeypatch):
    backend.put(PATH, b"first")

    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        raise OSError(errno.EINVAL, "PreconditionFailed")

    monkeypatch.setattr(LocalFileSystem, "pipe_file", pipe_file)
    assert backend.put(PATH, b"second", create=True) is False
    with pytest.raises(OSError, match="PreconditionFailed"):
        backend.put("v1/manifests/ab/other.json", b"second", create=True)


def test_other_failures_of_a_write_are_raised(backend, monkeypatch):
    def pipe_file(self, path, value, mode="overwrite", **kwargs):
        raise OSError(errno.EIO, "broken")

    monkeypatch.setattr(LocalFileSystem, "pipe_file", pipe_file)
    for create in (False, True):
        with pytest.raises(OSError, match="broken"):
            backend.put(PATH, b"content", create=create)


def test_a_failing_existence_check_is_raised_and_not_taken_for_absent(backend, monkeypatch):
    backend.put(PATH, b"first")

    def info(self, path, **kwargs):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(LocalFileSystem, "info", info)
    with pytest.raises(PermissionError):
        backend.stat(PATH)
    monkeypatch.setattr(LocalFileSystem, "cat_file", info)
    with pytest.raises(PermissionError):
        backend.get(PATH)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("mtime", 1700000000.5),
        (
            "LastModified",
            dt.datetime(2023, 11, 14, 22, 13, 20, 500000, dt.timezone.utc),
        ),
        ("updated", dt.datetime(2023, 11, 14, 22, 13, 20, 500000, dt.timezone.utc)),
    ],
)
def test_the_time_is_read_from_whatever_the_file_system_calls_it(backend, monkeypatch, key, value):
    monkeypatch.setattr(LocalFileSystem, "info", lambda self, path: {"size": 3, key: value})
    assert backend.stat(PATH).mtime == 1700000000.5


def test_an_unknown_time_is_now_so_that_nothing_is_deleted_for_being_old(backend, monkeypatch):
    monkeypatch.setattr(LocalFileSystem, "info", lambda self, path: {"size": 3, "updated": "soon"})
    assert abs(backend.stat(PATH).mtime - time.time()) < 60


def test_a_new_file_system_is_made_after_a_fork(backend):
    before = backend._connect()[0]
    assert in_child(lambda: backend._connect()[0] is not before) is True
    assert backend._connect()[0] is before


def test_a_listing_that_other_threads_disturb_is_made_again(monkeypatch):
    backend = FsspecBackend("memory://disturbed/store")
    backend.put("v1/a", b"")
    find, disturbed = MemoryFileSystem.find, [True, True]

    def finding(*arguments, **options):
        if disturbed:
            raise RuntimeError("dictionary changed size during iteration", disturbed.pop())
        return find(*arguments, **options)

    monkeypatch.setattr(MemoryFileSystem, "find", finding)
    assert [entry.path for entry in backend.list("v1")] == ["v1/a"]
