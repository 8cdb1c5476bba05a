"""Whatever happens to the memory of digests, the answer is that of the file."""

import contextlib
import shutil
import sqlite3

import pytest
from blake3 import blake3

from stepaudio_cas.identity import files
from stepaudio_cas.identity.files import FileDigest, FileDigests

connect = sqlite3.connect  # some tests put another in its place
WEIGHTS = FileDigest(blake3(b"weights").hexdigest(), 7)


@pytest.fixture
def database(tmp_path):
    return tmp_path / "state" / "files.sqlite"


@pytest.fixture
def digests(database):
    return FileDigests(database, clock=lambda: 2e9)


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "weights.bin"
    path.write_bytes(b"weights")
    return path


@pytest.fixture
def reads(monkeypatch):
    found, read = [], files._read_digest
    monkeypatch.setattr(
        files, "_read_digest", lambda file, size: found.append(file.name) or read(file, size)
    )
    return found


@contextlib.contextmanager
def opened(database):
    with contextlib.closing(connect(database, isolation_level=None)) as db:
        yield db


def is_whole(database):
    with opened(database) as db:
        return db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def garbage(database):
    database.write_bytes(b"this is no database" * 1000)


def short_garbage(database):
    database.write_bytes(b"x")


def emptied(database):
    database.write_bytes(b"")


def one_page(database):
    database.write_bytes(database.read_bytes()[:4096])


def half(database):
    content = database.read_bytes()
    database.write_bytes(content[: len(content) // 2 + 100])


def header_only(database):
    database.write_bytes(database.read_bytes()[:100])


def zeros_at_the_end(database):
    content = database.read_bytes()
    database.write_bytes(content[:4096] + bytes(len(content) - 4096))


def removed(database):
    shutil.rmtree(database.parent)


def another_table(database):
    with opened(database) as db:
        db.execute("DROP TABLE files")
        db.execute("CREATE TABLE files (name TEXT, content BLOB)")


def a_column_less(database):
    with opened(database) as db:
        db.execute("DROP TABLE files")
        db.execute("CREATE TABLE files (path TEXT, digest TEXT, ctime_ns INTEGER)")


def a_column_more(database):
    with opened(database) as db:
        db.execute("DELETE FROM files")
        db.execute("ALTER TABLE files ADD COLUMN since INTEGER")


def no_tables(database):
    with opened(database) as db:
        db.execute("DROP TABLE files")


def a_leftover_journal(database):
    garbage(database)
    database.with_name("files.sqlite-journal").write_bytes(b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7" * 99)


DAMAGES = [
    garbage, short_garbage, emptied, one_page, half, header_only, zeros_at_the_end, removed,
    another_table, a_column_less, a_column_more, no_tables, a_leftover_journal,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_database_is_rebuilt(digests, database, weights, reads, damage):
    digests.digest(weights)
    damage(database)
    assert digests.digest(weights) == WEIGHTS
    assert len(reads) == 2
    digests.digest(weights)
    del reads[:]  # from now on everything is remembered again
    others = [weights.with_name(f"{number}.bin") for number in range(20)]
    for other in others:
        other.write_bytes(b"weights")
    assert [digests.digest(path) for path in [*others, weights, *others]] == [WEIGHTS] * 41
    assert reads == list(map(str, others))


def test_any_flipped_byte_is_survived(digests, database, weights):
    digests.digest(weights)
    content = database.read_bytes()
    digest = content.index(WEIGHTS.digest.encode())
    places = {*range(0, 108, 2), *range(108, len(content), 331), digest - 1, digest + 64}
    places = [place for place in places if place < len(content)]
    for place in places:
        if digest <= place < digest + 64:
            continue  # the page has no sum; another digest can only be a miss
        changed = bytearray(content)
        changed[place] ^= 0xFF
        database.write_bytes(changed)
        assert digests.digest(weights) == WEIGHTS, place


@pytest.mark.parametrize("stored", ["", "abc", "A" * 64, "a" * 63 + "\n", 7, b"a" * 64])
def test_what_is_no_digest_is_not_believed(digests, database, weights, reads, stored):
    digests.digest(weights)
    with opened(database) as db:
        db.execute("UPDATE files SET digest=?", (stored,))
    assert digests.digest(weights) == WEIGHTS
    assert len(reads) == 2


def in_the_way(database):
    """Where the folder should be there is a file."""
    database.parent.write_bytes(b"")


def a_folder(database):
    """Where the database should be there is a folder."""
    database.mkdir(parents=True)


@pytest.mark.parametrize("obstacle", [in_the_way, a_folder])
def test_without_a_place_for_the_database_files_are_read(
    digests, database, weights, reads, obstacle
):
    obstacle(database)
    assert [digests.digest(weights), digests.digest(weights)] == [WEIGHTS] * 2
    assert len(reads) == 2


@pytest.fixture
def read_only(monkeypatch):
    def connect_read_only(database, **options):
        return connect(f"file:{database}?mode=ro", uri=True, **options)

    return lambda: monkeypatch.setattr(files.sqlite3, "connect", connect_read_only)


def test_a_read_only_database_still_remembers(
    digests, database, weights, reads, tmp_path, read_only
):
    digests.digest(weights)
    before = database.read_bytes()
    read_only()
    other = tmp_path / "other.bin"
    other.write_bytes(b"other")
    assert digests.digest(weights) == WEIGHTS
    assert {digests.digest(other).size for _ in range(2)} == {5}
    assert reads == [str(weights), str(other), str(other)]
    assert database.read_bytes() == before


def test_a_read_only_place_without_a_database_is_survived(digests, database, weights, read_only):
    read_only()
    assert digests.digest(weights) == WEIGHTS
    assert not database.exists()


@pytest.fixture
def impatient(monkeypatch):
    """Somebody else's lock is waited for, but not a second."""
    monkeypatch.setattr(
        files.sqlite3, "connect", lambda database, timeout: connect(database, timeout=0.01)
    )


@pytest.mark.parametrize("lock", ["EXCLUSIVE", "IMMEDIATE"])
def test_a_locked_database_is_left_alone(digests, database, weights, reads, impatient, lock):
    digests.digest(weights)
    inode = database.stat().st_ino
    with opened(database) as other:
        other.execute(f"BEGIN {lock}")
        assert digests.digest(weights) == WEIGHTS
        weights.write_bytes(b"changed to this")
        assert digests.digest(weights).digest == blake3(b"changed to this").hexdigest()
        other.execute("COMMIT")
    assert database.stat().st_ino == inode
    digests.digest(weights)
    count = len(reads)
    digests.digest(weights)
    assert len(reads) == count


def test_a_full_disk_is_survived(digests, database, weights, reads, monkeypatch):
    def connect_full(name, **options):
        db = connect(name, **options)
        db.execute("PRAGMA max_page_count=2")
        return db

    monkeypatch.setattr(files.sqlite3, "connect", connect_full)
    (weights.parent / ("n" * 200)).mkdir()
    many = []
    for number in range(40):
        path = weights.parent / ("n" * 200) / f"{number:040}"
        path.write_bytes(b"weights")
        many.append(digests.digest(path))
    assert many == [WEIGHTS] * 40
    assert is_whole(database)


@pytest.mark.parametrize("verb", ["_recall", "_remember"])
def test_an_error_in_a_statement_is_survived(digests, weights, monkeypatch, verb):
    class Refusing(sqlite3.Connection):
        def execute(self, statement, *args):
            known = {"_recall": "AND inode=?", "_remember": "INSERT"}[verb]
            if known in statement:
                raise sqlite3.OperationalError("disk I/O error")
            return super().execute(statement, *args)

    monkeypatch.setattr(
        files.sqlite3,
        "connect",
        lambda *args, **options: connect(*args, factory=Refusing, **options),
    )
    assert [digests.digest(weights), digests.digest(weights)] == [WEIGHTS] * 2
