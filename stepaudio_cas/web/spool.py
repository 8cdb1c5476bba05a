"""Voices that were sent to us: files of ours under names of ours, in a folder that is watched.

What a request calls a file is written down beside it, for people, and never becomes a path.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import secrets
import threading
import time
from fnmatch import fnmatchcase
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from stepaudio_cas.prewarm.voices import SUFFIXES
from stepaudio_cas.web.errors import ApiError, busy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_BYTES: Final = 1000**3
MOST_FILES: Final = 2000
LARGEST: Final = 64 * 1000**2
_DIGITS: Final = frozenset("0123456789abcdef")
_LENGTH: Final = 32
_LONGEST_NAME: Final = 200
_MOST_CALLED: Final = 100
_LEFT: Final = 3600.0
"""Seconds without a byte after which nobody sends a file any more: its server has died."""

_FULL: Final = frozenset({errno.ENOSPC, errno.EDQUOT})


class Spool:
    """A folder of files `<32 digits>.<suffix>`, each with a hidden note of what it was called."""

    def __init__(
        self,
        folder: str,
        *,
        most_bytes: int = MOST_BYTES,
        most_files: int = MOST_FILES,
        largest: int = LARGEST,
    ) -> None:
        self.folder, self.largest, self.most_bytes = folder, largest, most_bytes
        self._most_files = most_files
        self._lock = threading.Lock()
        self._coming = 0

    def prepare(self) -> None:
        """Make the folder, and clear away what never came whole."""
        Path(self.folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        with os.scandir(self.folder) as entries:
            for entry in entries:
                identity, _, suffix = entry.name.removeprefix(".").partition(".")
                if entry.name[0] == "." and suffix == "part" and is_identity(identity):
                    with contextlib.suppress(FileNotFoundError):
                        if entry.stat(follow_symlinks=False).st_mtime < time.time() - _LEFT:
                            os.unlink(entry.path)

    @contextlib.contextmanager
    def begin(self, name: str) -> Iterator[Arriving]:
        """Take in a file that is called `name`; it is there once `finish` was called."""
        suffix = suffix_of(name)
        self.prepare()
        with self._lock:
            self._coming += self.largest
        arriving = None
        try:
            files = self._files()
            used = sum(size for _, _, size, _ in files)
            if (
                used + self._coming > self.most_bytes + self.largest
                or len(files) >= self._most_files
            ):
                if used <= self.most_bytes and len(files) < self._most_files:
                    raise busy()
                raise ApiError(
                    507, f"there is no room for more: {len(files)} files, {used} bytes",
                    "remove some: DELETE api/v1/prewarm/upload/{id}",
                )  # fmt: skip
            arriving = Arriving(self.folder, name, suffix)
            yield arriving
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise ApiError(507, "the disk is full", f"make room for {self.folder}") from None
        finally:
            with self._lock:
                self._coming -= self.largest
            if arriving is not None:
                arriving.close()

    def remove(self, identity: str) -> bool:
        """Remove one that was sent; whoever watches then unpins what came of it."""
        for path, known, _, _ in self._files():
            if known == identity:
                os.unlink(path)
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(_note(self.folder, identity))
                return True
        return False

    def voices(self) -> list[dict[str, Any]]:
        """Name what is there, the newest first."""
        found = [
            {
                "id": identity, "path": path, "bytes": size, "uploaded": uploaded,
                "name": name_in(self.folder, identity) or os.path.basename(path),
            }
            for path, identity, size, uploaded in self._files()
        ]  # fmt: skip
        return sorted(found, key=lambda one: -float(one["uploaded"]))

    def read(self, identity: str) -> bytes | None:
        """Return the recording that was sent, or None."""
        for path, known, _, _ in self._files():
            if known == identity:
                with contextlib.suppress(FileNotFoundError), open(path, "rb") as file:
                    return file.read()
        return None

    def called(self, pattern: str) -> list[str]:
        """Return globs of the paths of voices that were sent under this name, or one like it."""
        found = self._files()[: self._most_files]
        names = ((known, name_in(self.folder, known)) for _, known, _, _ in found)
        fit = [known for known, name in names if name == pattern or fnmatchcase(name, pattern)]
        return [f"*/{known}.*" for known in fit[:_MOST_CALLED]]

    def name_of(self, label: str) -> str:
        """Return what a file of ours was called, if this is the path of one; else nothing."""
        return self.known(label)[1]

    def known(self, label: str) -> tuple[str, str]:
        """Return the identity of a file of ours as well; nothing once it has been removed."""
        folder, _, last = label.rpartition("/")
        identity = last.partition(".")[0]
        ours = folder == self.folder and is_identity(identity)
        name = name_in(self.folder, identity) if ours else ""
        return (identity, name) if name else ("", "")

    def _files(self) -> list[tuple[str, str, int, float]]:
        found = []
        with contextlib.suppress(FileNotFoundError), os.scandir(self.folder) as entries:
            for entry in entries:
                identity, dot, suffix = entry.name.partition(".")
                if is_identity(identity) and f"{dot}{suffix}" in SUFFIXES:
                    with contextlib.suppress(FileNotFoundError):
                        status = entry.stat(follow_symlinks=False)
                        found.append((entry.path, identity, status.st_size, status.st_mtime))
        return found


class Arriving:
    """A file that is being sent."""

    def __init__(self, folder: str, name: str, suffix: str) -> None:
        self.id = secrets.token_hex(_LENGTH // 2)
        self.bytes = 0
        self._finished = False
        self._folder, self._name = folder, name
        self._part = os.path.join(folder, f".{self.id}.part")
        self.path = os.path.join(folder, f"{self.id}{suffix}")
        how = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file: IO[bytes] | None = os.fdopen(os.open(self._part, how, 0o600), "wb")

    def write(self, data: bytes) -> None:
        """Take some of it."""
        assert self._file is not None
        self._file.write(data)
        self.bytes += len(data)

    def finish(self) -> None:
        """Put it where it is seen."""
        if not self.bytes:
            raise ApiError(400, "the file is empty", "send the bytes of a recording as the body")
        assert self._file is not None
        self._file.close()
        self._file = None
        with open(_note(self._folder, self.id), "w", encoding="ascii") as note:
            json.dump({"name": shown(self._name), "uploaded": time.time()}, note)
        os.rename(self._part, self.path)
        self._finished = True

    def close(self) -> None:
        """Leave nothing behind of what was not finished."""
        with contextlib.suppress(OSError):  # what could not be written is not missed
            if self._file is not None:
                self._file.close()
        if not self._finished:
            for path in (self._part, _note(self._folder, self.id)):
                with contextlib.suppress(OSError):
                    os.unlink(path)


def suffix_of(name: str) -> str:
    """Return the suffix of a recording's name. Raises `ApiError` if it is none."""
    suffix = os.path.splitext(name)[1].lower()
    if suffix not in SUFFIXES:
        known = " ".join(sorted(SUFFIXES))
        raise ApiError(
            415, f"{shown(name)!r} is not the name of a recording", f"they end in {known}"
        )
    return suffix


def shown(name: str) -> str:
    """Return what people may be shown of a name: its last part, without what is not printed."""
    last = name.replace("\\", "/").rpartition("/")[2]
    return "".join(c for c in last if c.isprintable())[:_LONGEST_NAME]


def is_identity(text: str) -> bool:
    """Tell whether this is how we name a file."""
    return len(text) == _LENGTH and set(text) <= _DIGITS


def name_in(folder: str, identity: str) -> str:
    """Read what a file was called."""
    try:
        with open(_note(folder, identity), encoding="ascii") as note:
            document: Mapping[str, Any] = json.load(note)
        return str(document["name"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _note(folder: str, identity: str) -> str:
    return os.path.join(folder, f".{identity}.json")
