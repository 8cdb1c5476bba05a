import os
import sqlite3

import pytest
from blake3 import blake3

from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity import files
from stepaudio_cas.identity.files import RACY_SECONDS, FileDigest, FileDigests, digest_small
from tests.support.processes import in_children, in_threads

LATER = 2e9  # long after any file of a test was written


@pytest.fixture
def database(tmp_path):
    return tmp_path / "state" / "files.sqlite"


@pytest.fixture
def digests(database):
    return FileDigests(database, clock=lambda: LATER)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def reads(monkeypatch):
    """The paths whose content has been read."""
    found, read = [], files._read_digest

    def reading(file, size):
        found.append(file.name)
        return read(file, size)

    monkeypatch.setattr(files, "_read_digest", reading)
    return found


def of(content):
    return FileDigest(blake3(content).hexdigest(), len(content))


@pytest.mark.parametrize("size", [0, 1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3 << 20])
def test_the_digest_of_a_file_is_that_of_its_bytes(digests, tmp_path, size):
    content = bytes(range(256)) * (size // 256) + b"\1" * (size % 256)
    (tmp_path / "file").write_bytes(content)
    assert digests.digest(tmp_path / "file") == of(content)


def test_a_file_is_read_once(digests, weights, reads):
    assert {digests.digest(weights) for _ in range(3)} == {of(b"weights")}
    assert len(reads) == 1


def test_a_file_is_read_once_for_all_processes(database, weights, reads):
    FileDigests(database, clock=lambda: LATER).digest(weights)
    assert FileDigests(database, clock=lambda: LATER).digest(weights) == of(b"weights")
    assert len(reads) == 1


def test_without_a_database_every_time_is_the_first(weights, reads):
    digests = FileDigests()
    assert [digests.digest(weights), digests.digest(weights)] == [of(b"weights")] * 2
    assert len(reads) == 2


def test_two_names_of_a_file_are_one(digests, weights, tmp_path, reads, monkeypatch):
    (tmp_path / "link").symlink_to(weights)
    monkeypatch.chdir(tmp_path)
    for name in (weights, str(weights), tmp_path / "link", "weights.bin", "./link"):
        assert digests.digest(name) == of(b"weights")
    assert len(reads) == 1


def test_a_link_that_points_elsewhere_now_is_followed(digests, weights, tmp_path):
    link, other = tmp_path / "link", tmp_path / "other"
    other.write_bytes(b"others!")
    link.symlink_to(weights)
    assert digests.digest(link) == of(b"weights")
    link.unlink()
    link.symlink_to(other)
    assert digests.digest(link) == of(b"others!")


def grow(path):
    path.write_bytes(b"weights and more")


def rewrite_and_set_back(path):
    before = after = path.stat()
    while after.st_ctime_ns == before.st_ctime_ns:  # a file's clock has ticks
        path.write_bytes(b"WEIGHTS")
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        after = path.stat()


def replace_and_set_back(path):
    before, other = path.stat(), path.with_name("new")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)


@pytest.mark.parametrize("change", [grow, rewrite_and_set_back, replace_and_set_back])
def test_a_changed_file_is_read_again(digests, weights, reads, change):
    digests.digest(weights)
    change(weights)
    assert digests.digest(weights) == of(weights.read_bytes())
    assert len(reads) == 2


@pytest.mark.parametrize("field", range(4), ids=["size", "mtime", "inode", "ctime"])
def test_each_part_of_a_files_identity_is_compared(digests, weights, reads, monkeypatch, field):
    identity = files._identity
    digests.digest(weights)

    def changed(stat):
        values = list(identity(stat))
        values[field] += 1
        return tuple(values)

    monkeypatch.setattr(files, "_identity", changed)
    digests.digest(weights)
    assert len(reads) == 2
    digests.digest(weights)
    assert len(reads) == 2


def test_what_was_remembered_before_a_change_is_replaced(digests, weights, database):
    digests.digest(weights)
    grow(weights)
    digests.digest(weights)
    with sqlite3.connect(database) as db:
        assert db.execute("SELECT digest FROM files").fetchall() == [
            (of(b"weights and more").digest,)
        ]
    db.close()


@pytest.mark.parametrize(
    ("age", "remembered"),
    [(-100, False), (0, False), (RACY_SECONDS * 0.9, False), (RACY_SECONDS * 1.1, True)],
)
def test_a_file_that_may_still_change_within_a_tick_is_not_remembered(
    database, weights, reads, age, remembered
):
    stat = weights.stat()
    newest = max(stat.st_mtime, stat.st_ctime)
    digests = FileDigests(database, clock=lambda: newest + age)
    digests.digest(weights)
    digests.digest(weights)
    assert len(reads) == (1 if remembered else 2)


def test_an_old_mtime_does_not_make_a_new_file_old(database, weights, reads):
    os.utime(weights, (1, 1))
    digests = FileDigests(database, clock=lambda: weights.stat().st_ctime)
    digests.digest(weights)
    digests.digest(weights)
    assert len(reads) == 2


def test_a_file_that_changes_once_while_it_is_read_is_read_again(digests, weights, monkeypatch):
    read, contents = files._read_digest, [b"during"]

    def reading(file, size):
        found = read(file, size)
        if contents:
            weights.write_bytes(contents.pop())
        return found

    monkeypatch.setattr(files, "_read_digest", reading)
    assert digests.digest(weights) == of(b"during")


def test_a_file_that_keeps_changing_is_a_bypass(digests, weights, monkeypatch):
    read, runs = files._read_digest, []

    def reading(file, size):
        runs.append(file.name)
        weights.write_bytes(b"x" * len(runs))
        return read(file, size)

    monkeypatch.setattr(files, "_read_digest", reading)
    with pytest.raises(Bypass) as caught:
        digests.digest(weights)
    assert caught.value.reason == "file-changing"
    assert len(runs) == 3


@pytest.mark.parametrize("digest", [FileDigests().digest, lambda path: digest_small(path, 1)])
def test_a_pipe_is_left_to_the_host(tmp_path, digest):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open(tmp_path / "pipe", "wb", buffering=0) as writer:
        writer.write(b"recording")
        with pytest.raises(Bypass) as caught:
            digest(tmp_path / "pipe")
        assert os.read(reader, 100) == b"recording"
    os.close(reader)
    assert caught.value.reason == "unsupported-input"


@pytest.mark.parametrize("size", [0, 7, 8])
def test_a_small_file_is_digested_without_a_memory(tmp_path, size):
    (tmp_path / "file").write_bytes(b"x" * size)
    expected = of(b"x" * size) if size < 8 else None
    assert digest_small(tmp_path / "file", 7) == expected


@pytest.mark.parametrize("name", ["missing.bin", "folder", "missing/weights.bin"])
def test_a_file_that_cannot_be_read_is_an_os_error(digests, tmp_path, name):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError):
        digests.digest(tmp_path / name)


def test_a_file_that_is_gone_is_not_remembered(digests, weights):
    digests.digest(weights)
    weights.unlink()
    with pytest.raises(FileNotFoundError):
        digests.digest(weights)


def test_a_name_need_not_be_text(digests, tmp_path, reads):
    path = tmp_path / os.fsdecode(b"caf\xe9.bin")
    path.write_bytes(b"weights")
    assert [digests.digest(path), digests.digest(path)] == [of(b"weights")] * 2
    assert len(reads) == 1


def test_processes_share_a_new_database(database, tmp_path):
    names = [tmp_path / f"{n}.bin" for n in range(6)]
    for name in names:
        name.write_bytes(name.name.encode())

    def work(_):
        digests = FileDigests(database, clock=lambda: LATER)
        return [digests.digest(name).digest for name in names * 3]

    expected = [of(name.name.encode()).digest for name in names * 3]
    assert in_children(4, work) == [expected] * 4


def test_threads_share_one_memory(digests, tmp_path):
    names = [tmp_path / f"{n}.bin" for n in range(4)]
    for name in names:
        name.write_bytes(name.name.encode())
    found = in_threads(4, lambda n: [digests.digest(name) for name in names[n:] + names[:n]])
    for n, row in enumerate(found):
        assert row == [of(name.name.encode()) for name in names[n:] + names[:n]]


def test_an_inode_may_be_larger_than_the_databases_integers(digests, weights, reads, monkeypatch):
    class Stat:
        def __init__(self, found):
            self.__dict__ = {n: getattr(found, n) for n in dir(found) if n.startswith("st_")}
            self.st_ino |= 1 << 63

    stat = os.stat
    with monkeypatch.context() as patch:
        patch.setattr(files.os, "stat", lambda path, **options: Stat(stat(path, **options)))
        assert [digests.digest(weights), digests.digest(weights)] == [of(b"weights")] * 2
    assert len(reads) == 1


def test_a_fork_does_not_happen_while_the_memory_is_open(digests, weights, monkeypatch):
    """SQLite has locks of its own, which a child would find held by a thread that it lacks."""
    guarded = []
    connect = FileDigests._connect

    def connecting(self):
        guarded.append(not files._SQLITE._lock.acquire(blocking=False))
        return connect(self)

    monkeypatch.setattr(FileDigests, "_connect", connecting)
    assert digests.digest(weights) == of(b"weights")
    assert guarded == [True, True]


def test_a_file_is_read_where_the_memory_may_not_be_opened(digests, weights, reads, monkeypatch):
    digests.digest(weights)
    monkeypatch.setattr(files._SQLITE, "_usable", False)
    assert digests.digest(weights) == of(b"weights")
    assert len(reads) == 2
