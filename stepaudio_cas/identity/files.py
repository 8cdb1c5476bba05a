"""Digests of files, remembered, so that a restart does not read gigabytes of weights again.

A digest is remembered for (path, size, mtime_ns, inode, ctime_ns) in a small SQLite file that all
processes on the machine share. The memory is a convenience: whatever happens to it (locked,
damaged, read-only), the answer is computed from the file instead.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from blake3 import blake3

from stepaudio_cas._fork import ForkGuard
from stepaudio_cas.errors import Bypass
from stepaudio_cas.identity.digest import is_digest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

_CHUNK: Final = 1 << 18  # stays in the processor's cache between being read and being hashed
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
            known = self._recall(real, os.stat(real))
            if known is not None:
                return known
        for _ in range(3):
            before = os.stat(real)
            found = FileDigest(_read_digest(real), before.st_size)
            if _identity(os.stat(real)) == _identity(before):
                self._remember(real, before, found)
                return found
        raise Bypass("file-changing", f"{real} is being written")

    def _recall(self, path: str, stat: os.stat_result) -> FileDigest | None:
        with self._connection() as db:
            if db is None:
                return None
            row = db.execute(
                "SELECT digest FROM files WHERE path=? AND size=? AND mtime_ns=? AND inode=?"
                " AND ctime_ns=?",
                (os.fsencode(path), *_identity(stat)),  # not every name is text
            ).fetchone()
            return FileDigest(row[0], stat.st_size) if row and is_digest(row[0]) else None
        return None

    def _remember(self, path: str, stat: os.stat_result, found: FileDigest) -> None:
        newest = max(stat.st_mtime, stat.st_ctime)
        if self._clock() - newest < RACY_SECONDS:
            return
        with self._connection() as db:
            if db is not None:
                db.execute(
                    "INSERT OR REPLACE INTO files (path, size, mtime_ns, inode, ctime_ns, digest)"
                    " VALUES (?,?,?,?,?,?)",
                    (os.fsencode(path), *_identity(stat), found.digest),
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


def _identity(stat: os.stat_result) -> tuple[int, int, int, int]:
    inode = stat.st_ino & 0x7FFF_FFFF_FFFF_FFFF  # SQLite's integers are signed
    return stat.st_size, stat.st_mtime_ns, inode, stat.st_ctime_ns


def _is_damage(error: BaseException) -> bool:
    """Tell a damaged or foreign database from one that is only locked or read-only."""
    if isinstance(error, sqlite3.OperationalError):
        return "no such column" in str(error) or "malformed" in str(error)
    return isinstance(error, (sqlite3.DatabaseError, UnicodeError))


def _read_digest(path: str) -> str:
    # Plain reads: a memory-mapped file that is truncated meanwhile would kill the host by SIGBUS.
    hasher, buffer = blake3(), bytearray(_CHUNK)
    view = memoryview(buffer)
    with open(path, "rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
    return hasher.hexdigest()
