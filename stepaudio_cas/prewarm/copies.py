"""The copies of recordings that hosts are given, in a folder that a daemon has for itself.

Whoever is killed leaves copies behind: those of a process its daemon removes, those of a daemon
the next one. The folder is locked while its daemon lives; that cannot be mistaken, as the number
of a process can, and those that tidy up temporary folders heed it, too.
"""

from __future__ import annotations

import contextlib
import fcntl
import glob
import os
import shutil
import tempfile
from typing import Final

_PREFIX: Final = "stepaudio-cas-watch-"
_TIMES: Final = 3


class Copies:
    """One folder, made by `open`. What daemons have left that are no more is removed at once."""

    def __init__(self) -> None:
        place = _temporary()
        for folder in glob.glob(f"{glob.escape(place)}/{_PREFIX}*"):
            with contextlib.suppress(OSError):
                _remove_if_left(folder)
        self.folder = os.path.join(place, f"{_PREFIX}{os.getpid()}-{os.urandom(4).hex()}")
        self._held = -1

    def open(self) -> None:
        """Make the folder, if that can be done: else whoever makes a copy says why it cannot."""
        for _ in range(_TIMES if self._held < 0 else 0):
            with contextlib.suppress(OSError):
                os.makedirs(self.folder, 0o700, exist_ok=True)
                held = _lock(self.folder)
                if _is(held, self.folder):  # and has not been taken for left just before
                    self._held = held
                    return
                os.close(held)

    def clear(self, process: int) -> None:
        """Remove what a process has left that has ended."""
        for folder in glob.glob(f"{glob.escape(self.folder)}/{process}-*"):
            shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._held >= 0:
            os.close(self._held)
            self._held = -1


def _remove_if_left(folder: str) -> None:
    """Remove a folder of ours that nobody holds. Raises `OSError` if somebody does."""
    held = _lock(folder)
    try:
        if os.fstat(held).st_uid == os.geteuid():
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(held)


def _temporary() -> str:
    try:
        return tempfile.gettempdir()
    except OSError:  # there is none that can be written to
        return os.environ.get("TMPDIR", "/tmp")  # noqa: S108 - nothing is written


def _is(held: int, folder: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(held), os.stat(folder))
    return False


def _lock(folder: str) -> int:
    how = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    held = os.open(folder, how)
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(held)
        raise
    return held
