"""Digests of files, remembered, so that a restart does not read gigabytes of weights again.

A digest is remembered for (path, size, mtime_ns, inode, ctime_ns) in a small SQLite file that all
processes on the machine share. The memory is a convenience: whatever happens to it (locked,
damaged, read-only), the answer is computed from the file instead.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import stat
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from stepaudio_cas._fork import ForkGuard
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import is_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import FileIO
    from pathlib import Path

_CHUNK: Final = 1 << 18  # stays in the processor's cache between being read and being hashed
_TRIES: Final = 3
_SCHEMA: Final = """
    CREATE TABLE IF NOT EXISTS files (
        path BLOB PRIMARY KEY, size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL,
        inode INTEGER NOT NULL, ctime_ns INTEGER NOT NULL, digest TEXT NOT NULL
    ) WITHOUT ROWID
"""

_SQLITE: Final = ForkGuard()
_TROUBLE: Final = (sqlite3.Error, UnicodeError)  # the text of an error may be damaged as well

RACY_SECONDS: Final = 2.0
"""A file changed this recently could change again within one tick of its clock: not remembered."""


@dataclass(frozen=True)
class FileDigest:
    """What a file holds."""

    digest: str
    size: int


class FileDigests:
    """Digests of files, through a memory shared by the processes of this machine.

    `database` is where to remember; None remembers nothing. `trouble` is told why that place
    cannot be used.
    """

    def __init__(
        self,
        database: Path | None = None,
        *,
        trouble: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._trouble = trouble
        self._clock = clock

    def digest(self, path: str | os.PathLike[str]) -> FileDigest:
        """Digest the file's content. Raises `OSError` if it cannot be read.

        Raises `Bypass` if the file keeps changing while it is read.
        """
        real = os.fspath(path)
        if self._database is not None:
            real = os.path.realpath(path)
            known = self._recall(real, _look(real))
            if known is not None:
                return known
        found, seen = _read(real)
        self._remember(real, seen, found)
        return found

    def _recall(self, path: str, seen: os.stat_result) -> FileDigest | None:
        with self._connection() as db:
            if db is None:
                return None
            row = db.execute(
                "SELECT digest FROM files WHERE path=? AND size=? AND mtime_ns=? AND inode=?"
                " AND ctime_ns=?",
                (os.fsencode(path), *_identity(seen)),  # not every name is text
            ).fetchone()
            return FileDigest(row[0], seen.st_size) if row and is_digest(row[0]) else None
        return None

    def _remember(self, path: str, seen: os.stat_result, found: FileDigest) -> None:
        newest = max(seen.st_mtime, seen.st_ctime)
        if self._clock() - newest < RACY_SECONDS:
            return
        with self._connection() as db:
            if db is not None:
                db.execute(
                    "INSERT OR REPLACE INTO files (path, size, mtime_ns, inode, ctime_ns, digest)"
                    " VALUES (?,?,?,?,?,?)",
                    (os.fsencode(path), *_identity(seen), found.digest),
                )

    @contextlib.contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection | None]:
        """Open the memory for one statement: safe across forks and threads, and rarely needed."""
        with _SQLITE.entered() as inside:
            if not inside:
                yield None
                return
            with self._opened() as db:
                yield db

    @contextlib.contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection | None]:
        db = None
        try:
            db = self._open()
            yield db
            if db is not None:
                db.commit()
        except _TROUBLE as error:
            if _is_damage(error):
                self._discard()
        finally:
            if db is not None:
                db.close()

    def _open(self) -> sqlite3.Connection | None:
        if self._database is None:
            return None
        try:
            self._database.parent.mkdir(parents=True, exist_ok=True)
            return self._connect()
        except (OSError, *_TROUBLE) as error:
            if not _is_damage(error):
                if self._trouble is not None:
                    self._trouble(str(error))
                return None
        self._discard()
        try:
            return self._connect()
        except _TROUBLE:
            return None

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(str(self._database), timeout=1.0)
        try:
            db.execute(_SCHEMA)
            db.execute("SELECT digest, ctime_ns FROM files LIMIT 1")
        except _TROUBLE:
            db.close()
            raise
        return db

    def _discard(self) -> None:
        assert self._database is not None
        with contextlib.suppress(OSError):
            self._database.unlink()


def digest_small(path: str | os.PathLike[str], limit: int) -> FileDigest | None:
    """Digest a file without any memory; None if it has more than `limit` bytes.

    Raises as `FileDigests.digest`. It asks the system as little as it can: at each question the
    other threads of a busy host go first.
    """
    return None if _look(path).st_size > limit else _read(path)[0]


def _read(path: str | os.PathLike[str]) -> tuple[FileDigest, os.stat_result]:
    for _ in range(_TRIES):
        before = _look(path)
        with open(path, "rb", buffering=0) as file:
            digest = _read_digest(file, before.st_size)
            after = os.fstat(file.fileno())
        if _identity(after) == _identity(before):
            return FileDigest(digest, before.st_size), before
    raise Bypass("file-changing", f"{os.fspath(path)!r} is being written")


def _look(path: str | os.PathLike[str]) -> os.stat_result:
    """Look at a file before it is opened: what is read from a pipe is gone for the host."""
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode) and not stat.S_ISDIR(found.st_mode):
        raise Bypass("unsupported-input", f"{os.fspath(path)!r} is no regular file")
    return found


def _identity(seen: os.stat_result) -> tuple[int, int, int, int]:
    inode = seen.st_ino & 0x7FFF_FFFF_FFFF_FFFF  # SQLite's integers are signed
    return seen.st_size, seen.st_mtime_ns, inode, seen.st_ctime_ns


def _is_damage(error: BaseException) -> bool:
    """Tell a damaged or foreign database from one that is only locked or read-only."""
    if isinstance(error, sqlite3.OperationalError):
        return "no such column" in str(error) or "malformed" in str(error)
    return isinstance(error, (sqlite3.DatabaseError, UnicodeError))


def _read_digest(file: FileIO, size: int) -> str:
    # Plain reads: a memory-mapped file that is truncated meanwhile would kill the host by SIGBUS.
    hasher, buffer = blake3(), bytearray(min(size, _CHUNK) or _CHUNK)
    view = memoryview(buffer)
    left = size or -1  # what is no regular file does not know its size
    while left and (count := file.readinto(buffer)):
        hasher.update(view[:count])
        left -= count
    return hasher.hexdigest()
