"""Files that verbs write and read: a path, `-`, or any URL that fsspec knows."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import sys
import tempfile
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

from stepaudio_cas.errors import CasError, SettingError

if TYPE_CHECKING:
    from collections.abc import Iterator

STANDARD = "-"


class NotReached(CasError):  # noqa: N818 - describes the file
    """A file behind a URL cannot be written or read."""


@contextmanager
def new_file(name: str) -> Iterator[IO[bytes]]:
    """Give a file to write and seek in, which gets its name when all went well.

    Until then nobody sees anything of it, and what had the name before is as it was.
    """
    if name == STANDARD and sys.stdout.isatty():
        raise SettingError("this is no text for a terminal: give a file, or a pipe behind it")
    path = None if name == STANDARD or "://" in name else os.path.realpath(_expanded(name))
    if path is not None and (os.path.isfile(path) or not os.path.exists(path)):
        with _beside(path) as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        yield file
        file.seek(0)
        if name == STANDARD:
            sys.stdout.flush()
            shutil.copyfileobj(file, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif path is not None:  # a pipe or a device is written to, not replaced
            with open(path, "wb") as there:
                shutil.copyfileobj(file, there, 1 << 20)
        else:
            with _remote(name, "wb") as there:
                shutil.copyfileobj(file, there, 1 << 20)


@contextmanager
def old_file(name: str) -> Iterator[IO[bytes]]:
    """Give a file to read and seek in."""
    if name != STANDARD and "://" not in name:
        with open(_expanded(name), "rb") as file:
            yield file
        return
    with tempfile.TemporaryFile() as file:
        if name == STANDARD:
            if sys.stdin is None:
                raise SettingError("the input is closed: give a file, or a pipe before it")
            shutil.copyfileobj(sys.stdin.buffer, file)
        else:
            with _remote(name, "rb") as there:
                shutil.copyfileobj(there, file, 1 << 20)
        yield file


def _expanded(name: str) -> str:
    return os.path.expanduser(name)


@contextmanager
def _beside(path: str) -> Iterator[IO[bytes]]:
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "there is no such folder", folder)
    temp = f"{folder}/.{os.path.basename(path)}.{os.urandom(6).hex()}"
    with open(temp, "x+b") as file:
        try:
            yield file
            os.replace(temp, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temp)


@contextmanager
def _remote(url: str, mode: str) -> Iterator[IO[bytes]]:
    import fsspec  # noqa: PLC0415 - it takes tens of milliseconds

    try:
        with fsspec.open(url, mode) as file:
            yield file
    except Exception as error:
        raise NotReached(f"{url}: {type(error).__name__}: {error}") from None
