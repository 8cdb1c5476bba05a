"""Stores, judged by using them."""

import errno
from typing import NamedTuple

import pytest

from stepaudio_cas.cli.checks import stores
from stepaudio_cas.cli.checks.mounts import file_system_of, file_systems
from stepaudio_cas.settings import Settings
from stepaudio_cas.store import local
from stepaudio_cas.store.remote import FsspecBackend
from tests.support.faulty import FaultyBackend


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def examine(*urls, **settings):
    """Return the findings by name (the last of each)."""
    made = Settings(stores=tuple(map(str, urls))).override(**settings)
    return {f.name: f for f in stores.examine(made)}


def states(found):
    return {name: finding.state.value for name, finding in found.items()}


@pytest.fixture
def faulty(monkeypatch):
    """A backend that does what the test says, and is opened for any URL."""
    backend = FaultyBackend()
    monkeypatch.setattr(stores, "open_backend", lambda url: backend)
    yield backend
    backend.mend()


@pytest.fixture
def disk(monkeypatch):
    """Tell what the disk is like."""

    def disk_(free=10**12, kind="ext4"):
        monkeypatch.setattr(stores.shutil, "disk_usage", lambda path: Usage(2 * free, free, free))
        monkeypatch.setattr(stores, "file_system_of", lambda path, mounts: kind)

    disk_()
    return disk_


def test_a_good_store_is_ok(root, disk):
    assert set(states(examine(root)).values()) == {"ok"}


def test_the_default_store_is_looked_at(tmp_path, disk):
    found = examine("default")["store.write"]
    assert (found.state.value, found.subject) == ("ok", f"file://{tmp_path}/xdg/stepaudio-cas")


def test_every_store_of_a_chain_is_looked_at(root, tmp_path, disk):
    (tmp_path / "file").write_text("")
    found = stores.examine(Settings(stores=(str(root), f"{tmp_path}/file/store")))
    writes = {f.subject: f.state.value for f in found if f.name == "store.write"}
    assert writes == {f"file://{root}": "ok", f"file://{tmp_path}/file/store": "wrong"}


def test_nothing_is_looked_at_where_no_store_is_named():
    assert examine() == {}


@pytest.mark.parametrize("url", ["nothing://a/b", "s3:/a", "file://a/b"])
def test_a_url_that_cannot_be_opened_is_wrong(url):
    assert states(examine(url))["store.open"] == "wrong"


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (PermissionError(errno.EACCES, "no"), "right to write"),
        (OSError(errno.EROFS, "no"), "mounted read-only"),
        (OSError(errno.ENOSPC, "no"), "the disk is full"),
        (ConnectionError("no"), "reachable from here"),
    ],
)
def test_a_store_that_cannot_be_written_is_wrong_with_its_remedy(faulty, error, remedy):
    faulty.fail("put", error)
    found = examine("x://y")["store.write"]
    assert (found.state.value, remedy in found.remedy) == ("wrong", True)


@pytest.mark.parametrize("verb", ["get", "put", "stat"])
def test_a_store_that_hangs_is_wrong(faulty, verb):
    faulty.hang(verb)
    assert states(examine("x://y", deadline=0.02))["store.answers"] == "wrong"


def test_a_store_that_may_only_be_read_is_not_written(root, disk):
    root.mkdir()
    assert states(examine(root, mode="ro"))["store.read"] == "ok"
    assert list(root.iterdir()) == []


def test_a_read_only_store_that_is_not_there_is_a_warning(root, disk):
    assert states(examine(root, mode="ro"))["store.read"] == "warning"
    assert not root.exists()


def test_a_store_that_cannot_be_read_is_wrong(faulty):
    faulty.fail("get", PermissionError(errno.EACCES, "no"))
    assert states(examine("x://y", mode="ro"))["store.read"] == "wrong"


@pytest.mark.parametrize(("seconds", "state"), [(0.1, "ok"), (0.3, "warning"), (1.0, "wrong")])
def test_a_look_up_is_held_against_the_deadline(root, disk, monkeypatch, seconds, state):
    monkeypatch.setattr(stores, "_lookup_seconds", lambda backend: seconds)
    assert states(examine(root))["store.speed"] == state


def test_a_store_that_does_not_create_exclusively_is_a_warning(monkeypatch):
    backend = FsspecBackend("memory://doctor")
    monkeypatch.setattr(stores, "open_backend", lambda url: backend)
    monkeypatch.setattr(backend, "put", _overwriting(backend.put))
    found = examine("x://y")["store.create"]
    assert (found.state.value, "(overwrites)" in found.text) == ("warning", True)


def _overwriting(put):
    return lambda path, data, **options: put(path, data)


def test_locks_that_do_nothing_are_a_warning(root, disk, monkeypatch):
    monkeypatch.setattr(local.fcntl, "flock", lambda *arguments: None)
    assert states(examine(root))["store.lock"] == "warning"


def test_a_store_without_listing_is_a_warning(faulty):
    faulty.fail("list", PermissionError("no"))
    assert states(examine("x://y"))["store.list"] == "warning"


def test_a_clock_that_is_off_is_a_warning(faulty, monkeypatch):
    stat = faulty.inner.stat
    monkeypatch.setattr(faulty, "stat", lambda path: stat(path)._replace(mtime=0.0))
    assert states(examine("x://y"))["store.clock"] == "warning"


@pytest.mark.parametrize("kind", ["tmpfs", "ramfs", "overlay"])
def test_a_store_that_will_be_gone_is_a_warning(root, disk, kind):
    disk(kind=kind)
    assert states(examine(root))["store.place"] == "warning"


def test_a_store_in_memory_alone_is_a_warning(root, disk):
    assert states(examine("memory://doctor"))["store.place"] == "warning"
    assert "store.place" not in examine("memory://doctor", root)


def test_little_space_is_a_warning(root, disk):
    disk(free=10**6)
    assert states(examine(root))["store.space"] == "warning"


def test_a_bound_above_the_disk_is_a_warning(root, disk):
    disk(free=10**10)
    found = examine(root, max_size="20GB")["store.space"]
    assert (found.state.value, "at most 10.0 GB" in found.remedy) == ("warning", True)


def test_a_bound_that_what_is_there_counts_towards_is_ok(root, disk):
    disk(free=2 * 10**9)
    path = root / "v1" / "objects" / "ab"
    path.mkdir(parents=True)
    with open(path / ("ab" * 32), "wb") as file:
        file.truncate(2 * 10**9)
    assert states(examine(root, max_size="3GB"))["store.space"] == "ok"


def test_a_bound_without_a_local_store_is_a_warning(root, disk):
    assert states(examine("memory://doctor", ttl="30d"))["setting.bound"] == "warning"
    assert "setting.bound" not in examine(root, ttl="30d")


def test_a_state_folder_that_cannot_be_written_is_wrong(root, disk, tmp_path):
    (tmp_path / "file").write_text("")
    assert states(examine(root, state=str(tmp_path / "file")))["state"] == "wrong"


def test_passwords_stay_out_of_findings(faulty):
    faulty.url = "redis://me:secret@host/0"
    faulty.fail("put", ConnectionError("to redis://me:secret@host/0"))
    findings = stores.examine(Settings(stores=("redis://me:secret@host/0",)))
    assert "secret" not in repr(findings)
    assert "me:***@host" in repr(findings)


def test_the_kind_of_file_system_is_that_of_the_nearest_mount(tmp_path):
    (tmp_path / "table").write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda rw\n"
        "2 1 0:1 / /mnt/my\\040disk rw,relatime shared:1 - xfs /dev/sdb rw\n"
        "3 2 0:2 / /mnt/my\\040disk/deep rw - tmpfs none rw\n"
    )
    mounts = file_systems(str(tmp_path / "table"))
    paths = ["/srv/a", "/mnt/my disk/a", "/mnt/my disk/deep/not/yet", "/mnt/my disk/deeper"]
    assert [file_system_of(path, mounts) for path in paths] == ["ext4", "xfs", "tmpfs", "xfs"]


def test_without_a_table_nothing_is_known(tmp_path):
    assert file_system_of("/srv", file_systems(str(tmp_path / "nothing"))) == ""
