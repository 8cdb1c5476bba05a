"""Disks that are full, read-only, replaced or gone: served as far as possible, never in the way."""

import errno
import os
import shutil
import stat
import subprocess
import tempfile
from pathlib import Path

import pytest

from stepaudio_cas.runtime.breaker import LONGEST_PAUSE
from stepaudio_cas.store import layout
from stepaudio_cas.store.local import LocalBackend
from tests.support.processes import run_program
from tests.support.values import Computation, counters, errors, recipe, tokens

SMALL = 512 * 1024
LARGE = 40_000


@pytest.fixture
def small_disk(tmp_path, monkeypatch):
    """A folder on a disk of half a megabyte: a tmpfs where we may mount one, else made up."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL}", "small-disk", folder]
    try:
        mounted = subprocess.run(mount, check=False, capture_output=True).returncode == 0
    except OSError:
        mounted = False
    if not mounted:
        _limit_writes(monkeypatch, folder)
    yield folder
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def _limit_writes(monkeypatch, folder):
    write = os.write

    def used():
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    def write_if_there_is_room(fd, data):
        if stat.S_ISREG(os.fstat(fd).st_mode) and used() + len(data) > SMALL:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(fd, data)

    monkeypatch.setattr(os, "write", write_if_there_is_room)


def large(number):
    return bytes([number % 256]) * LARGE


def temporary_files(root):
    return list(Path(root).rglob(".tmp-*"))


def test_a_disk_that_fills_up_goes_on_serving_and_is_written_again_when_there_is_room(
    open_on, small_disk, clock
):
    backend = LocalBackend(small_disk / "store")
    cache = open_on(backend)
    for number in range(40):
        assert cache.get_or_compute(recipe(number), lambda n=number: large(n)) == large(number)
    tier = cache.chain.tiers[0]
    assert errors(cache) == {"error.full.disk"}
    assert tier.writing.state == "open"
    assert tier.reading.state == "closed"
    assert temporary_files(small_disk) == []
    stored = int(counters(cache)["stored"])
    assert 5 < stored < 40
    hits = [n for n in range(40) if cache.get(recipe(n)) is not None]
    assert len(hits) == stored
    assert all(cache.get(recipe(n)) == large(n) for n in hits)
    for number in hits[:5]:
        found = cache.chain.tiers[0].store.read(recipe(number).key)
        backend.delete(layout.object_path(found.manifest.object))
        backend.delete(layout.manifest_path(recipe(number).key))
    clock.advance(LONGEST_PAUSE)
    again = Computation(large(99))
    for _ in range(2):
        assert cache.get_or_compute(recipe(99), again) == large(99)
    assert again.runs == 1
    assert tier.writing.state == "closed"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_counted_as_full(open_on, make_faulty, number):
    backend = make_faulty()
    cache = open_on(backend)
    backend.fail("put", OSError(number, os.strerror(number)))
    for voice in range(3):
        assert cache.get_or_compute(recipe(voice), Computation(number=voice)) == tokens(voice)
    assert counters(cache) == {"miss": 3, "error.full.faulty": 1}, "one failure is enough"


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.EPERM])
def test_a_read_only_disk_is_counted_as_denied_and_read(open_on, make_faulty, number):
    backend = make_faulty()
    open_on(backend).get_or_compute(recipe(), Computation())
    cache = open_on(backend)
    backend.fail("put", OSError(number, os.strerror(number)))
    for voice in range(3):
        assert cache.get_or_compute(recipe(voice), Computation(number=voice)) == tokens(voice)
    assert counters(cache) == {"hit.faulty": 1, "miss": 2, "error.denied.faulty": 1}


@pytest.fixture
def foreign_store(open_cache):
    """A store with voice 0, in a folder that every user can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = folder / "store"
    root.mkdir(0o755)
    with open_cache(root, deadline=60.0) as cache:
        cache._housekeeping.started = True
        cache.get_or_compute(recipe(), Computation())
    yield root
    subprocess.run(["chmod", "-R", "u+rwX", folder], check=True)
    shutil.rmtree(folder)


def set_modes(root, folders, files):
    below = [root, *root.rglob("*")]
    for path in reversed(below):
        path.chmod(folders if path.is_dir() else files)


def test_a_store_that_a_user_may_not_write_is_read(foreign_store):
    set_modes(foreign_store, 0o555, 0o444)
    got = run_program("visitor", foreign_store, 0, 1, 2, 3)
    assert got["values"] == [list(tokens(number)) for number in range(4)]
    assert got["runs"] == [0, 1, 1, 1]
    assert (got["reading"], got["writing"]) == ("closed", "open")
    assert got["counters"]["hit.disk"] == 1
    assert got["counters"]["error.denied.disk"] >= 1
    assert temporary_files(foreign_store) == []


def test_a_store_that_a_user_may_not_even_read_is_as_if_there_were_none(foreign_store):
    set_modes(foreign_store, 0o000, 0o000)
    got = run_program("visitor", foreign_store, 0, 1)
    assert got["values"] == [list(tokens(number)) for number in range(2)]
    assert got["runs"] == [1, 1]
    assert (got["reading"], got["writing"]) == ("open", "open")
    assert set(got["counters"]) == {"miss", "error.denied.disk"}


def test_a_store_whose_files_a_user_may_not_read_is_as_if_they_were_damaged(foreign_store):
    for path in foreign_store.rglob("*"):
        if path.is_file():
            path.chmod(0o000)
    got = run_program("visitor", foreign_store, 0)
    assert got["values"] == [list(tokens(0))]
    assert got["runs"] == [1]
    assert got["counters"]["error.denied.disk"] >= 1


def test_a_store_that_cannot_be_made_is_as_if_there_were_none(foreign_store):
    foreign_store.chmod(0o555)
    got = run_program("visitor", foreign_store / "below", 0, 1)
    assert got["values"] == [list(tokens(number)) for number in range(2)]
    assert got["writing"] == "open"
    assert set(got["counters"]) == {"miss", "error.denied.disk"}


def test_a_root_that_is_a_file_is_as_if_there_were_none_and_stays_a_file(open_on, root):
    root.write_bytes(b"somebody's notes")
    cache = open_on(LocalBackend(root))
    for number in range(4):
        assert cache.get_or_compute(recipe(number), Computation(number=number)) == tokens(number)
    assert root.read_bytes() == b"somebody's notes"
    assert errors(cache) == {"error.store.disk"}
    assert counters(cache)["miss"] == 4


def test_a_root_that_becomes_a_file_and_a_folder_again(open_on, root, clock):
    cache = open_on(LocalBackend(root))
    cache.get_or_compute(recipe(), Computation())
    root.rename(root.with_name("moved"))
    root.write_bytes(b"")
    for number in range(4):
        assert cache.get_or_compute(recipe(number), Computation(number=number)) == tokens(number)
    assert cache.chain.tiers[0].reading.state == "open"
    root.unlink()
    root.with_name("moved").rename(root)
    clock.advance(LONGEST_PAUSE)
    compute = Computation()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 0


def test_a_root_that_is_removed_while_running_is_made_again(open_on, root):
    cache = open_on(LocalBackend(root))
    compute = Computation()
    cache.get_or_compute(recipe(), compute)
    shutil.rmtree(root)
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert compute.runs == 2
    assert errors(cache) == set()
    assert cache.flush()
    assert (root / "CACHEDIR.TAG").exists()


@pytest.mark.parametrize("folder", [layout.OBJECTS, layout.MANIFESTS, layout.LEASES, "v1"])
def test_a_folder_that_is_removed_while_running_is_made_again(open_on, root, folder):
    cache = open_on(LocalBackend(root))
    compute = Computation()
    cache.get_or_compute(recipe(), compute)
    shutil.rmtree(root / folder)
    for _ in range(2):
        assert cache.get_or_compute(recipe(), compute) == tokens()
    assert cache.get_or_compute(recipe(1), Computation(number=1)) == tokens(1)
    assert errors(cache) <= {"error.object-missing"}
    assert counters(cache)["hit.disk"] >= 1


def test_a_root_that_is_removed_in_the_middle_of_a_computation(open_on, root):
    cache = open_on(LocalBackend(root))

    def compute():
        shutil.rmtree(root)
        return tokens()

    assert cache.get_or_compute(recipe(), compute) == tokens()
    assert cache.get_or_compute(recipe(), None) == tokens()
    assert errors(cache) == set()
