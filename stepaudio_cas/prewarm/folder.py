"""What is in a folder now: the files that are voices, those that are not, what cannot be read."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Final, NamedTuple

from stepaudio_cas.prewarm.voices import is_passing, is_voice

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

VOICE: Final = "voice"
OTHER: Final = "other"
PASSING: Final = "passing"


class Sig(NamedTuple):
    """What differs once a file has been written to, replaced, or had its times set back."""

    size: int
    mtime: int
    ctime: int
    inode: int
    device: int


class Scan(NamedTuple):
    """A folder at one time.

    `odd` has what is named like a recording and is no file, and folders that are nobody's voices,
    with what they are. `unread` has the folders that could not be read, with the reason: nothing
    is known of the files in them. `linked` says that there are links: of what changes where they
    lead no event tells. `root` is what the folder itself is, or None if it is not there.
    """

    voices: dict[str, Sig]
    others: set[str]
    odd: dict[str, str]
    unread: dict[str, str]
    linked: bool
    root: tuple[int, int] | None


def kind(folder: str, path: str) -> str:
    """Say by its name what a file in a folder is: `voice`, `other`, or `passing`: soon gone."""
    if any(map(is_passing, path[len(folder) :].strip("/").split("/"))):
        return PASSING
    return VOICE if is_voice(path) else OTHER


def look(path: str) -> Sig | None:
    """Return what a file is now, following links; None if it is no file. Raises `OSError`."""
    return _sig(os.stat(path))


def identity(folder: str) -> tuple[int, int] | None:
    """Return what a folder is, so that another one in its place can be told; None if none is."""
    try:
        now = os.stat(folder)
    except OSError:
        return None
    return (now.st_dev, now.st_ino) if stat.S_ISDIR(now.st_mode) else None


def scan(folder: str, apart: Iterable[str] = ()) -> Scan:
    """Look at everything in a folder and the folders in it, each once, following links.

    What is in folders that are `apart`, where a store is, is not looked at.
    """
    found = Scan({}, set(), {}, {}, linked=False, root=identity(folder))
    not_ours = {identity(place) for place in apart} - {None}
    seen: set[tuple[int, int]] = set()
    linked = False
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        here = identity(place)
        if here is None:
            found.unread[place] = "it is not there"
            continue
        if here in seen:  # a link back to where we have been
            continue
        seen.add(here)
        if here in not_ours:
            found.odd[place] = "it is where a store is"
            continue
        try:
            here_too: list[str] = []
            for entry in sorted(_entries(place), key=lambda entry: entry.name):
                linked |= entry.is_symlink()
                if _is_folder(entry):
                    here_too.append(entry.path)
                else:
                    _add(found, entry)
            waiting += reversed(here_too)
        except OSError as error:
            found.unread[place] = error.strerror or str(error)
    return found._replace(linked=linked)


def _entries(place: str) -> Iterator[os.DirEntry[str]]:
    with os.scandir(place) as entries:
        yield from (entry for entry in entries if not is_passing(entry.name))


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def _add(found: Scan, entry: os.DirEntry[str]) -> None:
    if not is_voice(entry.name):
        found.others.add(entry.path)
        return
    try:
        sig = _sig(entry.stat())
    except OSError as error:
        if error.errno == errno.ELOOP:
            found.odd[entry.path] = "it is a link that leads to itself"
        elif not isinstance(error, FileNotFoundError):
            found.unread[entry.path] = error.strerror or str(error)
        elif entry.is_symlink():  # and not gone again
            found.odd[entry.path] = "it is a link to nothing"
        return
    if sig is not None:
        found.voices[entry.path] = sig
    else:
        found.odd[entry.path] = f"it is {_what(entry)}"


def _what(entry: os.DirEntry[str]) -> str:
    """Say what something is that is no file and no folder."""
    try:
        mode = entry.stat().st_mode
    except OSError:
        return "gone"
    kinds = ((stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((name for test, name in kinds if test(mode)), "a device")


def _sig(now: os.stat_result) -> Sig | None:
    if not stat.S_ISREG(now.st_mode):
        return None
    return Sig(now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino, now.st_dev)
