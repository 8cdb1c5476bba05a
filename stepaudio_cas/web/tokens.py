"""The bearer tokens: one a line in a file that only its owner reads."""

from __future__ import annotations

import hmac
import os
import secrets
import stat
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from stepaudio_cas.errors import SettingError
from stepaudio_cas.prewarm.state import default_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST: Final = 16
_LONGEST_FILE: Final = 1 << 16
_SETTLED: Final = 3 * 10**9
"""Nanoseconds after which another change shows in the times of a file."""

_MARK: Final = b"\xef\xbb\xbf"


def default_path() -> str:
    """Return where the token is kept unless somebody says otherwise."""
    return os.path.join(os.path.dirname(default_folder()), "http.token")


class Tokens:
    """The tokens in a file; with none, nobody may do what needs one.

    The file is read again when it has changed, so that tokens are replaced without a restart: put
    the new one beside the old one, and take the old one away later.
    """

    def __init__(self, path: str | None) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._seen: tuple[int, ...] | None = None
        self._known: Sequence[bytes] = ()
        self._read()

    @property
    def some(self) -> bool:
        """Whether there is one at all."""
        return bool(self._read())

    def fits(self, given: bytes) -> bool:
        """Tell whether this is one of them, in a time that tells nothing about it."""
        found = False
        for token in self._read():
            found |= hmac.compare_digest(token, given)
        return found

    def _read(self) -> Sequence[bytes]:
        if self.path is None:
            return ()
        with self._lock:
            try:
                status = os.stat(self.path)
                seen = status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_size
                if self._known and not stat.S_ISREG(status.st_mode):
                    return self._known  # a pipe says it once
                if seen != self._seen or time.time_ns() - status.st_ctime_ns < _SETTLED:
                    with open(self.path, "rb") as file:
                        self._known = _tokens(file.read(_LONGEST_FILE))
                    self._seen = seen
            except OSError:
                self._known, self._seen = (), None
            return self._known

    def check(self) -> None:
        """Raise `SettingError` if the file that was named has no token."""
        if self.path is not None and not self.some:
            raise SettingError(
                f"{self.path} has no token: a line of at least {SHORTEST} characters, such as"
                " python3 -c 'import secrets; print(secrets.token_urlsafe(32))' prints"
            )

    @property
    def seen_by_others(self) -> bool:
        """Whether other users of this machine may read the file."""
        try:
            return self.path is not None and bool(os.stat(self.path).st_mode & 0o077)
        except OSError:
            return False


def _tokens(data: bytes) -> list[bytes]:
    lines = (line.strip() for line in data.removeprefix(_MARK).splitlines())
    return [line for line in lines if len(line) >= SHORTEST and not line.startswith(b"#")]


def make_token(path: str) -> bool:
    """Make a file with a token that only its owner may read; False if there is a file already."""
    folder = os.path.dirname(os.path.abspath(path))
    try:
        Path(folder).mkdir(mode=0o700, parents=True, exist_ok=True)
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return False
    except OSError as error:
        raise _cannot(path, error) from None
    try:
        with open(file, "w", encoding="ascii") as out:
            out.write(f"{secrets.token_urlsafe(32)}\n")
    except OSError as error:
        os.unlink(path)  # or the next start would find a file without a token
        raise _cannot(path, error) from None
    return True


def _cannot(path: str, error: OSError) -> SettingError:
    return SettingError(f"{path}: no token can be kept there: {error.strerror}")
