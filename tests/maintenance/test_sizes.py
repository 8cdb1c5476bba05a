"""How much a store has: exact at every moment, whatever is remembered."""

import json
import os
import time

import pytest

from stepaudio_cas.maintenance import sizes
from stepaudio_cas.maintenance.sizes import STEPS, Size, measure
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from stepaudio_cas.store.store import Store
from tests.maintenance.filled import fill
from tests.support.backends import BACKENDS
from tests.support.faulty import FaultyBackend

REMEMBERED = f"{layout.STATE}/sizes.json"


@pytest.fixture
def backend(root):
    return LocalBackend(root)


def listed(backend):
    """Return the size as a listing tells it."""
    found = [list(backend.list(part)) for part in (layout.MANIFESTS, layout.OBJECTS)]
    return Size(*map(len, found), sum(entry.size for part in found for entry in part))


def settle(backend):
    """Let every folder have changed for the last time an hour ago."""
    hour_ago = time.time() - 3600
    for part in (layout.MANIFESTS, layout.OBJECTS):
        for shard in os.scandir(f"{backend.root}/{part}"):
            os.utime(shard.path, (hour_ago, hour_ago))


def remembered(backend):
    data = backend.get(REMEMBERED)
    return json.loads(data)["folders"] if data else {}


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_is_measured(name, tmp_path):
    (tmp_path / "b").mkdir()
    backend = BACKENDS[name](tmp_path / "b")
    steps = []
    assert measure(backend) == Size(0, 0, 0)
    fill(Store(backend), range(5))
    fill(Store(backend), range(5, 7), deterministic=False)
    found = measure(backend, step=lambda: steps.append(None))
    assert found == listed(backend)
    assert found.entries == found.objects == 7
    assert len(steps) <= STEPS


def test_a_store_that_is_not_there_is_not_made(backend):
    assert measure(backend) == Size(0, 0, 0)
    assert not os.path.exists(backend.root)


def test_what_is_not_an_entry_or_not_finished_does_not_count(backend):
    manifest, *_ = fill(Store(backend), range(3))
    before = measure(backend, remember=False)
    backend.put(f"{layout.MANIFESTS}/00/notes.txt", b"foreign")
    folder = os.path.dirname(f"{backend.root}/{layout.object_path(manifest.object)}")
    with open(f"{folder}/.tmp-1-2", "wb") as file:
        file.write(b"half of it")
    assert measure(backend, remember=False) == before


def test_folders_that_have_not_changed_are_not_looked_into_again(backend, monkeypatch):
    fill(Store(backend), range(20))
    settle(backend)
    found = measure(backend)
    looked = []
    whole = LocalBackend.measure
    monkeypatch.setattr(LocalBackend, "measure", lambda self, f: looked.append(f) or whole(self, f))
    assert measure(backend) == found
    assert looked == []
    [manifest] = fill(Store(backend), [100])
    assert measure(backend) == listed(backend)
    assert sorted(looked) == [
        os.path.dirname(layout.manifest_path(manifest.key)),
        os.path.dirname(layout.object_path(manifest.object)),
    ]


def swap(backend, manifest):
    path = f"{backend.root}/{layout.manifest_path(manifest.key)}"
    folder = os.path.dirname(path)
    before = os.stat(folder)
    os.rename(path, f"{folder}/{'ab' * 32}.json")
    with open(f"{folder}/{'cd' * 32}.json", "wb") as file:
        file.write(b"one more")
    os.utime(folder, ns=(before.st_atime_ns, before.st_mtime_ns))


CHANGES = {
    "an entry is written": lambda backend, m: fill(Store(backend), [77]),
    "an entry is removed": lambda backend, m: backend.delete(layout.manifest_path(m.key)),
    "an object is written again": lambda backend, m: backend.put(
        layout.object_path(m.object), b"of another length"
    ),
    "a manifest is replaced": lambda backend, m: backend.put(
        layout.manifest_path(m.key), b"of another length"
    ),
    "another entry is put in its place, and the times are set back": swap,
    "a folder is removed": lambda backend, m: (
        [
            backend.delete(e.path)
            for e in list(backend.list(os.path.dirname(layout.manifest_path(m.key))))
        ]
        and os.rmdir(f"{backend.root}/{os.path.dirname(layout.manifest_path(m.key))}")
    ),
}


@pytest.mark.parametrize("settled", [True, False], ids=["long ago", "just now"])
@pytest.mark.parametrize("change", CHANGES)
def test_every_change_shows_at_once(backend, change, settled):
    manifest, *_ = fill(Store(backend), range(30))
    if settled:
        settle(backend)
    assert measure(backend) == listed(backend)
    CHANGES[change](backend, manifest)
    assert measure(backend) == listed(backend)


def test_what_has_just_changed_is_not_remembered(backend):
    """Another change within the same tick of the clock would not show."""
    fill(Store(backend), range(10))
    measure(backend)
    assert remembered(backend) == {}
    settle(backend)
    measure(backend)
    assert remembered(backend) != {}
    assert os.listdir(f"{backend.root}/{layout.STATE}") == ["sizes.json"]


def test_a_clock_that_is_behind_makes_nothing_look_settled(backend):
    """A time of change that lies ahead of the store's own clock is not over yet."""
    fill(Store(backend), range(5))
    ahead = time.time() + 3600
    for part in (layout.MANIFESTS, layout.OBJECTS):
        for shard in os.scandir(f"{backend.root}/{part}"):
            os.utime(shard.path, (ahead, ahead))
    measure(backend)
    assert remembered(backend) == {}


def test_where_folders_do_not_tell_that_they_changed_nothing_is_remembered(backend, monkeypatch):
    fill(Store(backend), range(5))
    settle(backend)
    whole = LocalBackend.put

    def put(self, path, data, **options):
        done = whole(self, path, data, **options)
        os.utime(os.path.dirname(f"{self.root}/{path}"), (1, 1))
        return done

    monkeypatch.setattr(LocalBackend, "put", put)
    assert measure(backend) == listed(backend)
    assert remembered(backend) == {}


def test_a_store_that_may_only_be_read_is_left_untouched(backend):
    fill(Store(backend), range(5))
    settle(backend)
    before = sorted(os.listdir(f"{backend.root}/v1"))
    assert measure(backend, remember=False) == listed(backend)
    assert sorted(os.listdir(f"{backend.root}/v1")) == before


def test_a_visitor_makes_no_folder_in_the_store_of_somebody_else(backend, monkeypatch):
    fill(Store(backend), range(5))
    settle(backend)
    monkeypatch.setattr(os, "geteuid", lambda: os.stat(backend.root).st_uid + 1)
    assert measure(backend) == listed(backend)
    assert not os.path.exists(f"{backend.root}/{layout.STATE}")


def test_a_store_that_cannot_be_written_is_measured_all_the_same(backend, monkeypatch):
    fill(Store(backend), range(5))
    settle(backend)

    def put(self, path, data, **options):
        raise PermissionError(13, "no")

    monkeypatch.setattr(LocalBackend, "put", put)
    assert measure(backend) == listed(backend)


@pytest.mark.parametrize(
    "text",
    [b"", b"\xff", b"[]", b'{"format":2,"folders":{}}', b'{"format":1,"folders":[1]}',
     b'{"format":1,"folders":{"v1/manifests/00":"x"}}', b"[" * 100_000],
)  # fmt: skip
def test_a_damaged_memory_is_forgotten(backend, text):
    fill(Store(backend), range(5))
    backend.put(REMEMBERED, text)
    assert measure(backend) == listed(backend)


def test_several_processes_find_the_same(backend, monkeypatch):
    fill(Store(backend), range(40))
    monkeypatch.setattr(sizes, "_MANY", 1)
    forked = []
    fork = sizes._Local._fork
    monkeypatch.setattr(sizes._Local, "_fork", lambda self, f: forked.append(f) or fork(self, f))
    assert measure(backend, remember=False, processes=3) == listed(backend)
    assert forked


def test_a_listing_that_fails_is_no_size():
    backend = FaultyBackend()
    fill(Store(backend), range(3))
    backend.fail("list", OSError(5, "broken"))
    with pytest.raises(OSError, match="broken"):
        measure(backend)
