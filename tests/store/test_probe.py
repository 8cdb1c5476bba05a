"""What a backend really does is found out by doing it."""

import os
import time

import pytest

from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.memory import MemoryBackend
from stepaudio_cas.store.probe import probe
from tests.support.faulty import VERBS, FaultyBackend, FaultyLockingBackend
from tests.support.processes import wait_until


class Checked(MemoryBackend):
    """Refuses what is there, but two at once both look before either of them writes."""

    def __init__(self, name):
        super().__init__(name)
        self.looking = 0

    def put(self, path, data, *, create=False):
        if create and self.get(path) is not None:
            return False
        if create and "race" in path:
            self.looking += 1
            wait_until(lambda: self.looking >= 4)
        return super().put(path, data)


class Overwriting(MemoryBackend):
    """Takes the option, and does nothing with it."""

    def put(self, path, data, *, create=False):
        return super().put(path, data)


class Silent(MemoryBackend):
    """Overwrites, and says that it did not."""

    def put(self, path, data, *, create=False):
        there = self.get(path) is not None
        super().put(path, data)
        return not (create and there)


class Forgetful(MemoryBackend):
    def get(self, path, **options):
        return b"something else"


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        (MemoryBackend, "atomic"),
        (Checked, "checked"),
        (Overwriting, "overwrites"),
        (Silent, "overwrites"),
    ],
)
def test_kinds_of_create_are_told_apart(kind, found):
    capabilities = probe(kind(f"probe-{kind.__name__}"))
    assert capabilities.writable
    assert capabilities.create == found


def test_a_local_store_can_do_everything(local):
    capabilities = probe(local)
    assert capabilities.writable
    assert capabilities.create == "atomic"
    assert capabilities.lists
    assert capabilities.locks
    assert abs(capabilities.clock_skew) < 2
    assert 0 < capabilities.seconds < 60
    assert capabilities.error == ""


def test_every_backend_is_writable_and_lists_and_refuses_what_is_there(backend):
    capabilities = probe(backend)
    assert capabilities.writable
    assert capabilities.lists
    assert capabilities.create in {"atomic", "checked"}


def test_nothing_is_left_of_a_probe(backend):
    probe(backend)
    assert list(backend.list("v1")) == []


def test_nothing_is_left_of_many_probes_but_the_two_folders_they_share(local, root):
    for _ in range(3):
        probe(local)
    left = sorted(p.relative_to(root).as_posix() for p in root.rglob("*"))
    assert left == ["CACHEDIR.TAG", "v1", layout.LEASES, layout.PROBES]


def test_locks_that_refuse_nobody_are_no_locks(local, monkeypatch):
    monkeypatch.setattr("fcntl.flock", lambda fd, operation: None)
    assert probe(local).locks is False


def test_a_lock_that_nobody_gets_is_no_lock(local, monkeypatch):
    monkeypatch.setattr(LocalBackend, "try_lock", lambda self, name: None)
    assert probe(local).locks is False


def test_a_backend_without_locks_has_none():
    assert probe(MemoryBackend("probe-locks")).locks is False


def test_a_listing_that_does_not_show_what_was_written_is_no_listing(monkeypatch):
    monkeypatch.setattr(MemoryBackend, "list", lambda self, prefix: iter(()))
    assert probe(MemoryBackend("probe-lists")).lists is False


def test_a_backend_that_cannot_be_written_says_why():
    backend = FaultyBackend()
    backend.fail("put", PermissionError(13, "read-only"))
    capabilities = probe(backend)
    assert not capabilities.writable
    assert capabilities.create == "unknown"
    assert capabilities.error == "PermissionError: [Errno 13] read-only"


def test_a_backend_that_returns_something_else_is_not_written():
    capabilities = probe(Forgetful("probe-forgetful"))
    assert not capabilities.writable
    assert "read back" in capabilities.error


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_that_fails_makes_no_probe_raise(verb, local):
    backend = FaultyLockingBackend(local)
    backend.fail(verb, OSError(5, "broken"))
    capabilities = probe(backend)
    assert capabilities.writable is (verb not in {"get", "put", "stat"})
    assert capabilities.lists is (verb in {"try_lock", "release", "delete"})
    assert capabilities.locks is (verb in {"list", "delete"})
    if verb not in {"delete", "release"}:
        assert list(local.list("v1")) == []


@pytest.mark.parametrize("skew", [-3600.0, 3600.0])
def test_a_clock_that_is_off_is_noticed(local, monkeypatch, skew):
    put = LocalBackend.put

    def put_in_another_time(self, path, data, **options):
        done = put(self, path, data, **options)
        then = time.time() + skew
        os.utime(f"{self.root}/{path}", (then, then))
        return done

    monkeypatch.setattr(LocalBackend, "put", put_in_another_time)
    assert probe(local).clock_skew == pytest.approx(skew, abs=60)


def test_a_clock_within_the_time_of_the_write_is_not_off():
    ticks = iter([time.time() - 60, time.time() + 60])
    assert probe(MemoryBackend("probe-clock"), clock=lambda: next(ticks)).clock_skew == 0.0
